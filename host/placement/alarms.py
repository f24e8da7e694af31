"""Waking actors for their alarms. What points up is injected: the function that wakes an actor, the clock, a timer.

Storage is the truth; this holds the times of the next minute only, filled by a look at storage and by what commits
announce. A time that has come is checked against storage before an actor is woken for it: the alarm may be cancelled.
None fires early, and none is lost: what is missed here is found by the next look.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import anyio

from host.model.clock import Clock
from host.model.errors import DormiceError
from host.storage.driver import Driver
from host.telemetry.logging import get_logger

__all__ = ["AlarmClock"]

log = get_logger("alarms")

HORIZON_MS = 60_000
PAGE = 1_000
# Storage that fails is asked again, but not in a tight loop.
RETRY_MS = 1_000


class AlarmClock:
    """`wake(actor_id)` brings an actor up; `awake(actor_id)` tells that it runs and fires its alarms itself."""

    def __init__(
        self, storage: Driver, clock: Clock, wake: Callable[[str], None], awake: Callable[[str], bool]
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._wake = wake
        self._awake = awake
        self._heap: list[tuple[int, str]] = []
        self._known: dict[str, int] = {}
        self._changed = anyio.Event()
        self._horizon = 0
        # While a look is under way, the actors whose times were announced: what it reads of them may be older.
        self._announced: set[str] | None = None

    def changed(self, actor_id: str, wake_at: int | None) -> None:
        """After a commit: the earliest alarm of the actor."""
        if self._announced is not None:
            self._announced.add(actor_id)
        self._learn(actor_id, wake_at)

    def _learn(self, actor_id: str, wake_at: int | None) -> None:
        if wake_at is None:
            self._known.pop(actor_id, None)
        elif wake_at < self._horizon and self._known.get(actor_id) != wake_at:
            self._known[actor_id] = wake_at
            heapq.heappush(self._heap, (wake_at, actor_id))
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = self._clock.now_ms()
            failed = now >= self._horizon - HORIZON_MS // 2 and not await self._look(now)
            due: list[str] = []
            while self._heap and self._heap[0][0] <= now:
                wake_at, actor_id = heapq.heappop(self._heap)
                if self._known.get(actor_id) == wake_at:
                    del self._known[actor_id]
                    due.append(actor_id)
            for actor_id in due:
                await self._fire(actor_id)
            await self._wait(RETRY_MS if failed else 1)

    async def _look(self, now: int) -> bool:
        """Page by page, so that any number of actors with alarms that wait holds up nobody behind them."""
        former, self._horizon = self._horizon, now + HORIZON_MS  # what is announced meanwhile is kept
        self._announced = announced = set[str]()
        after: tuple[int, str] | None = None
        while True:
            try:
                rows = await self._storage.due_actors(self._horizon, PAGE, after)
            except DormiceError as error:
                log.warning("alarms not read", error=error.name)
                self._horizon = former
                self._announced = None
                return False
            for wake_at, actor_id in rows:
                if actor_id not in announced and not self._awake(actor_id):
                    self._learn(actor_id, wake_at)
            if len(rows) < PAGE:
                self._announced = None
                return True
            after = rows[-1]

    async def _fire(self, actor_id: str) -> None:
        if self._awake(actor_id):
            return
        try:
            record = await self._storage.get_actor(actor_id)
        except DormiceError as error:
            log.warning("alarm put off", actor_id=actor_id, error=error.name)
            return
        if record is None or record.wake_at is None:
            return
        if record.wake_at <= self._clock.now_ms():
            self._wake(actor_id)
        elif actor_id not in self._known:
            self._learn(actor_id, record.wake_at)  # it was put off, and the announcement of that was missed

    async def _wait(self, at_least: int) -> None:
        next_look = self._horizon - HORIZON_MS // 2
        next_due = min(self._heap[0][0] if self._heap else next_look, next_look)
        # Never longer than to the next look: the clock on the wall may be set forward or back meanwhile.
        delay = min(max(at_least, next_due - self._clock.now_ms()), HORIZON_MS // 2)
        self._changed = anyio.Event()
        timer = self._clock.timer(self._clock.monotonic() + delay / 1_000, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()
