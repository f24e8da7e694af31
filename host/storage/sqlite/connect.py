"""Opening connections to the database file, and handing work to aiosqlite's thread in one trip.

aiosqlite makes a trip to its thread and back for every statement. `OneTrip` puts a whole function on the same queue
instead, so that a transaction costs one trip. It stands on two details of aiosqlite (the queue `_tx` of
(future, function), and the thread `_thread` that starts when the connection is awaited); a test pins them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite
from anyio import CancelScope, to_thread

__all__ = ["CACHED_STATEMENTS", "OneTrip", "open_reader", "open_writer"]

T = TypeVar("T")

CACHED_STATEMENTS = 256

# No mmap on either side: an I/O error in a mapped page is a signal that ends the process, in a read() it is an error.
_WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
    # A checkpoint syncs twice in the way of a commit: rarer than the default of 1,000 pages, and the log is cut back.
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)
_READER_PRAGMAS = ("PRAGMA query_only = ON", "PRAGMA mmap_size = 0", "PRAGMA cache_size = -2048")


def open_writer(path: Path, factory: type[sqlite3.Connection], busy_timeout: float) -> sqlite3.Connection:
    """The one connection that writes. Transactions are begun and ended by hand. The files are the owner's only."""
    _make_private(path)
    conn = sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        factory=factory,
    )
    try:
        for pragma in _WRITER_PRAGMAS:
            row = conn.execute(pragma).fetchone()
            if pragma.endswith("WAL") and row != ("wal",):
                raise sqlite3.OperationalError(f"the file system of {path} cannot keep a write-ahead log (mode {row})")
    except BaseException:
        conn.close()
        raise
    return conn


def _make_private(path: Path) -> None:
    """SQLite would make the file as the umask says; it gives its log and index the mode of the file. A file that is
    there is not opened: closing it would let go of every lock that this process has on it."""
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if each.exists() and each.stat().st_mode & 0o077:
                each.chmod(0o600)
    except OSError as error:
        raise sqlite3.OperationalError(f"{path} cannot be made its owner's only: {error.strerror or error}") from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; each of its reads sees what is committed at that moment."""
    conn = sqlite3.connect(
        f"{path.as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    try:
        for pragma in _READER_PRAGMAS:
            conn.execute(pragma)
    except BaseException:
        conn.close()
        raise
    return conn


class OneTrip(aiosqlite.Connection):
    """An aiosqlite connection that runs whole functions on its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # A host that ends without close() must not hang on this thread; the log makes that as safe as a crash.
        self._thread.daemon = True

    async def start(self) -> None:
        """Starts the thread and connects. If that fails the thread has ended too: it still answers that it was told to
        stop, and the event loop may be closed a moment later."""
        try:
            await self
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._thread.join)
            raise

    def hand_over(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queues `function` now, without waiting. aiosqlite logs what it runs at debug level, so `function` should
        have a repr without tenants' data."""
        conn = self._conn
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, lambda: function(conn)))
        return future

    async def trip(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self.hand_over(function)
