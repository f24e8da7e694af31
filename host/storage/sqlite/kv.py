"""KV writes of many actors at once, on the writer's thread.

A unit's operations are in order, and a range delete must not touch what was put after it. So they are cut into
*phases*: in each, the range deletes come first and then the keys, whose last operation counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from host.model.effects import KvDeleteRange, KvOp, KvPut
from host.storage.sqlite.bulk import Bulk
from host.storage.sqlite.rows import Row

__all__ = ["write_kv"]

_PUT = Bulk(
    "INSERT INTO kv (actor_id, key, value) VALUES",
    "(?, ?, ?)",
    "ON CONFLICT (actor_id, key) DO UPDATE SET value = excluded.value",
)
_DELETE = "DELETE FROM kv WHERE actor_id = ? AND key = ?"
_DELETE_RANGE = "DELETE FROM kv WHERE actor_id = ? AND key >= ? AND key < ?"
_DELETE_REST = "DELETE FROM kv WHERE actor_id = ? AND key >= ?"


@dataclass(slots=True)
class _Phase:
    ranges: list[Row] = field(default_factory=list)
    keys: dict[tuple[str, bytes], bytes | None] = field(default_factory=dict)


def write_kv(conn: sqlite3.Connection, writes: Iterable[tuple[str, tuple[KvOp, ...]]]) -> None:
    """`writes` holds each actor once, with its operations in order."""
    for phase in _phases(writes):
        for actor_id, start, end in phase.ranges:
            if end is None:
                conn.execute(_DELETE_REST, (actor_id, start))
            else:
                conn.execute(_DELETE_RANGE, (actor_id, start, end))
        gone = [place for place, value in phase.keys.items() if value is None]
        if gone:
            conn.executemany(_DELETE, gone)
        _PUT.run(conn, [(*place, value) for place, value in phase.keys.items() if value is not None])


def _phases(writes: Iterable[tuple[str, tuple[KvOp, ...]]]) -> list[_Phase]:
    phases = [_Phase()]
    for actor_id, ops in writes:
        at = 0
        keys_here = False
        for op in ops:
            if isinstance(op, KvDeleteRange):
                if keys_here:
                    at += 1
                    keys_here = False
                    if at == len(phases):
                        phases.append(_Phase())
                phases[at].ranges.append((actor_id, op.start, op.end))
            else:
                phases[at].keys[(actor_id, op.key)] = op.value if isinstance(op, KvPut) else None
                keys_here = True
    return phases
