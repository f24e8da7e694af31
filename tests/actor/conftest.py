"""One compiled engine for all of these tests; a fresh node, without its ends, for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.actor.harness import CodeShelf, Harness, open_harness


@pytest.fixture(scope="session")
async def shelf(compiled_data_dir: Path) -> AsyncGenerator[CodeShelf]:
    made = await CodeShelf.build(compiled_data_dir)
    yield made
    made.close()


@pytest.fixture
async def h(shelf: CodeShelf) -> AsyncGenerator[Harness]:
    """A node on storage in memory."""
    async with open_harness(shelf) as harness:
        yield harness
