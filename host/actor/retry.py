"""When an actor may try again: after a start that failed, while storage does not answer, and after a fence.

Until then those who wait for an answer are told why; what can wait makes one attempt together at that time.
"""

from __future__ import annotations

from collections.abc import Callable

from host.actor.backoff import fence_delay_ms
from host.model.clock import Clock
from host.model.errors import ErrorInfo

__all__ = ["Retry"]

STORAGE_DELAY_MS = 1_000
MAX_STORAGE_DELAY_MS = 30_000
FENCED = ErrorInfo("actor", "restarting", "the actor is being started elsewhere; try again", retryable=True)
NOT_STARTED = ErrorInfo("actor", "start_failed", "the actor could not be started")
# Fences that are further apart than this have nothing to do with each other.
FENCE_MEMORY = 60.0


class Retry:
    """`at` is the monotonic time before which nothing is tried; None if there is none."""

    def __init__(self, clock: Clock, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._error: ErrorInfo | None = None
        self._storage_failures = 0
        self._fences = 0
        self._fenced_at = 0.0
        self.at: float | None = None

    def now(self) -> None:
        """Whatever was said before."""
        self.at = None

    def after(self, seconds: float, error: ErrorInfo | None) -> None:
        self._error = error
        self.at = self._clock.monotonic() + seconds

    def started(self) -> None:
        """It runs: nothing of before counts any more but fences, which come after a start."""
        self._error = None
        self._storage_failures = 0

    def storage_failed(self, error: ErrorInfo) -> None:
        """Ever more rarely."""
        self._storage_failures += 1
        delay = min(MAX_STORAGE_DELAY_MS, STORAGE_DELAY_MS << min(self._storage_failures - 1, 5))
        self.after(delay / 1_000, error)

    def fenced(self) -> tuple[int, int]:
        """(how often in a row, the delay in ms). Two owners that fence each other off in turn would do so as fast as
        they can start, so each does it ever more rarely."""
        now = self._clock.monotonic()
        self._fences = self._fences + 1 if now - self._fenced_at < FENCE_MEMORY else 1
        self._fenced_at = now
        delay = fence_delay_ms(self._fences, self._jitter())
        if delay:
            self.after(delay / 1_000, FENCED)
        return self._fences, delay

    def refusal(self) -> ErrorInfo | None:
        """What those are told who do not wait, None when the time has come."""
        if self.at is None:
            return None
        left = self.at - self._clock.monotonic()
        if left <= 0:
            self.at = None
            return None
        return self.error(left)

    def error(self, left: float) -> ErrorInfo:
        error = self._error or NOT_STARTED
        return ErrorInfo(error.group, error.code, error.message, True, error.metadata, retry_after=max(1.0, left))
