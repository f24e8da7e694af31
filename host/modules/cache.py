"""Compiled artifacts on disk, which only this host can have written.

An artifact is machine code that is run without a check, so it is taken only if its HMAC-SHA256 under the data
directory's key matches. The HMAC covers the kind, the digest and the engine's profile besides the bytes: a file moved
to another name is as wrong as a file with a changed byte. Whatever is wrong is a miss: the caller compiles again and
the file is replaced. A cache that cannot be written costs time, not correctness, and is told to the log.

What a crash left half-made, or an earlier version in a layout of its own, is removed by the next host.

Synchronous: callers run it on a worker thread.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from host.model.ports import Metrics
from host.modules.artifact_file import NEW, Artifact, WrongFileError, hold, open_ours, read, write
from host.telemetry.logging import get_logger

__all__ = ["ArtifactCache"]

T = TypeVar("T")

# In every name: a file of another layout is another file.
_LAYOUT = 2
# What earlier versions wrote (the HMAC in front), and what no process writes any more.
_LEFT_BEHIND = re.compile(rf"[0-9a-f]{{64}}-[0-9a-f]{{16}}\.[a-z]+|{re.escape(NEW)}.*")

log = get_logger("modules")


class ArtifactCache:
    """`profile` names engine version and configuration; artifacts of another profile are other files. A directory that
    is not this user's alone is not used."""

    def __init__(self, directory: Path, key: bytes, profile: str, metrics: Metrics) -> None:
        if len(key) < 16:
            raise ValueError("the cache key needs at least 16 bytes")
        self._directory = directory
        self._key = key
        self._profile = sha256(profile.encode()).hexdigest()
        self._metrics = metrics
        self._usable = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(directory)
            self._usable = True
        except OSError as error:
            self._missed("unusable", directory, str(error))
            return
        try:
            _sweep(directory)
        except OSError as error:
            self._missed("unwritable", directory, str(error))

    def path(self, kind: str, digest: str) -> Path:
        return self._directory / f"{digest}-{self._profile[:16]}-{_LAYOUT}.{kind}"

    def load(self, kind: str, digest: str) -> bytes | None:
        """A copy of the artifact, or None if there is none that this host wrote."""
        found = self.load_noted(kind, digest)
        return None if found is None else found[0]

    def load_noted(self, kind: str, digest: str) -> tuple[bytes, bytes] | None:
        """The same with its note."""
        return self._from_file(kind, digest, read)

    def open(self, kind: str, digest: str) -> Artifact | None:
        """The same without a copy, for what is to be mapped."""
        return self._from_file(kind, digest, hold)

    def store(self, kind: str, digest: str, artifact: bytes, note: bytes = b"") -> bool:
        """Whether it is kept now. Atomic: a reader sees the former file, or the whole new one."""
        if not self._usable:
            return False
        path = self.path(kind, digest)
        try:
            write(path, self._mac(kind, digest), artifact, note)
        except OSError as error:
            self._missed("unwritable", path, str(error))
            return False
        return True

    def remove(self, kind: str, digest: str) -> None:
        """For an artifact that turned out to be of no use."""
        path = self.path(kind, digest)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._missed("unwritable", path, str(error))

    def _from_file(self, kind: str, digest: str, take: Callable[[int, hmac.HMAC], T]) -> T | None:
        """What `take` makes of the file, if it is one that nobody else can change. What is wrong with it is told."""
        if not self._usable:
            return None
        path = self.path(kind, digest)
        try:
            file = open_ours(path)
            try:
                return take(file, self._mac(kind, digest))
            finally:
                os.close(file)
        except FileNotFoundError:
            return None
        except WrongFileError as error:
            self._missed("tampered", path, str(error))
        except OSError as error:
            self._missed("unreadable", path, str(error))
        return None

    def _mac(self, kind: str, digest: str) -> hmac.HMAC:
        head = f"dormice artifact {_LAYOUT}\0{kind}\0{digest}\0{self._profile}\0"
        return hmac.new(self._key, head.encode(), sha256)

    def _missed(self, reason: str, path: Path, detail: str) -> None:
        self._metrics.count("artifact_cache_errors", reason)
        log.warning("artifact not used", reason=reason, file=path.name, detail=detail)


def _make_private(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError("the directory belongs to another user; delete it, and it is made anew")
    if stat.S_IMODE(found.st_mode) != 0o700:
        directory.chmod(0o700)


def _sweep(directory: Path) -> None:
    """A second host that is just writing here loses what it writes, and no more; mappings outlive their names."""
    with os.scandir(directory) as entries:
        names = [
            entry.name
            for entry in entries
            if _LEFT_BEHIND.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False)
        ]
    for name in names:
        with suppress(FileNotFoundError):
            (directory / name).unlink()
    if names:
        log.info("artifacts of before removed", files=len(names))
