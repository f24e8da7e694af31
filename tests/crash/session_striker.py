"""Blows other than a kill, struck at a fail point of a whole host in this process while a session client talks to it.

A point in a turn is passed on an executor thread, which waits there until the blow has been struck; at the points
around the commit, on the event loop itself, a blow that takes time begins there and goes on behind.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import anyio

from host.model.errors import GuestFault
from host.model.failpoints import GUEST_POINTS, FailPoint, FailPoints
from tests.crash.session_cells import SessionBlow
from tests.crash.session_talk import Talk
from tests.end_to_end.host import TestHost

__all__ = ["SessionStriker"]

PATIENCE = 10


class SessionStriker:
    """`hits` counts how often each point was passed since `aim`; `struck` says whether the blow has fallen."""

    def __init__(self) -> None:
        self.failpoints = FailPoints(None, self._hit, every=True)
        self.hits: Counter[FailPoint] = Counter()
        self.struck = False
        self._point: FailPoint | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def aim(
        self, host: TestHost, talk: Talk, point: FailPoint | None = None, blow: SessionBlow | None = None, nth: int = 1
    ) -> None:
        """At one talk after another: only one actor is awake at a time."""
        self._host, self._talk = host, talk
        self._point, self._blow, self._nth = point, blow, nth
        self._loop = asyncio.get_running_loop()
        self.hits.clear()
        self.struck = False

    async def rest(self) -> None:
        """Until what a blow began is over."""
        with anyio.fail_after(PATIENCE):
            await asyncio.gather(*self._tasks)

    def _hit(self, point: FailPoint) -> None:
        self.hits[point] += 1
        if point is not self._point or self.hits[point] != self._nth:
            return
        self.struck = True
        if self._blow is SessionBlow.TRAP:
            raise GuestFault("trap", f"struck at {point.value}")
        if point not in GUEST_POINTS:
            self._begin(None)
            return
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._begin, done)
        assert done.wait(PATIENCE)

    def _begin(self, done: threading.Event | None) -> None:
        if self._blow in (SessionBlow.TUNNEL, SessionBlow.DROP):
            self._strike_at_once()
            if done is not None:
                done.set()
            return
        task = self._loop.create_task(self._strike(done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _strike_at_once(self) -> None:
        sockets = self._host.node.sockets
        for conn in sockets._held.of_actor(self._talk.actor_id):
            if self._blow is SessionBlow.TUNNEL:
                assert sockets.resend(conn.conn_id, conn.first - 1)
            elif conn.abort is not None:
                conn.abort()

    async def _strike(self, done: threading.Event | None) -> None:
        if self._blow is SessionBlow.DESTROY:
            await self._destroyed(done)
        else:
            await self._taken_over(done)
        if done is not None:
            done.set()

    async def _destroyed(self, done: threading.Event | None) -> None:
        """The turn goes on once the destroy is recorded, for its end waits for the turn."""
        placement = self._host.node.placement
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(placement.destroy, self._talk.actor_id)
            await anyio.lowlevel.checkpoint()
            await placement.being_destroyed(self._talk.actor_id)
            if done is not None:
                done.set()

    async def _taken_over(self, done: threading.Event | None) -> None:
        """The turn goes on once the second connection stands in the place of the first."""
        held = self._host.node.sockets._held
        (former,) = held.of_actor(self._talk.actor_id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._talk.take_over)
            while held.stands(former):
                await anyio.lowlevel.checkpoint()
            if done is not None:
                done.set()
