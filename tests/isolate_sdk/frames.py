"""The `framed` codec, written down a second time: u32 header length, JSON, then u32 length and bytes per buffer."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

__all__ = ["BIN_FROM", "Buffers", "join_frame", "split_frame"]

#: Buffers of this size and more travel behind the header.
BIN_FROM = 1024


class Buffers:
    """Collects the buffers of one outgoing frame."""

    def __init__(self) -> None:
        self.items: list[bytes] = []

    def field(self, data: bytes) -> Any:
        """What stands in the header for `data`."""
        if len(data) < BIN_FROM:
            return base64.b64encode(data).decode()
        self.items.append(data)
        return {"$bin": len(self.items) - 1}


def join_frame(header: Any, buffers: Buffers | None = None) -> bytes:
    text = msgspec.json.encode(header)
    parts = [struct.pack("<I", len(text)), text]
    for item in buffers.items if buffers else []:
        parts += [struct.pack("<I", len(item)), item]
    return b"".join(parts)


def split_frame(frame: bytes) -> tuple[bytes, list[bytes]]:
    (size,) = struct.unpack_from("<I", frame)
    header, at, buffers = frame[4 : 4 + size], 4 + size, []
    while at < len(frame):
        (size,) = struct.unpack_from("<I", frame, at)
        assert at + 4 + size <= len(frame), "a buffer runs over the end of its frame"
        buffers.append(frame[at + 4 : at + 4 + size])
        at += 4 + size
    return header, buffers
