"""The `framed` layout: u32 header length | header (JSON) | for each buffer: u32 length | bytes. Little-endian.

Large buffers travel behind the header because base64 inside an interpreter costs more than everything else in a turn.
A frame from a guest is accepted only if its lengths add up to its last byte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from host.bridge.envelopes import Bin

__all__ = ["INLINE_BELOW", "MAX_BUFFERS", "Buffers", "MalformedFrame", "pack", "unpack"]

INLINE_BELOW = 1024  # shorter buffers stay base64: a placeholder and a length cost as much as they save
MAX_BUFFERS = 8192  # more than a reply of the largest size holds of the shortest buffers

_u32 = struct.Struct("<I")


class MalformedFrame(ValueError):
    """A frame whose lengths lie, or a placeholder that points nowhere."""


def pack(header: bytes, buffers: Sequence[bytes] = ()) -> bytes:
    if not buffers:
        return _u32.pack(len(header)) + header
    parts = [_u32.pack(len(header)), header]
    for buffer in buffers:
        parts.append(_u32.pack(len(buffer)))
        parts.append(buffer)
    return b"".join(parts)


def unpack(data: bytes) -> tuple[bytes, list[bytes]]:
    size = len(data)
    if size < 4:
        raise MalformedFrame("a frame is at least four bytes")
    at = 4 + _u32.unpack_from(data)[0]
    if at > size:
        raise MalformedFrame("the header is longer than the frame")
    header = data[4:at]
    buffers: list[bytes] = []
    while at < size:
        if at + 4 > size:
            raise MalformedFrame("a buffer's length is cut off")
        end = at + 4 + _u32.unpack_from(data, at)[0]
        if end > size:
            raise MalformedFrame("a buffer is longer than the frame")
        if len(buffers) == MAX_BUFFERS:
            raise MalformedFrame(f"more than {MAX_BUFFERS} buffers")
        buffers.append(data[at + 4 : end])
        at = end
    return header, buffers


class Buffers:
    """The buffers of one frame, each of which one placeholder takes exactly once."""

    __slots__ = ("_left", "_open")

    def __init__(self, buffers: list[bytes]) -> None:
        self._left: list[bytes | None] = list(buffers)
        self._open = len(buffers)

    def take(self, buffer: bytes | Bin) -> bytes:
        """The bytes of a field that is typed as a buffer."""
        if not isinstance(buffer, Bin):
            return buffer
        index = buffer.index
        found = self._left[index] if 0 <= index < len(self._left) else None
        if found is None:
            raise MalformedFrame(f"placeholder {index} points at no buffer, or at one that is taken")
        self._left[index] = None
        self._open -= 1
        return found

    def finish(self) -> None:
        if self._open:
            raise MalformedFrame(f"{self._open} buffers were sent that no placeholder names")
