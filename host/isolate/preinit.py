"""Pre-initialisation: the state that a module has after it ran, written back into the module.

`export_globals` makes every mutable global readable from outside; the host then runs the module as far as it likes and
reads memory and globals; `bake` writes them into a new module whose instances begin where that one stopped. The memory
becomes data segments of whole pages, so wasmtime maps it copy-on-write and instances share what they do not change.

Limits, checked: one memory of the module's own, active data segments only, number globals. Tables are not captured: the
toolchains that this is for do not change them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from host.isolate.wasmbin import Reader, Section, join, malformed, sections, signed, unsigned

__all__ = ["bake", "export_globals", "exported_globals"]

IMPORT, MEMORY, GLOBAL, EXPORT, START, DATA_COUNT, DATA = 2, 5, 6, 7, 8, 12, 11
_PAGE = 65_536
_CHUNK = 4_096

_I32, _I64, _F32, _F64 = 0x7F, 0x7E, 0x7D, 0x7C
_END = 0x0B
_EXPORT_GLOBAL = 3

# Functions that run once and have run.
_DONE = frozenset({"_initialize", "_start"})


def _skip_constant(reader: Reader) -> None:
    """Past one constant expression."""
    while True:
        operation = reader.byte()
        if operation == _END:
            return
        if operation == 0x41:
            reader.signed(33)
        elif operation == 0x42:
            reader.signed(64)
        elif operation == 0x43:
            reader.take(4)
        elif operation == 0x44:
            reader.take(8)
        elif operation in (0x23, 0xD2):
            reader.unsigned()
        elif operation == 0xD0:
            reader.byte()
        elif operation == 0xFD:
            reader.unsigned()
            reader.take(16)
        else:
            raise malformed(f"instruction {operation:#x} in a constant expression is not known here")


def _globals(body: bytes) -> list[tuple[int, bool, bytes]]:
    """(type, mutable, the bytes of the definition) of each."""
    reader = Reader(body)
    found = []
    for _ in range(reader.unsigned()):
        start = reader.at
        kind, mutable = reader.byte(), reader.byte() == 1
        _skip_constant(reader)
        found.append((kind, mutable, body[start : reader.at]))
    return found


def _exports(body: bytes) -> list[tuple[str, int, int]]:
    reader = Reader(body)
    return [(reader.name(), reader.byte(), reader.unsigned()) for _ in range(reader.unsigned())]


def _write_exports(entries: list[tuple[str, int, int]]) -> bytes:
    out = bytearray(unsigned(len(entries)))
    for name, kind, index in entries:
        data = name.encode()
        out += unsigned(len(data)) + data + bytes([kind]) + unsigned(index)
    return bytes(out)


def _refuse_imports(parts: list[Section]) -> None:
    """Only functions may be imported, so that global and memory indexes begin at 0."""
    for section in parts:
        if section.number != IMPORT:
            continue
        reader = Reader(section.body)
        for _ in range(reader.unsigned()):
            reader.name()
            reader.name()
            if reader.byte() != 0:
                raise malformed("a module with an imported memory, table or global cannot be pre-initialised")
            reader.unsigned()


def export_globals(wasm: bytes) -> tuple[bytes, dict[int, str]]:
    """The module with every mutable global exported, and the names, by index."""
    parts = sections(wasm)
    _refuse_imports(parts)
    names: dict[int, str] = {}
    for section in parts:
        if section.number == GLOBAL:
            for index, (kind, mutable, _) in enumerate(_globals(section.body)):
                if not mutable:
                    continue
                if kind not in (_I32, _I64, _F32, _F64):
                    raise malformed("a mutable global that is no number cannot be pre-initialised")
                names[index] = f"isolate.global.{index}"
    extra = [(name, _EXPORT_GLOBAL, index) for index, name in names.items()]
    out = [Section(EXPORT, _write_exports(_exports(s.body) + extra)) if s.number == EXPORT else s for s in parts]
    return join(out), names


def exported_globals(wasm: bytes) -> dict[int, str]:
    """The names under which a module exports its mutable globals already, by index; one that it keeps to itself could
    not be read, so it is refused."""
    parts = sections(wasm)
    _refuse_imports(parts)
    mutable: list[int] = []
    exported: dict[int, str] = {}
    for section in parts:
        if section.number == GLOBAL:
            mutable = [index for index, (_, changes, _) in enumerate(_globals(section.body)) if changes]
        elif section.number == EXPORT:
            exported = {index: name for name, kind, index in _exports(section.body) if kind == _EXPORT_GLOBAL}
    hidden = [index for index in mutable if index not in exported]
    if hidden:
        raise malformed(f"the mutable globals {hidden} are not exported, so they cannot be captured")
    return {index: exported[index] for index in mutable}


def _constant(kind: int, word: bytes) -> bytes:
    """A global's definition that begins with the value in these 8 bytes."""
    if kind == _I32:
        value = b"\x41" + signed(struct.unpack("<i", word[:4])[0])
    elif kind == _I64:
        value = b"\x42" + signed(struct.unpack("<q", word)[0])
    elif kind == _F32:
        value = b"\x43" + word[:4]
    else:
        value = b"\x44" + word
    return bytes([kind, 1]) + value + bytes([_END])


def _segments(memory: bytes) -> list[tuple[int, bytes]]:
    """Runs of pages that are not all zeros."""
    found: list[tuple[int, int]] = []
    zero = bytes(_CHUNK)
    for at in range(0, len(memory), _CHUNK):
        if memory[at : at + _CHUNK] == zero:
            continue
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], at + _CHUNK)
        else:
            found.append((at, at + _CHUNK))
    return [(start, memory[start:end]) for start, end in found]


def _check_data(body: bytes) -> None:
    reader = Reader(body)
    for _ in range(reader.unsigned()):
        if reader.unsigned() != 0:
            raise malformed("a module with passive data segments cannot be pre-initialised")
        _skip_constant(reader)
        reader.take(reader.unsigned())


def bake(wasm: bytes, memory: bytes, values: Mapping[int, bytes]) -> bytes:
    """The module whose memory begins as `memory` and whose mutable globals begin with `values` (8 bytes each, by
    index). What runs once (the start function, `_initialize`) has run and is left out."""
    parts = sections(wasm)
    _refuse_imports(parts)
    segments = _segments(memory)
    data = bytearray(unsigned(len(segments)))
    for start, piece in segments:
        offset = start if start < 1 << 31 else start - (1 << 32)
        data += b"\0\x41" + signed(offset) + bytes([_END]) + unsigned(len(piece)) + piece
    out: list[Section] = []
    for section in parts:
        number, body = section
        if number == START:
            continue
        if number == MEMORY:
            out.append(Section(MEMORY, _grown_memory(body, len(memory) // _PAGE)))
        elif number == GLOBAL:
            entries = _globals(body)
            written = [
                _constant(kind, values[index]) if mutable and index in values else raw
                for index, (kind, mutable, raw) in enumerate(entries)
            ]
            out.append(Section(GLOBAL, unsigned(len(entries)) + b"".join(written)))
        elif number == EXPORT:
            kept = [entry for entry in _exports(body) if entry[0] not in _DONE]
            out.append(Section(EXPORT, _write_exports(kept)))
        elif number == DATA_COUNT:
            out.append(Section(DATA_COUNT, unsigned(len(segments))))
        elif number == DATA:
            _check_data(body)
        else:
            out.append(section)
    # Data is the last section but for custom ones, which may stand anywhere.
    out.append(Section(DATA, bytes(data)))
    return join(out)


def _grown_memory(body: bytes, pages: int) -> bytes:
    reader = Reader(body)
    if reader.unsigned() != 1:
        raise malformed("a module with more than one memory cannot be pre-initialised")
    flags = reader.byte()
    if flags not in (0, 1):
        raise malformed("a memory that is shared or 64-bit cannot be pre-initialised")
    least = max(pages, reader.unsigned())
    return b"\x01" + bytes([flags]) + unsigned(least) + reader.take(reader.left)
