"""The system clock: the only place of the package that asks the machine for the time or sets a timer by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio

from host.model.clock import TimerHandle

__all__ = ["SystemClock", "thread_time"]


def thread_time() -> float:
    """CPU time of the calling thread, in seconds."""
    return time.thread_time()


class SystemClock:
    """Implements `host.model.clock.Clock` on the running event loop."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        await anyio.sleep(max(0.0, when - time.monotonic()))

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return anyio.fail_after(seconds)

    def timer(self, when: float, call: Callable[[], None]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), call)
