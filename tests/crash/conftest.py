"""One compiled engine for the cells of the matrix that need no process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from tests.actor.harness import CodeShelf


@pytest.fixture(scope="session")
async def shelf(compiled_data_dir: Path) -> AsyncGenerator[CodeShelf]:
    made = await CodeShelf.build(compiled_data_dir)
    yield made
    made.close()


@pytest.fixture(scope="module")
def new_module_dir(compiled_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """As `new_data_dir`, for what all tests of a file share."""

    def make() -> Path:
        path = tmp_path_factory.mktemp("shared")
        path.chmod(0o700)
        shutil.copy2(compiled_data_dir / "key", path / "key")
        shutil.copytree(compiled_data_dir / "cache", path / "cache")
        return path

    return make
