"""Two clocks for tests: the real one, and one whose deadlines pass when the test says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anyio

from host.model.clock import TimerHandle


class RealClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        await anyio.sleep(max(0.0, when - self.monotonic()))

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return anyio.fail_after(seconds)

    def timer(self, when: float, call: Callable[[], None]) -> TimerHandle:
        raise NotImplementedError("modules set no timers")


class HandClock(RealClock):
    """Only `fail_after` matters to modules: `advance` makes the deadlines pass."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.on_wait: Callable[[], None] = lambda: None
        self._open: list[tuple[float, anyio.CancelScope]] = []

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    @property
    def waits(self) -> int:
        """Deadlines that have not passed."""
        return len(self._open)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for when, scope in self._open:
            if when <= self.now:
                scope.cancel()

    @contextmanager
    def fail_after(self, seconds: float) -> Iterator[None]:
        with anyio.CancelScope() as scope:
            entry = (self.now + seconds, scope)
            self._open.append(entry)
            self.on_wait()
            try:
                yield
            finally:
                self._open.remove(entry)
        if scope.cancelled_caught:
            raise TimeoutError
