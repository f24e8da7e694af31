"""Stopping: from the wish to sleep to the moment at which the isolate may go.

Idle is who has nothing to do, nothing waiting, no call outstanding, no keep-awake, and no connection that cannot
hibernate; timers do not count. A stop begins with the stop event and ends when everything has settled, promises of
keepAwake and waitUntil included, or with the grace, which nothing lengthens.
"""

from __future__ import annotations

from collections.abc import Callable

from host.actor.entries import Entry, Kind
from host.actor.hop import HopRunner
from host.actor.ledger import Ledger
from host.actor.mailbox import Mailbox
from host.bridge.envelopes import StopEvent, StopReason
from host.model.clock import Clock, TimerHandle
from host.model.limits import Limits

__all__ = ["Stopping"]

# Until a stop has begun, a more urgent reason takes the place of another.
URGENCY: dict[StopReason, int] = {"sleep": 0, "upgrade": 1, "evict": 2, "destroy": 3}


class Stopping:
    """`signal` tells that the instance has to look again. `reason` is why it is to stop, `entry` the stop event once it
    has begun to, `grace_until` when that has to be over."""

    def __init__(
        self, ledger: Ledger, mailbox: Mailbox, clock: Clock, limits: Limits, signal: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._mailbox = mailbox
        self._clock = clock
        self._limits = limits
        self._signal = signal
        self._wished = False
        self._awake = 0
        self._waits = 0
        self._timer: TimerHandle | None = None
        self._idle_until: float | None = None
        self._last_activity = -1
        self.reason: StopReason | None = None
        self.entry: Entry | None = None
        self.grace_until: float | None = None

    # --- why -----------------------------------------------------------------------------------------------------

    def request(self, reason: StopReason) -> None:
        """Sleep, eviction or the end, as soon as the running hop is over."""
        if self.reason is None or (self.entry is None and URGENCY[reason] > URGENCY[self.reason]):
            self.reason = reason
        elif reason == "destroy" and self.grace_until is not None:
            # Another stop has begun: it goes on, but for no longer than an end may take.
            self.grace_until = min(self.grace_until, self._clock.monotonic() + self._grace(reason) / 1_000)
        self._signal()

    def _grace(self, reason: StopReason) -> int:
        """Nobody waits for long whom the host wants gone."""
        return self._limits.evict_grace if reason in ("evict", "destroy") else self._limits.stop_grace

    def wish(self) -> None:
        """The guest asked for sleep."""
        self._wished = True

    def heed_wish(self, gate_open: bool) -> None:
        """A wish that a start made waits until what woke the actor has had its turn: else it would never have it."""
        if self._wished and self.reason is None and (gate_open or self._mailbox.empty):
            self.reason = "sleep"

    def hold(self, awake: int, waits: int) -> None:
        """How many promises the guest has that keep it awake, and how many that only its stop waits for."""
        self._awake, self._waits = awake, waits

    @property
    def hibernates(self) -> bool:
        """None of its connections keeps it awake."""
        return all(row.hibernatable for row in list(self._ledger.rows.values()))

    @property
    def may_evict(self) -> bool:
        """Nothing holds it awake, and it is not on its way already."""
        return self.reason is None and not self._awake and self.hibernates

    @property
    def _may_begin(self) -> bool:
        """A connection that cannot hibernate keeps its actor awake, but not against an eviction."""
        return self.reason != "sleep" or self.hibernates

    # --- the idle clock ------------------------------------------------------------------------------------------

    def arm_idle(self, runner: HopRunner, seconds: float) -> None:
        """The idle clock runs while nothing is in work, nothing waits and no call is outstanding (timers do not
        count)."""
        if self.entry is not None:
            return
        busy = (
            runner.unsettled
            or runner.deferrals.outstanding
            or not self._mailbox.empty
            or self._awake
            or not self.hibernates
        )
        if busy or self.reason is not None:
            self._idle_until = None
            return
        now = self._clock.monotonic()
        if self._idle_until is None or self._last_activity != runner.turns:
            self._last_activity = runner.turns
            self._idle_until = now + seconds
        self._cancel()
        self._timer = self._clock.timer(self._idle_until, lambda: self._idle_over(runner))

    def stop_idling(self) -> None:
        """Something is to be done: the idle clock begins anew afterwards."""
        self._idle_until = None
        self._cancel()

    def _idle_over(self, runner: HopRunner) -> None:
        over = self._idle_until is not None and self._clock.monotonic() >= self._idle_until
        if over and self._mailbox.empty and not runner.unsettled and not runner.deferrals.outstanding:
            self.request("sleep")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the stop ------------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        return self.reason is not None and self.entry is None and self._may_begin

    @property
    def begun(self) -> bool:
        return self.entry is not None

    def begin(self, runner: HopRunner) -> None:
        """The input gate closes; the stop event passes it."""
        assert self.reason is not None
        runner.gate_open = False
        self.entry = Entry(Kind.STOP)
        grace = self._grace(self.reason)
        self.grace_until = self._clock.monotonic() + grace / 1_000
        runner.urgent.append((self.entry, StopEvent(runner.next_event_id(), self.reason, grace)))

    def settled(self, runner: HopRunner) -> bool:
        """The guest has been told and is done with it: it gets nothing new any more."""
        return self.entry is not None and self.entry.event_id != 0 and self.entry.event_id not in runner.unsettled

    def complete(self, runner: HopRunner, settling: bool) -> bool:
        """Nothing is in work any more, or the grace is over. `settling` says that the host has something to settle."""
        if self.grace_until is None:
            return False
        in_work = bool(runner.unsettled or runner.urgent or settling or self._awake or self._waits)
        return not in_work or self._clock.monotonic() >= self.grace_until
