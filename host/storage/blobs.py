"""Module bytes, content-addressed: `blobs/ab/cd/abcd…`, one file per sha256.

A file is complete or absent: it is written beside its place, synced, renamed, and the directories are synced, so that
the row which names it can be committed afterwards. What is read is checked against its name; a file that was changed
counts as absent. All calls block: call them on a thread.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from host.model.errors import InternalError, UnavailableError
from host.storage.files import sync_dir, write_durably

__all__ = ["BlobStore"]

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class BlobStore:
    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Where the bytes of `digest` are; the digest is checked first, for it becomes a path."""
        if _DIGEST.match(digest) is None:
            raise InternalError(f"{digest!r} is not a sha256 digest in hex")
        return self._root / digest[:2] / digest[2:4] / digest

    def put(self, digest: str, data: bytes) -> None:
        """Durable when it returns. A file that is there and intact is left alone; a damaged one is replaced."""
        if hashlib.sha256(data).hexdigest() != digest:
            raise InternalError(f"the bytes of module {digest} have another digest")
        if self.get(digest) is not None:
            return
        path = self.path(digest)
        try:
            for folder in (path.parent.parent, path.parent):
                _make_dir(folder)
            write_durably(path, data)
        except OSError as error:
            raise _unavailable("store", error) from error

    def get(self, digest: str) -> bytes | None:
        if _DIGEST.match(digest) is None:
            return None
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable("read", error) from error
        return data if hashlib.sha256(data).hexdigest() == digest else None


def _make_dir(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_dir(folder.parent)


def _unavailable(verb: str, error: OSError) -> UnavailableError:
    return UnavailableError(
        "storage", "unavailable", f"could not {verb} a module: {error.strerror or error}; try again", detail=repr(error)
    )
