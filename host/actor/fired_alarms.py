"""Alarms whose handler has ended: gone, put off, given up, or, if they are crons, set for their next time.

Works on state and ledger like the hop: on its thread during one, else between hops.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from host.actor.backoff import alarm_delay_ms
from host.actor.crons import Crons
from host.actor.entries import Entry
from host.actor.failures import letter
from host.actor.ledger import Ledger
from host.actor.turns import Settlement
from host.capabilities.state import ActorState
from host.model.clock import Clock
from host.model.errors import ErrorInfo
from host.model.limits import Limits
from host.model.records import AlarmRow

__all__ = ["FiredAlarms"]


class FiredAlarms:
    """`given_up` has those given up after their last attempt, to be told after the commit."""

    def __init__(
        self, state: ActorState, ledger: Ledger, clock: Clock, limits: Limits, jitter: Callable[[], float]
    ) -> None:
        self._state = state
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._jitter = jitter
        self.crons = Crons(state, ledger)
        self.given_up: list[tuple[Entry, ErrorInfo]] = []

    def standing(self, fired: AlarmRow) -> AlarmRow | None:
        """The row as it is now; None if it was cancelled or set anew since."""
        row = self._ledger.alarms.get(fired.alarm_id)
        return row if row is not None and row.fire_seq == fired.fire_seq else None

    def settle(self, entry: Entry, fired: AlarmRow, settlement: Settlement) -> None:
        """Its handler settled with a result or failed; what comes of it, only if nobody has set the same id
        meanwhile."""
        if not settlement.given_up:
            self.note_run(entry, settlement.error)
        row = self.standing(fired)
        if row is None:
            return
        now = self._clock.now_ms()
        if settlement.error is not None:
            entry.faults += 1
            if entry.faults < self._limits.alarm_attempts:
                due = now + alarm_delay_ms(entry.faults - 1, self._jitter())
                self._put(row.alarm_id, replace(row, due_at=due, attempt=entry.attempt, faults=entry.faults))
                return
            self._ledger.dead_letter(letter(entry, settlement.error, now))
            self.given_up.append((entry, settlement.error))
        self._put(row.alarm_id, self.crons.next(row, now))

    def note_run(self, entry: Entry, error: ErrorInfo | None) -> None:
        """An attempt has ended: of a cron that is a line of its history."""
        if isinstance(entry.payload, AlarmRow) and entry.payload.repeat is not None:
            row = self._ledger.alarms.get(entry.payload.alarm_id)
            if row is not None:
                ended = max(entry.began, self._clock.now_ms())
                self._put(row.alarm_id, self.crons.ran(entry, row, error, ended))

    def _put(self, alarm_id: str, row: AlarmRow | None) -> None:
        self._ledger.put_alarm(alarm_id, row)
        if row is None:
            self._state.alarms.pop(alarm_id, None)
        else:
            self._state.alarms[alarm_id] = row
