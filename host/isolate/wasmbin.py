"""Reads and writes the frame of a Wasm binary: sections, names, numbers. Nothing here compiles or runs anything.

Every read is checked against the bytes that are there, because a module is read before anybody has validated it; what
does not add up is `module/malformed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from host.model.errors import TenantError

__all__ = [
    "HEADER",
    "MANIFEST_SECTION",
    "Reader",
    "Section",
    "join",
    "malformed",
    "read_manifest",
    "sections",
    "signed",
    "unsigned",
    "walk",
]

HEADER = b"\0asm\x01\0\0\0"
MANIFEST_SECTION = "isolate.manifest"

CUSTOM = 0


def malformed(what: str) -> TenantError:
    return TenantError("module", "malformed", f"the module is not valid: {what}")


class Section(NamedTuple):
    number: int
    body: bytes


class Reader:
    """A cursor over a section's bytes."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def byte(self) -> int:
        if self.at >= len(self._data):
            raise malformed("it ends in the middle of a section")
        self.at += 1
        return self._data[self.at - 1]

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise malformed(f"{count} bytes were announced, {self.left} are there")
        self.at += count
        return self._data[self.at - count : self.at]

    def unsigned(self, bits: int = 32) -> int:
        """LEB128, not longer than its width allows."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= bits:
                raise malformed("a number is too long")
        if value >> bits:
            raise malformed("a number is too large")
        return value

    def signed(self, bits: int) -> int:
        """The same in two's complement; the bits beyond the width repeat the sign."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= bits:
                raise malformed("a number is too long")
        if byte & 0x40:
            value -= 1 << shift
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise malformed("a number is too large")
        return value

    def name(self) -> str:
        try:
            return self.take(self.unsigned()).decode("utf-8")
        except UnicodeDecodeError:
            raise malformed("a name is not UTF-8") from None


def unsigned(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def sections(wasm: bytes) -> list[Section]:
    """The sections in their order; their bodies are not looked into."""
    return list(walk(wasm))


def walk(wasm: bytes) -> Iterator[Section]:
    """The same one after the other, for a reader that stops at the first that is wrong."""
    if wasm[:4] != HEADER[:4]:
        raise TenantError("module", "not_wasm", "the bytes do not begin with the Wasm magic \\0asm")
    if wasm[:8] != HEADER:
        raise malformed("not a core module of Wasm version 1")
    reader = Reader(wasm, 8)
    while reader.left:
        number = reader.byte()
        yield Section(number, reader.take(reader.unsigned()))


def join(parts: Iterable[Section]) -> bytes:
    """The module that has these sections."""
    out = bytearray(HEADER)
    for number, body in parts:
        out.append(number)
        out += unsigned(len(body))
        out += body
    return bytes(out)


def read_manifest(wasm: bytes) -> bytes | None:
    """The bytes of the custom section `isolate.manifest`; None if there is none. Two of them are refused: which one
    counted would be anybody's guess."""
    manifest: bytes | None = None
    for number, body in sections(wasm):
        if number != CUSTOM:
            continue
        reader = Reader(body)
        if reader.name() != MANIFEST_SECTION:
            continue
        if manifest is not None:
            raise malformed(f"it has two sections {MANIFEST_SECTION!r}")
        manifest = reader.take(reader.left)
    return manifest
