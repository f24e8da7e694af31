"""Drivers for the storage tests. `driver` runs a test once for each driver: the conformance suite uses only that."""

from __future__ import annotations

import faulthandler
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from host.storage.driver import Driver
from host.storage.memory import MemoryDriver
from host.storage.sqlite import SqliteDriver


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A test that hangs ends the run and shows where."""
    faulthandler.dump_traceback_later(30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=["memory", "sqlite"])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    made: Driver = MemoryDriver() if request.param == "memory" else sqlite_driver(tmp_path)
    await made.open()
    yield made
    await made.close()


def sqlite_driver(folder: Path, **more: Any) -> SqliteDriver:
    blobs = folder / "blobs"
    blobs.mkdir(exist_ok=True)
    return SqliteDriver(folder / "dormice.db", blobs, **more)


class Probe(sqlite3.Connection):
    """A writer's connection that a test watches, holds at a statement, or makes fail there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statements: list[str] = []  # what SQLite ran, triggers included
        self.calls: list[str] = []  # what the driver asked for
        self.failures: list[tuple[str, Exception]] = []
        self.hold_at: str | None = None
        self.held = threading.Event()
        self.release = threading.Event()
        PROBES.append(self)
        self.set_trace_callback(self.statements.append)

    def fail(self, start: str, error: Exception) -> None:
        """The next statement that starts so raises `error`."""
        self.failures.append((start, error))

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        self._meet(statement)
        return super().execute(statement, *args)

    def executemany(self, statement: str, *args: Any) -> sqlite3.Cursor:
        self._meet(statement)
        return super().executemany(statement, *args)

    def _meet(self, statement: str) -> None:
        self.calls.append(statement)
        if self.hold_at is not None and statement.startswith(self.hold_at):
            self.hold_at = None
            self.held.set()
            assert self.release.wait(10)
        for place, (start, error) in enumerate(self.failures):
            if statement.startswith(start):
                del self.failures[place]
                raise error


PROBES: list[Probe] = []


@pytest.fixture
async def probed(tmp_path: Path) -> AsyncIterator[tuple[SqliteDriver, Probe]]:
    PROBES.clear()
    made = sqlite_driver(tmp_path, factory=Probe)
    await made.open()
    probe = PROBES.pop()
    probe.statements.clear()
    yield made, probe
    probe.release.set()
    await made.close()
