"""Source maps (version 3), read: from a place in a bundle to the place in the file that somebody wrote.

Only what errors need: the last mapping at or before a place of a generated line. Names and sections are left out.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec
from msgspec import Struct

__all__ = ["SourceMap", "read_source_map"]

_DIGITS = {char: value for value, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


class _Document(Struct, frozen=True):
    version: int
    sources: list[str]
    mappings: str


class SourceMap:
    """`original` takes and gives lines and columns from 1, as engines and editors count them."""

    def __init__(self, sources: list[str], lines: list[list[tuple[int, int, int, int]]]) -> None:
        """`lines`: of each generated line its mappings (column, source, line, column) by column, all from 0."""
        self._sources = sources
        self._lines = lines

    def original(self, line: int, column: int) -> tuple[str, int, int] | None:
        """Source, line and column; None where the bundler wrote something of its own."""
        if not 1 <= line <= len(self._lines):
            return None
        mappings = self._lines[line - 1]
        index = bisect_right(mappings, column - 1, key=lambda mapping: mapping[0]) - 1
        if index < 0:
            return None
        _, source, at_line, at_column = mappings[index]
        return self._sources[source], at_line + 1, at_column + 1


def read_source_map(document: bytes) -> SourceMap:
    """Raises ValueError if it is no source map of version 3."""
    try:
        found = msgspec.json.decode(document, type=_Document)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no source map: {error}") from error
    if found.version != 3:
        raise ValueError(f"a source map of version {found.version}")
    source = line = column = 0
    lines = []
    for text in found.mappings.split(";"):
        generated = 0
        mappings = []
        for segment in filter(None, text.split(",")):
            values = _numbers(segment)
            generated += values[0]
            if len(values) < 4:  # generated code without a source
                continue
            source, line, column = source + values[1], line + values[2], column + values[3]
            if not 0 <= source < len(found.sources):
                raise ValueError(f"a mapping to source {source} of {len(found.sources)}")
            mappings.append((generated, source, line, column))
        lines.append(mappings)
    return SourceMap(found.sources, lines)


def _numbers(segment: str) -> list[int]:
    """Base64 VLQ: five bits a digit, the lowest first, a sixth says that more follow; the lowest of all is the sign."""
    numbers, value, shift = [], 0, 0
    for char in segment:
        digit = _DIGITS.get(char)
        if digit is None:
            raise ValueError(f"{char!r} in a mapping")
        value |= (digit & 31) << shift
        if digit & 32:
            shift += 5
            continue
        numbers.append(-(value >> 1) if value & 1 else value >> 1)
        value = shift = 0
    if shift or not numbers:
        raise ValueError("a mapping that ends too early")
    return numbers
