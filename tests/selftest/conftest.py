from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.cli.demo_host import HostProcess
from host.cli.selftest import hostile_host


@pytest.fixture
def shared(compiled_data_dir: Path, tmp_path: Path) -> Path:
    """A directory whose `data` has a compiled engine."""
    return prepared(compiled_data_dir, tmp_path)


@pytest.fixture(scope="module")
async def host(
    compiled_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[HostProcess, str]]:
    """One host for all tests of a module, with its engine compiled already; and its token."""
    async with hostile_host(prepared(compiled_data_dir, tmp_path_factory.mktemp("selftest"))) as (process, token):
        yield process, token


def prepared(compiled: Path, directory: Path) -> Path:
    data = directory / "data"
    data.mkdir(mode=0o700)
    shutil.copy2(compiled / "key", data / "key")
    shutil.copytree(compiled / "cache", data / "cache")
    return directory
