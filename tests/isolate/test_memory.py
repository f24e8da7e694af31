"""Checked guest memory at its edges."""

from __future__ import annotations

import pytest

from host.isolate.memory import GuestMemory
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import ECHO

SIZE = 2 * 65_536


@pytest.fixture
def memory(start: Start) -> GuestMemory:
    found = start(ECHO)._cell.memory
    assert found is not None
    return found


def test_what_is_written_can_be_read(memory: GuestMemory) -> None:
    memory.write(100, b"\0\1\2\xff")
    memory.write_u32(104, 0xDEADBEEF)
    memory.write_u64(108, 2**64 - 1)
    assert memory.read(100, 16) == b"\0\1\2\xff" + b"\xef\xbe\xad\xde" + b"\xff" * 8
    assert memory.size() == SIZE


def test_rule_6_the_last_byte_is_inside_and_the_next_is_not(memory: GuestMemory) -> None:
    memory.write(SIZE - 1, b"x")
    assert memory.read(SIZE - 1, 1) == b"x"
    assert memory.read(SIZE, 0) == b""
    memory.write(SIZE, b"")
    for job in (
        lambda: memory.read(SIZE, 1),
        lambda: memory.read(SIZE - 1, 2),
        lambda: memory.write(SIZE - 1, b"xy"),
        lambda: memory.write_u32(SIZE - 3, 0),
        lambda: memory.check(SIZE + 1, 0),
    ):
        assert fault_of(job).code == "bad_pointer"
    assert memory.read(SIZE - 1, 1) == b"x", "a refused write writes nothing"


@pytest.mark.parametrize(
    ("pointer", "length"), [(-1, 1), (-1, 0), (0, -1), (1, 0xFFFF_FFFF), (0xFFFF_FFFF, 0xFFFF_FFFF)]
)
def test_rule_6_negative_and_overflowing_ranges_are_refused(memory: GuestMemory, pointer: int, length: int) -> None:
    assert fault_of(lambda: memory.read(pointer, length)).code == "bad_pointer"
    assert fault_of(lambda: memory.check(pointer, length)).code == "bad_pointer"


def test_rule_6_pointers_are_masked_to_32_bits(memory: GuestMemory) -> None:
    memory.write((1 << 32) + 8, b"masked")
    assert memory.read(8, 6) == memory.read((5 << 32) + 8, (1 << 32) + 6) == b"masked"
