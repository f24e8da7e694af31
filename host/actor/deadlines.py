"""Time limits of events in work, and the timers that guests asked for (`setTimeout`): both end with the isolate."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from host.actor.entries import Entry
from host.actor.failures import STUCK, TIMED_OUT, failed
from host.actor.hop import HopRunner
from host.actor.turns import Completion, Settlement
from host.model.clock import Clock, TimerHandle

__all__ = ["Deadlines", "GuestTimers"]


class Deadlines:
    """Settles from the host's side every event that takes too long: it had its time, and what it does
    afterwards counts for nothing."""

    def __init__(self, runner: HopRunner, clock: Clock, signal: Callable[[], None]) -> None:
        self._runner = runner
        self._clock = clock
        self._signal = signal
        self._timer: TimerHandle | None = None
        self._allowed = 0

    def begin(self, entry: Entry, seconds: float) -> None:
        self._allowed = int(seconds * 1_000)
        entry.deadline = self._clock.monotonic() + seconds

    def expired(self) -> list[Settlement]:
        """Settlements of the events whose time is over; an event that waits for nothing it started is stuck."""
        unsettled = self._runner.unsettled
        if not unsettled:
            return []
        now = self._clock.monotonic()
        over = [entry for entry in unsettled.values() if entry.deadline is not None and entry.deadline <= now]
        for entry in over:
            entry.deadline = None
            self._runner.ignored.add(entry.event_id)
        metadata = b'{"limit":"handler_timeout","used":%d,"allowed":%d}' % (self._allowed, self._allowed)
        return [failed(entry, replace(TIMED_OUT if entry.calls else STUCK, metadata=metadata)) for entry in over]

    def stuck(self) -> list[Settlement]:
        """Settlements of the events that wait for nothing they started, once nothing else will be delivered."""
        done = self._runner.ignored
        waiting = [one for one in self._runner.unsettled.values() if not one.calls and one.event_id not in done]
        for entry in waiting:
            entry.deadline = None
            self._runner.ignored.add(entry.event_id)
        return [failed(entry, STUCK) for entry in waiting]

    def arm(self, also: float | None = None) -> None:
        """One timer for the next of them, and for `also` (monotonic seconds)."""
        self.cancel()
        times = [entry.deadline for entry in self._runner.unsettled.values() if entry.deadline is not None]
        if also is not None:
            times.append(also)
        if times:
            self._timer = self._clock.timer(min(times), self._signal)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class GuestTimers:
    """Started after the commit of the turn that asked for them; a completion each, when they are due. `count` is told
    how many more of them there are."""

    def __init__(
        self, runner: HopRunner, clock: Clock, signal: Callable[[], None], count: Callable[[int], None]
    ) -> None:
        self._count = count
        self._runner = runner
        self._clock = clock
        self._signal = signal
        self._timers: dict[int, TimerHandle] = {}

    def start(self, call: int, after_ms: int) -> None:
        self._count(1)
        self._timers[call] = self._clock.timer(self._clock.monotonic() + after_ms / 1_000, lambda: self._due(call))

    def _due(self, call: int) -> None:
        del self._timers[call]
        self._count(-1)
        deferrals = self._runner.deferrals
        deferrals.complete(Completion(call, deferrals.owner_of(call)))
        self._signal()

    def end(self, call: int) -> None:
        """The guest does not wait for it any more. One that is due already completes all the same."""
        handle = self._timers.pop(call, None)
        if handle is not None:
            handle.cancel()
            self._count(-1)
            self._runner.deferrals.forget(call)

    def cancel(self) -> None:
        for handle in self._timers.values():
            handle.cancel()
        self._count(-len(self._timers))
        self._timers.clear()
