"""What a failing database means for those who wait: which errors are the disk's, which one unit's own."""

from __future__ import annotations

import sqlite3

from host.model.errors import InternalError, UnavailableError

__all__ = ["is_the_works_own", "unavailable", "works_own"]

_OWN = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)


def is_the_works_own(error: Exception) -> bool:
    """True when other work of the same group would have passed (a number too large to store, a bug in one job);
    False for busy, full, corrupt, out of memory and I/O errors."""
    if isinstance(error, sqlite3.Error):
        return isinstance(error, _OWN)
    return not isinstance(error, MemoryError)


def unavailable(error: BaseException | str, *, reading: bool = False) -> UnavailableError:
    done = "could not read" if reading else "could not write; nothing was changed"
    return UnavailableError("storage", "unavailable", f"storage {done}, try again", detail=_detail(error))


def works_own(error: Exception) -> InternalError:
    return InternalError(f"storage refused this write: {_detail(error)}")


def _detail(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    name = getattr(error, "sqlite_errorname", None)
    return f"{type(error).__name__}: {error}" + (f" ({name})" if name else "")
