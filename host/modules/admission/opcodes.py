"""Every instruction of the format that this host offers, with its immediates; and those of the proposals that are off.

The tables are the one description of the instruction set; the patterns that walk over code are made from them. A
pattern is exact: LEB128 numbers are neither longer nor larger than their width allows (padding inside the width is
legal, linkers write it), so two readers cannot disagree on where an instruction ends. No encoding is a prefix of
another one, which makes the longest run of instructions the only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

__all__ = ["IMMEDIATES", "OFF_OPCODES", "PLAIN", "PREFIXED", "RUN_LENGTH", "U32", "WITH_PROPOSAL", "run_pattern"]


def _leb(more: int, last: bytes) -> bytes:
    """A number of at most `more` + 1 bytes, the last of which is one of `last` if all the others are there."""
    pattern = b"[" + last + b"]"
    for _ in range(more):
        pattern = rb"(?:[\x00-\x7f]|[\x80-\xff]" + pattern + b")"
    return pattern


U32 = _leb(4, rb"\x00-\x0f")
_S32 = _leb(4, rb"\x00-\x07\x78-\x7f")
_S64 = _leb(9, rb"\x00\x7f")
# The exponent of the alignment is below 32: bit 6 would say that the index of a memory follows.
_MEMARG = rb"(?:[\x00-\x1f]|[\x80-\x9f]\x80{0,3}\x00)" + U32

_SHAPES: Mapping[str, bytes] = {
    "": b"",
    "u32": U32,
    "u32 u32": U32 + U32,
    "u32 zero": U32 + rb"\x00",
    "zero": rb"\x00",
    "zero zero": rb"\x00\x00",
    "s32": _S32,
    "s64": _S64,
    "4 bytes": rb"[\x00-\xff]{4}",
    "8 bytes": rb"[\x00-\xff]{8}",
    "16 bytes": rb"[\x00-\xff]{16}",
    "lane": rb"[\x00-\xff]",
    "memarg": _MEMARG,
    "memarg lane": _MEMARG + rb"[\x00-\xff]",
    "reference": rb"[\x6f\x70]",
    "one value type": rb"(?:\x01|\x81\x80{0,3}\x00)[\x6f\x70\x7b-\x7f]",
}
IMMEDIATES: Mapping[str, re.Pattern[bytes]] = {name: re.compile(shape) for name, shape in _SHAPES.items()}


def _span(shape: str, *codes: int | range) -> dict[int, str]:
    return {code: shape for each in codes for code in ([each] if isinstance(each, int) else each)}


# Instructions of the first version that do not nest. `else` (5) is among them: it ends one half and begins the other.
PLAIN: Mapping[int, str] = {
    **_span("u32", range(0x20, 0x25), 0x0C, 0x0D, 0x10),
    **_span("s32", 0x41),
    **_span("memarg", range(0x28, 0x3F)),
    **_span("", 0x00, 0x01, 0x05, 0x0F, 0x1A, 0x1B, range(0x45, 0xC0)),
    **_span("s64", 0x42),
    **_span("4 bytes", 0x43),
    **_span("8 bytes", 0x44),
    **_span("u32 u32", 0x11),
    **_span("zero", 0x3F, 0x40),
}

# The same of proposals that are on: (immediates, proposal).
WITH_PROPOSAL: Mapping[int, tuple[str, str]] = {
    **dict.fromkeys(range(192, 197), ("", "sign-extension")),
    0x1C: ("one value type", "reference-types"),
    0x25: ("u32", "reference-types"),
    0x26: ("u32", "reference-types"),
    0xD0: ("reference", "reference-types"),
    0xD1: ("", "reference-types"),
    0xD2: ("u32", "reference-types"),
}

_BULK: Mapping[int, str] = {
    8: "u32 zero",
    9: "u32",
    10: "zero zero",
    11: "zero",
    12: "u32 u32",
    13: "u32",
    14: "u32 u32",
}
_SIMD_GAPS = {0x9A, 0xA2, 0xA5, 0xA6, 0xAF, 0xB0, 0xB2, 0xB3, 0xB4, 0xBB, 0xC2, 0xC5, 0xC6, 0xCF, 0xD0, 0xD2, 0xD3}
_SIMD_GAPS |= {0xD4, 0xE2, 0xEE}
_SIMD: Mapping[int, str] = {
    **{code: "" for code in range(0x100) if code not in _SIMD_GAPS},
    **_span("memarg", range(0x0C), 0x5C, 0x5D),
    **_span("16 bytes", 0x0C, 0x0D),
    **_span("lane", range(0x15, 0x23)),
    **_span("memarg lane", range(0x54, 0x5C)),
}

# prefix -> number -> (immediates, proposal)
PREFIXED: Mapping[int, Mapping[int, tuple[str, str]]] = {
    0xFC: {
        **dict.fromkeys(range(8), ("", "nontrapping-float-to-int")),
        **{number: (shape, "bulk-memory") for number, shape in _BULK.items()},
        **dict.fromkeys((15, 16, 17), ("u32", "reference-types")),
    },
    0xFD: {number: (shape, "simd") for number, shape in _SIMD.items()},
}

# What begins an instruction of a proposal that is off: by first byte, and by (prefix, number).
OFF_OPCODES: Mapping[int | tuple[int, int], str] = {
    **dict.fromkeys((0x06, 0x07, 0x08, 0x09, 0x0A, 0x18, 0x19, 0x1F), "exceptions"),
    **dict.fromkeys((0x12, 0x13), "tail-call"),
    **dict.fromkeys((0x14, 0x15, 0xD4, 0xD5, 0xD6), "function-references"),
    **dict.fromkeys((0xD3, 0xFB), "gc"),
    **dict.fromkeys(range(0xE0, 0xE7), "stack-switching"),
    0xFE: "threads",
    (0xFC, 18): "memory-control",
    **dict.fromkeys(((0xFC, number) for number in range(19, 23)), "wide-arithmetic"),
    **dict.fromkeys(((0xFD, number) for number in range(0x100, 0x114)), "relaxed-simd"),
}


def _class(codes: list[int]) -> bytes:
    return b"[" + b"".join(rb"\x%02x" % code for code in codes) + b"]"


def _grouped(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[list[int], bytes]]:
    """Codes with the same immediates together, in the order in which they come."""
    by_shape: dict[str, list[int]] = {}
    for code, shape in rows:
        by_shape.setdefault(shape, []).append(code)
    return ((codes, _SHAPES[shape]) for shape, codes in by_shape.items())


# Bounded, because the matcher keeps a little memory for each repetition.
RUN_LENGTH = 4_096


@cache
def run_pattern(known: frozenset[str]) -> re.Pattern[bytes]:
    """The longest run of instructions that do not nest, of the first version and of the proposals in `known`. What
    another proposal brings ends the run, and so is noticed."""
    parts = [_class(codes) + immediates for codes, immediates in _grouped(PLAIN.items())]
    extra = [(code, shape) for code, (shape, proposal) in WITH_PROPOSAL.items() if proposal in known]
    parts += [_class(codes) + immediates for codes, immediates in _grouped(extra)]
    for prefix, rows in PREFIXED.items():
        mine = [(number, shape) for number, (shape, proposal) in rows.items() if proposal in known]
        for numbers, immediates in _grouped(row for row in mine if row[0] < 0x80):
            padded = _class([each | 0x80 for each in numbers]) + rb"\x80{0,3}\x00"
            parts.append(_class([prefix]) + b"(?:" + _class(numbers) + b"|" + padded + b")" + immediates)
        for numbers, immediates in _grouped(row for row in mine if row[0] >= 0x80):
            low = _class([each & 0x7F | 0x80 for each in numbers])
            parts.append(_class([prefix]) + low + rb"(?:\x01|\x81\x80{0,2}\x00)" + immediates)
    return re.compile(b"(?:%s){0,%d}" % (b"|".join(parts), RUN_LENGTH))
