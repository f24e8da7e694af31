"""A disk that fails: the nth operation of the storage under a node raises, whichever it is.

Operations are the statements of the writer's connection and of the readers'. An error in COMMIT can come before
anything was written or after everything was; nobody who is told of it knows which, so both are tried.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from host.storage.sqlite import SqliteDriver, cold, driver
from host.storage.sqlite.connect import open_reader

__all__ = ["Disk", "FAILURES"]

FAILURES: dict[str, Callable[[], sqlite3.Error]] = {
    "io": lambda: sqlite3.OperationalError("disk I/O error"),
    "full": lambda: sqlite3.OperationalError("database or disk is full"),
    "busy": lambda: sqlite3.OperationalError("database is locked"),
}


class Disk:
    """Counts from `arm` on; `failed` is the statement that was failed, or None."""

    def __init__(self) -> None:
        self.ops = 0
        self.failed: str | None = None
        self.late = False
        self._nth = 0
        self._error: Callable[[], sqlite3.Error] = FAILURES["io"]

    def arm(self, nth: int, failure: str, *, late: bool = False) -> None:
        """`late`: a COMMIT fails after it was carried out."""
        self.ops = 0
        self._nth, self._error, self.late = nth, FAILURES[failure], late

    def disarm(self) -> None:
        self._nth = 0

    def run(self, statement: str, carry_out: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        self.ops += 1
        if self.ops != self._nth:
            return carry_out()
        self.failed = statement
        if self.late and statement == "COMMIT":
            carry_out()
        raise self._error()

    def driver(self, folder: Path, patch: pytest.MonkeyPatch) -> SqliteDriver:
        """A driver on this disk."""
        disk = self

        class Writing(sqlite3.Connection):
            def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
                return disk.run(statement, lambda: sqlite3.Connection.execute(self, statement, *args))

            def executemany(self, statement: str, *args: Any) -> sqlite3.Cursor:
                return disk.run(statement, lambda: sqlite3.Connection.executemany(self, statement, *args))

        def reading(path: Path) -> Any:
            return _Reading(open_reader(path), disk)

        patch.setattr(driver, "open_reader", reading)
        patch.setattr(cold, "open_reader", reading)
        blobs = folder / "blobs"
        blobs.mkdir(exist_ok=True)
        return SqliteDriver(folder / "dormice.db", blobs, factory=Writing)


class _Reading:
    """A reader's connection, counted."""

    def __init__(self, conn: sqlite3.Connection, disk: Disk) -> None:
        self._conn = conn
        self._disk = disk

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        return self._disk.run(statement, lambda: self._conn.execute(statement, *args))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)
