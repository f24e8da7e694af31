"""A reader of committed KV in memory, and an actor's state over it."""

from __future__ import annotations

from collections.abc import Sequence

from host.capabilities.state import ActorState, Connection
from host.model.effects import KvDelete, KvDeleteRange, KvOp, KvPut

__all__ = ["FakeReader", "state_with"]


class FakeReader:
    """The rows as committed; counts what it is asked, so that a test can tell a cached read from a cold one."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = dict(rows or {})
        self.reads = 0
        self.rows_read = 0

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self.reads += 1
        return {key: self.rows[key] for key in keys if key in self.rows}

    def range(self, start: bytes, end: bytes | None, *, reverse: bool, limit: int) -> list[tuple[bytes, bytes]]:
        self.reads += 1
        keys = sorted((key for key in self.rows if key >= start and (end is None or key < end)), reverse=reverse)
        self.rows_read += len(keys[:limit])
        return [(key, self.rows[key]) for key in keys[:limit]]

    def kv_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self.rows.items())

    def kv_keys(self) -> int:
        return len(self.rows)

    def commit(self, ops: Sequence[KvOp]) -> None:
        for op in ops:
            if isinstance(op, KvPut):
                self.rows[op.key] = op.value
            elif isinstance(op, KvDelete):
                self.rows.pop(op.key, None)
            elif isinstance(op, KvDeleteRange):
                for key in [key for key in self.rows if key >= op.start and (op.end is None or key < op.end)]:
                    del self.rows[key]


def state_with(reader: FakeReader | None = None, *connections: str) -> ActorState:
    reader = reader or FakeReader()
    state = ActorState()
    state.kv.bind(reader)
    state.kv.bytes_estimate = reader.kv_bytes()
    state.kv.keys_estimate = reader.kv_keys()
    for conn_id in connections:
        state.connections[conn_id] = Connection(conn_id, "/")
    return state
