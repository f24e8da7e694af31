"""Element and data segments: counted and walked, so that their sizes are known and honest."""

from __future__ import annotations

from host.isolate.wasmbin import Reader
from host.model.limits import Limits
from host.modules.admission.refusals import check, malformed, not_offered
from host.modules.admission.types import read_constant, read_reference_type

__all__ = ["read_data", "read_elements"]

_SEGMENTS = "merge the segments"


def read_elements(section: bytes, limits: Limits, uses: set[str]) -> tuple[int, int]:
    """(segments, entries of all of them)."""
    reader = Reader(section)
    segments = reader.unsigned()
    check(limits, "module_segments", segments, _SEGMENTS)
    entries = 0
    for _ in range(segments):
        flags = reader.unsigned()
        if flags > 7:
            raise malformed(f"an element segment has the flags {flags:#x}")
        if flags:
            uses.add("reference-types" if flags & 4 or flags & 3 == 3 else "bulk-memory")
        if not flags & 1:
            if flags & 2:
                reader.unsigned()
            read_constant(reader, uses)
        if flags & 3:
            if flags & 4:
                read_reference_type(reader)
            elif reader.byte():
                raise malformed("an element segment holds something else than functions")
        count = reader.unsigned()
        entries += count
        check(limits, "module_elements", entries, "make the tables smaller")
        for _ in range(count):
            if flags & 4:
                read_constant(reader, uses)
            else:
                reader.unsigned()
    _at_end(reader, "element")
    return segments, entries


def read_data(section: bytes, announced: int | None, limits: Limits, uses: set[str]) -> tuple[int, int]:
    """(segments, bytes of all of them)."""
    reader = Reader(section)
    segments = reader.unsigned()
    check(limits, "module_segments", segments, _SEGMENTS)
    if announced is not None and announced != segments:
        raise malformed(f"{announced} data segments were announced, {segments} are there")
    total = 0
    for _ in range(segments):
        flags = reader.unsigned()
        if flags > 2:
            raise malformed(f"a data segment has the flags {flags:#x}")
        if flags == 2 and reader.unsigned():
            raise not_offered("multi-memory", "a data segment of another memory")
        if flags == 1:
            uses.add("bulk-memory")
        else:
            read_constant(reader, uses)
        size = reader.unsigned()
        reader.take(size)
        total += size
    _at_end(reader, "data")
    return segments, total


def _at_end(reader: Reader, name: str) -> None:
    if reader.left:
        raise malformed(f"{reader.left} bytes are left over in the section {name!r}")
