"""Cold reads on executor threads: `StateReader` over a read-only connection per thread.

The standard library's sqlite3, not aiosqlite: the caller is a guest's host call that waits on its own thread, and a
point read takes a few microseconds there. A connection is made at a thread's first read and closed by `close`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from host.storage.sqlite.connect import open_reader
from host.storage.sqlite.failures import unavailable
from host.storage.sqlite.rows import Row

__all__ = ["ColdReads", "SqliteReader"]

_POINT = "SELECT value FROM kv WHERE actor_id = ? AND key = ?"
_SIZE = "SELECT kv_bytes FROM actors WHERE actor_id = ?"
_KEYS = "SELECT kv_keys FROM actors WHERE actor_id = ?"
# Few lengths, so that the statements stay prepared; a shorter list is filled up with its last key.
_LENGTHS = (8, 32, 128)
_MANY = {
    length: f"SELECT key, value FROM kv WHERE actor_id = ? AND key IN ({', '.join('?' * length)})"
    for length in _LENGTHS
}


class _Slot:
    """A thread's connection, with a lock so that `close` never pulls it away under a read."""

    __slots__ = ("conn", "lock")

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn: sqlite3.Connection | None = conn
        self.lock = threading.Lock()


class ColdReads:
    """The threads' connections. `refuse` raises when nothing may be read any more."""

    def __init__(self, path: Path, refuse: Callable[[], None]) -> None:
        self._path = path
        self._refuse = refuse
        self._local = threading.local()
        self._slots: list[_Slot] = []
        self._lock = threading.Lock()
        self._closed = False

    def read(self, statement: str, params: Sequence[Any]) -> list[Row]:
        """All rows; raises `storage/unavailable`."""
        self._refuse()
        slot: _Slot | None = getattr(self._local, "slot", None)
        try:
            if slot is None:
                slot = self._local.slot = self._connect()
            with slot.lock:
                if slot.conn is None:
                    raise unavailable("the driver is closed", reading=True)
                return slot.conn.execute(statement, params).fetchall()
        except (sqlite3.Error, MemoryError) as error:
            raise unavailable(error, reading=True) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            slots, self._slots = self._slots, []
        for slot in slots:
            with slot.lock:
                if slot.conn is not None:
                    slot.conn.close()
                    slot.conn = None

    def _connect(self) -> _Slot:
        with self._lock:
            if self._closed:
                raise unavailable("the driver is closed", reading=True)
            slot = _Slot(open_reader(self._path))
            self._slots.append(slot)
            return slot


class SqliteReader:
    """See `host.model.ports.StateReader`. Any thread may use it."""

    __slots__ = ("_actor_id", "_cold")

    def __init__(self, cold: ColdReads, actor_id: str) -> None:
        self._cold = cold
        self._actor_id = actor_id

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if len(keys) == 1:
            rows = self._cold.read(_POINT, (self._actor_id, keys[0]))
            return {keys[0]: rows[0][0]} if rows else {}
        found: dict[bytes, bytes] = {}
        for at in range(0, len(keys), _LENGTHS[-1]):
            part = keys[at : at + _LENGTHS[-1]]
            length = next(length for length in _LENGTHS if length >= len(part))
            filled = (*part, *([part[-1]] * (length - len(part))))
            found.update(self._cold.read(_MANY[length], (self._actor_id, *filled)))
        return found

    def range(self, start: bytes, end: bytes | None, *, reverse: bool, limit: int) -> list[tuple[bytes, bytes]]:
        below = "" if end is None else "AND key < ?"
        statement = (
            f"SELECT key, value FROM kv WHERE actor_id = ? AND key >= ? {below} "
            f"ORDER BY key {'DESC' if reverse else 'ASC'} LIMIT ?"
        )
        params = (self._actor_id, start) if end is None else (self._actor_id, start, end)
        return [(key, value) for key, value in self._cold.read(statement, (*params, max(0, limit)))]

    def kv_bytes(self) -> int:
        rows = self._cold.read(_SIZE, (self._actor_id,))
        return rows[0][0] if rows else 0

    def kv_keys(self) -> int:
        rows = self._cold.read(_KEYS, (self._actor_id,))
        return rows[0][0] if rows else 0
