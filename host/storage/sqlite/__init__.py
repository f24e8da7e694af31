"""SQLite: one writer with group commit, readers of their own, numbered migrations."""

from __future__ import annotations

from host.storage.datadir import DataDir
from host.storage.sqlite.driver import SqliteDriver

__all__ = ["SqliteDriver", "open_sqlite"]


def open_sqlite(datadir: DataDir) -> SqliteDriver:
    """The driver of an opened data directory; await its `open()` before use and its `close()` after."""
    return SqliteDriver(datadir.database, datadir.blobs)
