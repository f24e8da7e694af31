"""The writer's queue, on the event loop: what waits goes to the connection's thread as one group.

One group is in the thread at a time; what arrives meanwhile is the next one, so that the disk sets the size of groups
and a lone unit waits for nothing. No task runs here: the group's future settles those who wait and starts the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from host.model.effects import CommitUnit, KvDelete, KvPut
from host.model.errors import UnavailableError
from host.storage.driver import CommitUnknown
from host.storage.sqlite.connect import OneTrip
from host.storage.sqlite.failures import unavailable
from host.storage.sqlite.group import Group, Work

__all__ = ["GROUP_BYTES", "GROUP_WORKS", "QUEUE_BYTES", "QUEUE_WORKS", "Writer", "size_of"]

MIB = 1024 * 1024
GROUP_WORKS = 1_024
GROUP_BYTES = 16 * MIB
QUEUE_WORKS = 16_384
QUEUE_BYTES = 128 * MIB

_ROW_BYTES = 256


def size_of(unit: CommitUnit) -> int:
    """About what the unit takes in memory and in the log; it only has to bound groups and the queue."""
    size = _ROW_BYTES
    for op in unit.kv:
        size += _ROW_BYTES + len(op.key if isinstance(op, KvPut | KvDelete) else op.start)
        if isinstance(op, KvPut):
            size += len(op.value)
    if unit.state is not None:
        size += len(unit.state)
    for alarm in unit.alarms:
        size += _ROW_BYTES + len(alarm.payload)
    size += _ROW_BYTES * len(unit.runs)
    for row in unit.connections:
        size += 2 * _ROW_BYTES + len(row.state or b"") + len(row.params or b"")
    for frame in unit.outbox:
        size += _ROW_BYTES + frame.size
    if unit.ended_sessions is not None:
        size += _ROW_BYTES * len(unit.ended_sessions.sessions)
    for letter in unit.dead_letters:
        size += _ROW_BYTES + len(letter.payload)
    return size


@dataclass(slots=True)
class _Waiting:
    work: Work
    size: int
    future: asyncio.Future[Any]


class Writer:
    """Belongs to the event loop on which it was made."""

    def __init__(self, connection: OneTrip) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._in_thread: list[_Waiting] = []
        self._scheduled = False
        self._closed: asyncio.Future[None] | None = None
        self.unknown: CommitUnknown | None = None

    def submit(self, work: Work, size: int) -> asyncio.Future[Any]:
        """Queues the work. Cancelling the future does not take the work back: it may still be committed."""
        if self.unknown is not None:
            raise CommitUnknown(*self.unknown.args)
        if self._closed is not None:
            raise unavailable("the driver is closed")
        if self._queue and (len(self._queue) >= QUEUE_WORKS or self._queued_bytes + size > QUEUE_BYTES):
            raise UnavailableError(
                "storage",
                "unavailable",
                f"storage is behind: {len(self._queue)} writes of {self._queued_bytes} bytes wait "
                f"({QUEUE_WORKS} writes and {QUEUE_BYTES} bytes are allowed); nothing was changed, try again",
            )
        waiting = _Waiting(work, size, self._loop.create_future())
        self._queue.append(waiting)
        self._queued_bytes += size
        if not self._in_thread and not self._scheduled:
            # Not this instant but behind what is ready now: others that were woken by the same commit come along.
            self._scheduled = True
            self._loop.call_soon(self._next)
        return waiting.future

    async def close(self) -> None:
        """Refuses new work and returns when what was queued is done."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            if not self._queue and not self._in_thread:
                self._closed.set_result(None)
        await asyncio.shield(self._closed)

    def _next(self) -> None:
        self._scheduled = False
        group = self._take()
        if not group:
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)
            return
        self._in_thread = group
        self._connection.hand_over(Group([waiting.work for waiting in group])).add_done_callback(self._landed)

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < GROUP_WORKS:
            size += self._queue[0].size
            if group and size > GROUP_BYTES:
                break
            group.append(self._queue.popleft())
        self._queued_bytes -= sum(waiting.size for waiting in group)
        return group

    def _landed(self, done: asyncio.Future[list[Any]]) -> None:
        group, self._in_thread = self._in_thread, []
        error = done.exception()
        if error is not None:
            self._give_up(error, group)
            return
        for waiting, result in zip(group, done.result(), strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, Exception):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)
        self._next()

    def _give_up(self, error: BaseException, group: list[_Waiting]) -> None:
        """Nobody knows what is on disk: everyone who waits is told so, and nothing is written any more."""
        self.unknown = error if isinstance(error, CommitUnknown) else CommitUnknown(f"the writer failed: {error!r}")
        self.unknown.__cause__ = error.__cause__ if error is self.unknown else error
        for waiting in (*group, *self._queue):
            if not waiting.future.done():
                waiting.future.set_exception(CommitUnknown(*self.unknown.args))
        self._queue.clear()
        self._queued_bytes = 0
        self._next()
