"""The data directory: what lies where, who may read it, and that one process at a time uses it.

    dormice.db   the database        blobs/   modules, content-addressed        cache/   artifacts (0700)
    key          32 random bytes (0600), made once; it signs what lies in cache/
    lock         held with flock while the directory is in use; says by whom (pid, host, start) as JSON

The lock is the kernel's: a process that dies lets go of it, and a stale file means nothing.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from host.model.errors import UnavailableError
from host.model.ids import RandomBytes
from host.storage.files import write_durably

__all__ = ["DataDir", "Holder"]

KEY_BYTES = 32


class Holder(Struct, frozen=True):
    """Who holds a data directory; `start` is in ms."""

    pid: int
    host: str
    start: int


class DataDir:
    """`open` makes what is missing and takes the lock; `close` lets it go. Also a context manager once opened."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self.database = self.path / "dormice.db"
        self.blobs = self.path / "blobs"
        self.cache = self.path / "cache"
        # The mode that it had, if `open` has closed it to other users: something to tell the operator.
        self.had_mode: int | None = None
        self._lock: int | None = None
        self._key: bytes | None = None

    @property
    def key(self) -> bytes:
        if self._key is None:
            raise RuntimeError("the data directory is not open")
        return self._key

    def open(self, *, random: RandomBytes, now_ms: int) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.had_mode = _make_private(self.path)
            self._lock = _take_lock(self.path / "lock", self.path, now_ms)
            for folder in (self.blobs, self.cache):
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)
            (self.path / "lock").chmod(0o600)
            self._key = _read_or_make_key(self.path / "key", random)
        except OSError as error:
            self.close()
            raise _refused(f"the data directory {self.path} cannot be used: {error.strerror or error}") from error
        except UnavailableError:
            self.close()
            raise
        return self

    def close(self) -> None:
        self._key = None
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_private(path: Path) -> int | None:
    """The state of every tenant lies in it; a directory that an operator made has the mode of the umask. The mode that
    it had, if that was changed."""
    found = path.stat()
    if not found.st_mode & 0o077:
        return None
    if found.st_uid != os.geteuid():
        raise _refused(
            f"others may read the data directory {path}, and it belongs to another user (uid {found.st_uid}); "
            f"make it this user's, or take the rights of others away with: chmod 700 {path}"
        )
    path.chmod(0o700)
    return stat.S_IMODE(found.st_mode)


def _take_lock(path: Path, directory: Path, now_ms: int) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        text = os.pread(handle, 4096, 0)
        os.close(handle)
        raise _refused(f"the data directory {directory} is in use by {_describe(text)}; stop it first") from error
    except OSError:
        os.close(handle)
        raise
    os.ftruncate(handle, 0)
    os.pwrite(handle, msgspec.json.encode(Holder(os.getpid(), socket.gethostname(), now_ms)), 0)
    return handle


def _describe(text: bytes) -> str:
    try:
        holder = msgspec.json.decode(text, type=Holder)
    except msgspec.DecodeError:
        # The holder took the lock a moment ago and has not written who it is.
        return "another process"
    since = datetime.fromtimestamp(holder.start / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {holder.pid} on {holder.host} since {since}"


def _read_or_make_key(path: Path, random: RandomBytes) -> bytes:
    if not path.exists():
        # All of it or nothing: half a key would be refused for ever.
        write_durably(path, random(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise _refused(f"others may read {path}, which has to be secret; restore its mode with: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise _refused(f"{path} has {len(key)} bytes instead of {KEY_BYTES}; restore it, or remove it and the cache")
    return key


def _refused(message: str) -> UnavailableError:
    # Trying again by itself would not help: somebody has to do something first.
    return UnavailableError("storage", "unavailable", message, retryable=False)
