"""The line before the jail: one job of a tenant at a time, tenants in turns, and a bound on those who wait, of whom at
most half are of one tenant.

What is done behind everybody's back (`behind`) goes when nobody else can, and so never keeps a tenant's upload waiting
for longer than the job that runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from host.isolate.fair_queue import FairQueue
from host.model.errors import UnavailableError

__all__ = ["Line"]

RETRY_AFTER = 1.0


class _Entry:
    __slots__ = ("gone", "turn")

    def __init__(self) -> None:
        self.turn = anyio.Event()
        self.gone = False


class Line:
    """`places` jobs run at once; `room` may wait, before and behind each."""

    def __init__(self, places: int, room: int) -> None:
        self._free = places
        self._room = room
        self._queues: tuple[FairQueue[_Entry], FairQueue[_Entry]] = (FairQueue(1), FairQueue(1))
        self._waiting = [0, 0]
        self._share = max(1, room // 2)
        self._waiting_of = (Counter[str](), Counter[str]())

    @property
    def waiting(self) -> int:
        return sum(self._waiting)

    @asynccontextmanager
    async def place(self, tenant: str, *, behind: bool = False) -> AsyncIterator[None]:
        """Holds one of the places for the block; `node/full` when too many wait."""
        rank = int(behind)
        self._check(self._waiting[rank], self._room, "compilations wait")
        self._check(self._waiting_of[rank][tenant], self._share, "compilations of one tenant wait")
        entry = _Entry()
        queue = self._queues[rank]
        queue.put(tenant, entry)
        self._count(rank, tenant, 1)
        self._advance()
        try:
            await entry.turn.wait()
        except BaseException:
            if entry.turn.is_set():
                self._leave(queue, tenant)
            else:
                entry.gone = True
                self._count(rank, tenant, -1)
            raise
        try:
            yield
        finally:
            self._leave(queue, tenant)

    def _check(self, waiting: int, allowed: int, what: str) -> None:
        if waiting >= allowed:
            raise UnavailableError(
                "node",
                "full",
                f"compile_queue: {waiting} {what}, {allowed} allowed; try again later",
                retry_after=RETRY_AFTER,
                metadata=b'{"limit":"compile_queue","used":%d,"allowed":%d}' % (waiting, allowed),
            )

    def _count(self, rank: int, tenant: str, change: int) -> None:
        self._waiting[rank] += change
        of = self._waiting_of[rank]
        of[tenant] += change
        if not of[tenant]:
            del of[tenant]

    def _leave(self, queue: FairQueue[_Entry], tenant: str) -> None:
        queue.done(tenant)
        self._free += 1
        self._advance()

    def _advance(self) -> None:
        for rank, queue in enumerate(self._queues):
            while self._free and (taken := queue.take()) is not None:
                tenant, entry = taken
                if entry.gone:
                    queue.done(tenant)
                    continue
                self._count(rank, tenant, -1)
                self._free -= 1
                entry.turn.set()
