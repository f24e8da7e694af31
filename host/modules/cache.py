"""Compiled artifacts on disk, which only this host can have written.

An artifact is machine code that is loaded without a check, so it is loaded only if its HMAC-SHA256 under the data
directory's key matches. The HMAC covers the kind, the digest and the engine's profile besides the bytes: a file moved
to another name is as wrong as a file with a changed byte. Whatever is wrong is a miss: the caller compiles again and
the file is written over. A cache that cannot be written costs time, not correctness, and is told to the log.

Synchronous: callers run it on a worker thread.
"""

from __future__ import annotations

import hmac
import os
import tempfile
from hashlib import sha256
from pathlib import Path

from host.model.ports import Metrics
from host.telemetry.logging import get_logger

__all__ = ["ArtifactCache"]

_MAGIC = b"DMART\x01\n"
_MAC_BYTES = 32
# An artifact is a few times its module; nothing that this host writes comes near.
_MAX_FILE = 512 * 1024 * 1024

log = get_logger("modules")


class ArtifactCache:
    """`profile` names engine version and configuration; artifacts of another profile are other files."""

    def __init__(self, directory: Path, key: bytes, profile: str, metrics: Metrics) -> None:
        if len(key) < 16:
            raise ValueError("the cache key needs at least 16 bytes")
        self._directory = directory
        self._key = key
        self._profile = sha256(profile.encode()).hexdigest()
        self._metrics = metrics
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)

    def path(self, kind: str, digest: str) -> Path:
        return self._directory / f"{digest}-{self._profile[:16]}.{kind}"

    def load(self, kind: str, digest: str) -> bytes | None:
        """The artifact, or None if there is none that this host wrote."""
        path = self.path(kind, digest)
        try:
            data = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._missed("unreadable", path, str(error))
            return None
        head = len(_MAGIC) + _MAC_BYTES
        artifact = data[head:]
        if data[: len(_MAGIC)] != _MAGIC or not hmac.compare_digest(
            data[len(_MAGIC) : head], self._mac(kind, digest, artifact)
        ):
            self._missed("tampered", path, "the file is not as this host wrote it")
            return None
        return artifact

    def store(self, kind: str, digest: str, artifact: bytes) -> None:
        """Atomic: a reader sees the former file, or the whole new one."""
        path = self.path(kind, digest)
        try:
            handle, name = tempfile.mkstemp(prefix=".new-", dir=self._directory)
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(_MAGIC + self._mac(kind, digest, artifact))
                    out.write(artifact)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            self._missed("unwritable", path, str(error))

    def _mac(self, kind: str, digest: str, artifact: bytes) -> bytes:
        mac = hmac.new(self._key, digestmod=sha256)
        mac.update(f"dormice artifact 1\0{kind}\0{digest}\0{self._profile}\0{len(artifact)}\0".encode())
        mac.update(artifact)
        return mac.digest()

    def _missed(self, reason: str, path: Path, detail: str) -> None:
        self._metrics.count("artifact_cache_errors", reason)
        log.warning("artifact not used", reason=reason, file=path.name, detail=detail)


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as source:
        data = source.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise OSError("the file is larger than any artifact")
    return data
