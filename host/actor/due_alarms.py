"""The alarms of an actor that is awake: queues each when it is due, once, and sets a timer for the next."""

from __future__ import annotations

from collections.abc import Callable

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.mailbox import Mailbox
from host.model.clock import Clock, TimerHandle
from host.model.records import AlarmRow

__all__ = ["DueAlarms"]


class DueAlarms:
    """`signal` tells that something was queued. Nothing fires before `open` and after `close`."""

    def __init__(self, ledger: Ledger, mailbox: Mailbox, clock: Clock, signal: Callable[[], None]) -> None:
        self._ledger = ledger
        self._mailbox = mailbox
        self._clock = clock
        self._signal = signal
        self._timer: TimerHandle | None = None
        self._open = False
        # alarm id -> fire_seq of the setting that is queued or in work
        self._firing: dict[str, int] = {}

    def open(self) -> None:
        self._open = True
        self.fire()

    def close(self) -> None:
        self._open = False
        self._cancel()

    def fire(self) -> None:
        """Queues what is due by now; called after every commit, and when the time of the next one has come."""
        self._cancel()
        if not self._open or not self._ledger.alarms:
            return
        now = self._clock.now_ms()
        next_due: int | None = None
        for row in sorted(self._ledger.alarms.values(), key=lambda row: row.due_at):
            if self._firing.get(row.alarm_id) == row.fire_seq:
                continue
            if row.due_at > now:
                next_due = row.due_at
                break
            self._firing[row.alarm_id] = row.fire_seq
            self._mailbox.post(Entry(Kind.ALARM, row, attempt=row.attempt + 1, faults=row.faults))
            self._signal()
        if next_due is not None:
            self._timer = self._clock.timer(self._clock.monotonic() + (next_due - now) / 1_000, self.fire)

    def done(self, row: AlarmRow) -> None:
        """This setting is neither queued nor in work any more: if it still stands, it may fire again."""
        if self._firing.get(row.alarm_id) == row.fire_seq:
            del self._firing[row.alarm_id]

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
