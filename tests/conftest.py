"""Shared by all tests: asyncio as the one backend, and a data directory whose engine is compiled already."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from host.config import Settings
from host.node import open_node

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("dormice", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dormice")

# Files of few tests that take long: where several workers share the work, they begin with these.
LONG = (
    "tests/selftest/test_corpus.py",
    "tests/crash/test_soak.py",
    "tests/crash/test_kills.py",
    "tests/end_to_end/test_kill.py",
)

# Names a directory that a node has run in already, for runs of pytest that share one.
COMPILED = "TESTS_COMPILED_DATA_DIR"

# Without the values of local variables, as a host logs; to render those of a whole application takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def compiled_data_dir(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a node has run in once: its cache holds the compiled JavaScript engine."""
    if COMPILED in os.environ:
        return Path(os.environ[COMPILED])
    if "PYTEST_XDIST_WORKER" not in os.environ:
        path = tmp_path_factory.mktemp("compiled")
        await _compile_into(path)
        return path
    # The workers of one run: whoever is first compiles it for all.
    path = tmp_path_factory.getbasetemp().parent / "compiled"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.mkdir(mode=0o700)
            await _compile_into(path)
    return path


async def _compile_into(path: Path) -> None:
    async with open_node(Settings(data_dir=path, dev=True)):
        pass


@pytest.fixture
def new_data_dir(compiled_data_dir: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes fresh data directories: the key and the artifact cache of the compiled one, and nothing else."""
    made = iter(range(1_000))

    def make() -> Path:
        path = tmp_path / f"data{next(made)}"
        path.mkdir(mode=0o700)
        shutil.copy2(compiled_data_dir / "key", path / "key")
        shutil.copytree(compiled_data_dir / "cache", path / "cache")
        return path

    return make


@pytest.fixture(scope="session", autouse=True)
def no_host_settings() -> Iterator[None]:
    """Variables of the machine must not change what a test sees."""
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("DORMICE_")}
    yield
    os.environ.update(saved)
