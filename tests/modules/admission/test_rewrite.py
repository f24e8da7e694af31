"""The bytes that are compiled: those of the upload, but for the maximum of the memory."""

from __future__ import annotations

import pytest

from host.isolate.wasmbin import sections
from host.model.limits import LIMITS, Limits
from host.model.report import MemoryInfo
from host.modules.admission import rewrite, survey
from tests.modules.admission.build import GOOD, MEMORY, RICH, changed, compiles

MOST = next(limit.maximum for limit in LIMITS if limit.name == "memory") // 65_536


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (b"\x01\0\x01", MemoryInfo(1, MOST)),
        (b"\x01\0\x81\x80\x80\x00", MemoryInfo(1, MOST)),
        (b"\x01\x01\x01\x80\x80\x04", MemoryInfo(1, MOST)),
        (b"\x01\x01\x01\x02", MemoryInfo(1, 2)),
        (b"\x01\x01\x03\x80\x20", MemoryInfo(3, MOST)),
    ],
)
def test_a_memory_gets_a_maximum_that_the_operator_allows(memory: bytes, expected: MemoryInfo) -> None:
    module = changed(GOOD, {MEMORY: memory})
    made = rewrite(module, Limits())
    assert compiles(made)
    assert survey(made, Limits()).memories == (expected,)
    assert rewrite(made, Limits()) == made


@pytest.mark.parametrize("module", [GOOD, RICH])
def test_nothing_else_is_changed(module: bytes) -> None:
    made = rewrite(module, Limits())
    assert [each for each in sections(made) if each.number != MEMORY] == [
        each for each in sections(module) if each.number != MEMORY
    ]
    assert rewrite(made, Limits()) is made
