"""Who of one tenant may run: all who ask while it has CPU time, one after another once it has used its time up.

Nobody is refused: who has to wait keeps its place, and is told when its turn has come. Those who waited go before those
who come, and one at a time, since what a turn costs is known only after it.
"""

from __future__ import annotations

from collections.abc import Callable

from host.model.clock import Clock, TimerHandle
from host.model.ports import CpuUser
from host.placement.token_bucket import TokenBucket

__all__ = ["CpuLine"]

# A turn that was given may never be charged (its job was refused): the line then moves on by itself.
NUDGE = 0.05
# Who is called and does not come for so long has nothing to run any more: it must not keep the others waiting.
PATIENCE = 0.25


class CpuLine:
    """`held` is called once for each wait that begins. `used` is in seconds."""

    def __init__(self, clock: Clock, rate: float, burst: float, held: Callable[[], None]) -> None:
        self._clock = clock
        self._held = held
        self._bucket = TokenBucket(rate, burst, clock.monotonic())
        # By identity: the keys are ids, for a user need not be hashable by value.
        self._waiting: dict[int, CpuUser] = {}
        self._called: int | None = None
        self._called_at = 0.0
        self._timer: TimerHandle | None = None
        self.used = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def configure(self, rate: float, burst: float) -> None:
        self._bucket.configure(rate, burst, self._clock.monotonic())
        self._arm()

    def may_run(self, user: CpuUser) -> bool:
        if self._called == id(user):
            self._called = None
            self._arm()
            return True
        if not self._waiting and self._called is None and self._bucket.positive(self._clock.monotonic()):
            return True
        if id(user) not in self._waiting:
            self._waiting[id(user)] = user
            self._held()
            self._arm()
        return False

    def leave(self, user: CpuUser) -> None:
        self._waiting.pop(id(user), None)
        if self._called == id(user):
            self._called = None
            self._call_next()

    def charge(self, seconds: float) -> float:
        """The level after it."""
        self.used += seconds
        left = self._bucket.take(seconds, self._clock.monotonic())
        if self._waiting or self._called is not None or self._timer is not None:
            self._call_next()
        return left

    @property
    def level(self) -> float:
        """Seconds of CPU time that are left; below nothing, how much more was used than there was."""
        return self._bucket.level(self._clock.monotonic())

    @property
    def wait(self) -> float:
        """Seconds until there is some again."""
        return self._bucket.wait(self._clock.monotonic())

    def _call_next(self) -> None:
        now = self._clock.monotonic()
        if self._called is not None and now - self._called_at >= PATIENCE:
            self._called = None
        if self._waiting and self._called is None and self._bucket.positive(now):
            number, user = next(iter(self._waiting.items()))
            del self._waiting[number]
            self._called, self._called_at = number, now
            user.signal()
        self._arm()

    def _arm(self) -> None:
        """One timer, while somebody waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            now = self._clock.monotonic()
            self._timer = self._clock.timer(now + max(NUDGE, self._bucket.wait(now)), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._call_next()
