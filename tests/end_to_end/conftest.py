"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["new_module_dir"]


@pytest.fixture(scope="module")
def new_module_dir(compiled_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """As `new_data_dir`, for hosts that all tests of a file share."""

    def make() -> Path:
        path = tmp_path_factory.mktemp("shared")
        path.chmod(0o700)
        shutil.copy2(compiled_data_dir / "key", path / "key")
        shutil.copytree(compiled_data_dir / "cache", path / "cache")
        return path

    return make
