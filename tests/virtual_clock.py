"""A clock that stands still until a test moves it. Implements `host.model.clock.Clock`.

`advance` goes from timer to timer in the order of their times, so that what one of them sets in motion sees the time at
which it was due, and lets everything come to rest in between (`settle`: some turns of the event loop, unless the test
gives something better).
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["VirtualClock", "let_loop_settle"]

START_MS = 1_700_000_000_000
LOOP_TURNS = 20


async def let_loop_settle() -> None:
    """Lets what is ready on the event loop run, and what that makes ready."""
    for _ in range(LOOP_TURNS):
        await anyio.lowlevel.checkpoint()


class _Timer:
    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualClock:
    """`now_ms` and `monotonic` may be asked on any thread; the rest belongs to the event loop."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self.settle: Callable[[], Awaitable[None]] = let_loop_settle
        self._start_ms = start_ms
        self._lock = threading.Lock()
        self._passed = 0.0
        self._made = 0
        self._timers: list[tuple[float, int, _Timer]] = []

    def now_ms(self) -> int:
        # Rounded to a tenth first: sums of seconds must not fall short of a millisecond by a rounding error.
        return self._start_ms + int(round(self.monotonic() * 1_000, 1))

    def monotonic(self) -> float:
        with self._lock:
            return self._passed

    @property
    def pending(self) -> int:
        """Timers that are set and not cancelled."""
        return sum(timer.call is not None for _, _, timer in self._timers)

    def timer(self, when: float, call: Callable[[], None]) -> _Timer:
        """One whose time has passed is called by the next `advance`, if only by 0."""
        timer = _Timer(call)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    async def sleep_until(self, when: float) -> None:
        if when <= self.monotonic():
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        timer = self.timer(when, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return self._fail_after(seconds)

    @contextmanager
    def _fail_after(self, seconds: float) -> Iterator[None]:
        with anyio.CancelScope() as scope:
            timer = self.timer(self.monotonic() + seconds, scope.cancel)
            try:
                yield
            finally:
                timer.cancel()
        if scope.cancelled_caught:
            raise TimeoutError

    async def advance(self, seconds: float) -> None:
        """Moves time on; returns when everything has come to rest at the new time."""
        if seconds < 0:
            raise ValueError("time does not go back")
        await self.settle()
        target = self.monotonic() + seconds
        while (due := self._pop(target)) is not None:
            when, call = due
            self._set(max(when, self.monotonic()))
            call()
            await self.settle()
        self._set(target)
        await self.settle()

    def jump(self, seconds: float) -> None:
        """As when the machine was suspended: time has passed, and nothing ran meanwhile. What is due comes with the
        next `advance`, if only by 0."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._set(self.monotonic() + seconds)

    def set_wall(self, milliseconds: int) -> None:
        """Somebody sets the clock on the wall, forward or back; monotonic time knows nothing of it."""
        with self._lock:
            self._start_ms += milliseconds

    def _pop(self, until: float) -> tuple[float, Callable[[], None]] | None:
        # A timer a rounding error behind the end is due too.
        while self._timers and self._timers[0][0] <= until + 1e-6:
            when, _, timer = heapq.heappop(self._timers)
            if timer.call is not None:
                call, timer.call = timer.call, None
                return min(when, until), call
        return None

    def _set(self, passed: float) -> None:
        with self._lock:
            self._passed = passed
