"""Blows other than a kill, struck at a fail point of a node that runs in this process.

A point in a turn is passed on an executor thread, which waits there until the blow has been struck on the event loop;
the points around the commit are passed on the event loop itself, where a blow is struck at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from host.model.errors import GuestFault
from host.model.failpoints import GUEST_POINTS, FailPoint, FailPoints
from host.model.tunnel import SocketClosed
from tests.actor.harness import Harness
from tests.crash.cells import Blow

__all__ = ["Striker"]

PATIENCE = 10


class Striker:
    """`hits` counts how often the point was passed, `struck` says whether the blow fell; `aim` comes first."""

    def __init__(self, point: FailPoint, blow: Blow | None, nth: int) -> None:
        self.point = point
        self.blow = blow
        self.hits = 0
        self.struck = False
        self.failpoints = FailPoints(point, self._hit, every=True)
        self._nth = nth
        self._tasks: set[asyncio.Task[None]] = set()

    def aim(self, h: Harness, actor_id: str) -> None:
        self._h = h
        self._actor = actor_id
        self._loop = asyncio.get_running_loop()

    def _hit(self, point: FailPoint) -> None:
        self.hits += 1
        if self.blow is None or self.hits != self._nth:
            return
        self.struck = True
        if self.blow is Blow.TRAP:
            raise GuestFault("trap", f"struck at {point.value}")
        if point not in GUEST_POINTS:
            self._strike(None)
            return
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._strike, done)
        assert done.wait(PATIENCE)

    def _strike(self, done: threading.Event | None) -> None:
        """On the event loop; the destroy goes on by itself, and the thread waits until it is recorded: its end waits
        for the thread."""
        if self.blow is Blow.DESTROY:
            self._keep(self._h.placement.destroy(self._actor))
            self._keep(self._recorded(done))
            return
        for socket in list(self._h.gateway.held.values()):
            if self.blow is Blow.REPOST:
                for message in list(socket.buffer.values()):
                    self._h.placement.post_message(message)
            elif self.blow is Blow.FORGET:
                self._h.gateway.held.pop(socket.conn)
                socket.closed = (1006, "")
                self._h.placement.post_closed(SocketClosed(self._actor, socket.conn, 1006, "", False))
            else:
                socket.close()
                socket.closed = (1000, "")
        if done is not None:
            done.set()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _recorded(self, done: threading.Event | None) -> None:
        """Begins after the destroy itself."""
        try:
            await self._h.placement.being_destroyed(self._actor)
        finally:
            if done is not None:
                done.set()
