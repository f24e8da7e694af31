"""Modules that are almost right: seeded mutations of good ones, for readers that must survive every byte of them.

The same seed and bases give the same mutants, so whatever one of them breaks can be had again. Flips find the checks of
single fields, insertions, deletions and splices find lengths that are believed, and edits that keep the frame of the
sections intact get past those checks to what lies behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from host.isolate.wasmbin import Section, join, sections, unsigned
from host.model.errors import TenantError

__all__ = ["flips", "mutants", "prefixes"]

# Numbers at the edges of what the format can say.
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x3FFF, 0x4000, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1)
_MAX_SLICE = 64


def prefixes(module: bytes) -> Iterator[bytes]:
    """Every one that is shorter than the module, the empty one first."""
    for size in range(len(module)):
        yield module[:size]


def flips(module: bytes, bits: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128)) -> Iterator[bytes]:
    """Every module that differs in one byte, by one of the given patterns of bits."""
    for at in range(len(module)):
        for pattern in bits:
            changed = bytearray(module)
            changed[at] ^= pattern
            yield bytes(changed)


def mutants(seed: int, base_modules: Sequence[bytes], count: int) -> Iterator[bytes]:
    """`count` mutants of modules that are good; each has gone through one to four mutations."""
    random = Random(seed)
    for _ in range(count):
        data = random.choice(base_modules)
        for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
            data = random.choice(_MUTATIONS)(random, data, random.choice(base_modules))
        yield data


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _slice(random: Random, data: bytes) -> tuple[int, int]:
    start = _place(random, data)
    return start, min(len(data), start + random.randrange(_MAX_SLICE))


def _flip(random: Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return other
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _replace(random: Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return other
    changed = bytearray(data)
    changed[random.randrange(len(data))] = random.randrange(256)
    return bytes(changed)


def _insert(random: Random, data: bytes, other: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + random.randbytes(random.randrange(1, 9)) + data[at:]


def _delete(random: Random, data: bytes, other: bytes) -> bytes:
    start, end = _slice(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, other: bytes) -> bytes:
    start, end = _slice(random, data)
    return data[:end] + data[start:end] * random.randrange(1, 5) + data[end:]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    start, end = _slice(random, other)
    at = _place(random, data)
    return data[:at] + other[start:end] + data[at + random.choice((0, end - start)) :]


def _cut(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(random, data)]


def _number(random: Random, data: bytes, other: bytes) -> bytes:
    """A number at an edge, sometimes written longer than it has to be, over or between what is there."""
    number = unsigned(random.choice(_EDGES))
    if random.random() < 0.3:
        number = number[:-1] + bytes([number[-1] | 0x80]) + b"\x80" * random.randrange(4) + b"\0"
    at = _place(random, data)
    return data[:at] + number + data[at + random.choice((0, 1, len(number))) :]


def _in_section(random: Random, data: bytes, other: bytes) -> bytes:
    """A mutation inside one section, whose announced size is made right again."""
    parts = _parts(data)
    if not parts:
        return _replace(random, data, other)
    at = random.randrange(len(parts))
    number, body = parts[at]
    parts[at] = Section(
        number, random.choice((_flip, _replace, _insert, _delete, _repeat, _number))(random, body, b"\0")
    )
    return join(parts)


def _of_sections(random: Random, data: bytes, other: bytes) -> bytes:
    """Sections left out, repeated, swapped, or taken from another module."""
    parts, others = _parts(data), _parts(other)
    if not parts or not others:
        return _replace(random, data, other)
    at, away = random.randrange(len(parts)), random.randrange(len(parts))
    act = random.randrange(5)
    if act == 0:
        del parts[at]
    elif act == 1:
        parts.insert(away, parts[at])
    elif act == 2:
        parts[at], parts[away] = parts[away], parts[at]
    elif act == 3:
        parts[at] = random.choice(others)
    else:
        parts[at] = Section(random.randrange(16), parts[at].body)
    return join(parts)


def _parts(data: bytes) -> list[Section]:
    try:
        return sections(data)
    except TenantError:
        return []  # its frame is broken already


_MUTATIONS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flip,
    _replace,
    _insert,
    _delete,
    _repeat,
    _splice,
    _cut,
    _number,
    _in_section,
    _in_section,
    _in_section,
    _of_sections,
)
