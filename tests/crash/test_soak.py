"""Twenty rounds of the soak, with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from benchmarks.soak import soak

pytestmark = pytest.mark.anyio


async def test_twenty_kills_at_random_moments_lose_double_and_reorder_nothing(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(180):
        report = await soak(new_data_dir(), 20, 1)
    assert report.found == []
    assert report.rounds == 20
    assert report.messages >= 20 * 100
    assert report.actions >= 20
