"""Checked access to a guest's linear memory.

Every pointer and length is a number that a stranger chose. `read` and `write` mask both to 32 bits, check
`0 <= pointer <= pointer + length <= size` and only then copy, once. Base and size are asked for anew at each access,
because any instruction of the guest may have grown (and so moved) its memory.
"""

from __future__ import annotations

from ctypes import addressof, string_at
from typing import Any

from host.isolate.native import copy_in, memory_data, memory_data_size
from host.model.errors import GuestFault

__all__ = ["GuestMemory"]

_MASK = 0xFFFF_FFFF


class GuestMemory:
    """The memory of one store; `memory` is wasmtime's handle of it, kept alive here."""

    __slots__ = ("_address", "_context", "_handle")

    def __init__(self, context: int, memory: Any) -> None:
        self._context = context
        self._handle = memory
        self._address = addressof(memory)

    def size(self) -> int:
        """Bytes, now."""
        size: int = memory_data_size(self._context, self._address)
        return size

    def check(self, pointer: int, length: int) -> None:
        """Raises `guest/bad_pointer` unless the range lies in the memory."""
        pointer &= _MASK
        length &= _MASK
        if pointer + length > memory_data_size(self._context, self._address):
            raise self._bad(pointer, length)

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of the range, or `guest/bad_pointer`."""
        pointer &= _MASK
        length &= _MASK
        if pointer + length > memory_data_size(self._context, self._address):
            raise self._bad(pointer, length)
        if not length:
            return b""
        return string_at(memory_data(self._context, self._address) + pointer, length)

    def write(self, pointer: int, data: bytes) -> None:
        """Copies `data` to `pointer`, or `guest/bad_pointer` and nothing is written."""
        pointer &= _MASK
        length = len(data)
        if pointer + length > memory_data_size(self._context, self._address):
            raise self._bad(pointer, length)
        if length:
            copy_in(memory_data(self._context, self._address) + pointer, data, length)

    def write_u32(self, pointer: int, value: int) -> None:
        self.write(pointer, value.to_bytes(4, "little"))

    def write_u64(self, pointer: int, value: int) -> None:
        self.write(pointer, value.to_bytes(8, "little"))

    def _bad(self, pointer: int, length: int) -> GuestFault:
        return GuestFault(
            "bad_pointer",
            f"the guest named {length} bytes at {pointer}; its memory has {self.size()} bytes",
        )
