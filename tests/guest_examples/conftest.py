"""Where the examples are, and a host for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.end_to_end.host import TestHost, start_host

EXAMPLES = Path(__file__).parent.parent.parent / "guest_examples"


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
async def host(new_data_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_data_dir()) as running:
        yield running
