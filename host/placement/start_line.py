"""Who of one tenant may start: as many as may be awake at once, and as often as its starts come back.

Who finds no start free and has time to wait takes a place in the line, and costs nothing there: each start that becomes
free is kept for the next of them, who alone is told. So nobody who comes later overtakes those who wait, and however
many wait, one end of a life or one start that came back wakes one.
"""

from __future__ import annotations

from host.model.clock import Clock, TimerHandle
from host.model.ports import CpuUser
from host.placement.token_bucket import TokenBucket

__all__ = ["StartLine"]

# When a start is refused because too many actors are awake: one of them may sleep soon.
ROOM_SECONDS = 1.0


class StartLine:
    """`awake` counts those that a start is kept for too; `started` only those that began."""

    def __init__(self, clock: Clock, actors: int, starts: int) -> None:
        self._clock = clock
        self._actors = actors
        self._starts = TokenBucket(starts / 60, starts, clock.monotonic())
        # By identity, as in the line for CPU time; the first is the next.
        self._waiting: dict[int, CpuUser] = {}
        self._kept: dict[int, CpuUser] = {}
        self._timer: TimerHandle | None = None
        self.awake = 0
        self.started = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def level(self) -> float:
        """Starts that are left."""
        return self._starts.level(self._clock.monotonic())

    def configure(self, actors: int, starts: int) -> None:
        self._actors = actors
        self._starts.configure(starts / 60, starts, self._clock.monotonic())
        self._give()

    def begin(self, user: CpuUser | None) -> str | None:
        """None if one more is awake now, until `end`; else the limit that refuses it."""
        if user is not None and self._kept.pop(id(user), None) is not None:
            self.started += 1
            return None
        self._give()
        if self.awake >= self._actors:
            return "tenant_actors"
        if self._waiting or not self._starts.try_take(1, self._clock.monotonic()):
            return "tenant_starts"
        self.awake += 1
        self.started += 1
        return None

    def retry_after(self, limit: str) -> float:
        """When somebody who has no place in the line may try again."""
        if limit == "tenant_actors":
            return ROOM_SECONDS
        return self._starts.wait(self._clock.monotonic(), 1 + len(self._waiting))

    def wait(self, user: CpuUser) -> None:
        """Takes a place at the end; `signal` says that a start is kept for it."""
        self._waiting.setdefault(id(user), user)
        self._give()

    def is_kept(self, user: CpuUser) -> bool:
        return id(user) in self._kept

    def leave(self, user: CpuUser) -> None:
        """Neither its place nor the start that may be kept for it is needed any more."""
        self._waiting.pop(id(user), None)
        if self._kept.pop(id(user), None) is not None:
            self._starts.take(-1, self._clock.monotonic())
            self.awake -= 1
        self._give()

    def end(self, again: CpuUser | None) -> None:
        """One less is awake, unless it begins anew at once, as `again`: it does not have to go behind those who wait
        if it may be started so soon."""
        if again is not None and self.awake <= self._actors and self._starts.try_take(1, self._clock.monotonic()):
            self._kept[id(again)] = again
            return
        self.awake -= 1
        self._give()

    def _give(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and self.awake < self._actors and self._starts.try_take(1, now):
            number, user = next(iter(self._waiting.items()))
            del self._waiting[number]
            self.awake += 1
            self._kept[number] = user
            user.signal()
        self._arm()

    def _arm(self) -> None:
        """One timer, while somebody waits for nothing but that starts come back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self.awake < self._actors:
            now = self._clock.monotonic()
            self._timer = self._clock.timer(now + self._starts.wait(now, 1), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._give()
