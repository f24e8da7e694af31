"""The file that an artifact is kept in: its bytes, who may have written it, and how it comes into its place.

A file is the artifact from its first byte on, then a note of the caller's and a tail with the HMAC:

    artifact | note | length of the artifact (u64), of the note (u32) | HMAC (32) | magic (8)

so that machine code can be mapped from the file that was checked, and one rename puts all of it in place. Files may be
mapped for as long as the process lives, and one that shrank would kill it. So no file is ever written in place: it is
made beside its name, synced, made read-only and renamed.

The HMAC comes from the caller, who has told it what the file is to be.
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["NEW", "Artifact", "WrongFileError", "hold", "open_ours", "read", "write"]

NEW = ".new-"

_MAGIC = b"\nDMART\x02\n"
_TAIL = struct.Struct("<QI32s8s")
# An artifact is a few times its module; nothing that this host writes comes near.
_MAX_FILE = 512 * 1024 * 1024
_STEP = 1024 * 1024


class Artifact:
    """A file whose HMAC was right, held open: whatever becomes of its name, `file` has the bytes that were checked.
    Of these, `size` are the artifact. Close it (or use `with`); what was mapped from it stays."""

    __slots__ = ("file", "note", "size")

    def __init__(self, file: int, size: int, note: bytes) -> None:
        self.file = file
        self.size = size
        self.note = note

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.file)


class WrongFileError(Exception):
    """The file is not as this host wrote it."""


def open_ours(path: Path) -> int:
    """A descriptor of the file, if there is one that nobody else can change; else OSError."""
    # without O_NONBLOCK a pipe in its place would keep us for ever
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_ours(file)
    except BaseException:
        os.close(file)
        raise
    return file


def hold(file: int, mac: hmac.HMAC) -> Artifact:
    """Checked in steps: the bytes are wanted in the system's cache only."""
    end = os.fstat(file).st_size - _TAIL.size
    size, noted, signature = _tail(os.pread(file, _TAIL.size, max(0, end)), end)
    mac.update(struct.pack("<QI", size, noted))
    step = memoryview(bytearray(_STEP))
    at = 0
    while at < size:
        got = os.preadv(file, [step[: size - at]], at)
        if not got:
            raise WrongFileError("the file became shorter")
        mac.update(step[:got])
        at += got
    note = os.pread(file, noted, size)
    mac.update(note)
    _compare(mac, signature)
    return Artifact(os.dup(file), size, note)


def read(file: int, mac: hmac.HMAC) -> tuple[bytes, bytes]:
    """Artifact and note. What is given back is what was checked, whatever happens to the file meanwhile."""
    with open(file, "rb", closefd=False) as source:
        data = source.read(_MAX_FILE + 1)
    end = len(data) - _TAIL.size
    size, noted, signature = _tail(data[max(0, end) :], end)
    artifact, note = data[:size], data[size:end]
    mac.update(struct.pack("<QI", size, noted))
    mac.update(artifact)
    mac.update(note)
    _compare(mac, signature)
    return artifact, note


def write(path: Path, mac: hmac.HMAC, artifact: bytes, note: bytes) -> None:
    """Raises OSError, and leaves nothing then. What a crash leaves half-made begins with `NEW`."""
    mac.update(struct.pack("<QI", len(artifact), len(note)))
    mac.update(artifact)
    mac.update(note)
    tail = _TAIL.pack(len(artifact), len(note), mac.digest(), _MAGIC)
    handle, name = tempfile.mkstemp(prefix=NEW, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            for part in (artifact, note, tail):
                out.write(part)
            out.flush()
            os.fchmod(out.fileno(), 0o400)
            # the bytes have their place on the disk before the file has its name
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _require_ours(file: int) -> None:
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no file")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError("somebody else may write the file")
    if found.st_size > _MAX_FILE:
        raise OSError("the file is larger than any artifact")


def _tail(data: bytes, end: int) -> tuple[int, int, bytes]:
    if end < 0 or len(data) != _TAIL.size:
        raise WrongFileError("the file is cut off")
    size, noted, signature, magic = _TAIL.unpack(data)
    if magic != _MAGIC or size + noted != end:
        raise WrongFileError("the file does not end as this host ends one")
    return size, noted, signature


def _compare(mac: hmac.HMAC, signature: bytes) -> None:
    if not hmac.compare_digest(mac.digest(), signature):
        raise WrongFileError("the file is not as this host wrote it")
