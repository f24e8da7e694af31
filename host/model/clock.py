"""The one door to time. The system clock is built by the node and injected; tests inject a virtual one.

`now_ms` is wall time for records and guests; `monotonic` (seconds) is for deadlines. `now_ms` may be called from any
thread; everything else belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Clock", "TimerHandle"]


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds, never going back."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Returns at `when` (monotonic seconds) or at once if it has passed."""
        ...

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        """Raises TimeoutError in the block when it takes longer."""
        ...

    def timer(self, when: float, call: Callable[[], None]) -> TimerHandle:
        """Calls `call` on the event loop at `when` (monotonic seconds)."""
        ...
