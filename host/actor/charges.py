"""Faults and failed commits: who is charged, what is delivered again, what is given up (D5 and D6).

A fault is charged to the turn's event. Everything is entered into the ledger first, so that a further attempt is on
record before it starts; who waits is told after the commit, and if the commit fails nothing of it has happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED, TIMED_OUT, failed, letter
from host.actor.hop import HopRunner
from host.actor.ledger import Ledger
from host.actor.mailbox import Mailbox
from host.actor.turns import HopResult, Settlement
from host.model.clock import Clock
from host.model.errors import ErrorInfo
from host.model.limits import Limits
from host.model.records import AlarmRow

__all__ = ["Charges", "Charging", "count_delivery", "may_try_again"]


@dataclass(slots=True)
class Charges:
    """`before` keeps (entry, attempt, faults) in case the commit fails; `given_up` is told, with its error, after
    it, and so is `told`: what clients of /connect connections asked for, which has settled with an error."""

    before: list[tuple[Entry, int, int]] = field(default_factory=list)
    given_up: list[tuple[Entry, ErrorInfo]] = field(default_factory=list)
    told: list[Settlement] = field(default_factory=list)


def may_try_again(entry: Entry, limits: Limits) -> bool:
    """D5: 3 attempts in all, of an alarm 6, that end in a fault of the event's own; an open has one."""
    if entry.kind is Kind.OPENED:
        return False
    return entry.faults < (limits.alarm_attempts if entry.kind is Kind.ALARM else limits.attempts)


def count_delivery(entry: Entry) -> None:
    """D6: the guest may have done part of it before, and can tell by `attempt`."""
    entry.attempt += 1


class Charging:
    def __init__(self, ledger: Ledger, runner: HopRunner, mailbox: Mailbox, clock: Clock, limits: Limits) -> None:
        self._ledger = ledger
        self._runner = runner
        self._mailbox = mailbox
        self._clock = clock
        self._limits = limits

    def fault(self, culprit: Entry | None, error: ErrorInfo) -> Charges:
        """The isolate is lost by a fault in a turn of `culprit`."""
        charges = Charges()
        for entry in list(self._runner.unsettled.values()):
            charges.before.append((entry, entry.attempt, entry.faults))
            if entry is culprit:
                self._charge(entry, error, charges)
            elif entry.call is not None:
                charges.told.append(self._runner.settle(failed(entry, ABORTED)))
            elif entry.redelivered:
                # Its turns are on disk, or are with this commit: it is delivered again from its start.
                count_delivery(entry)
                self._record(entry)
        return charges

    def grace_over(self) -> Charges:
        """The isolate goes with these unsettled: a grace that ran out on an event counts as its own fault."""
        charges = Charges()
        for entry in list(self._runner.unsettled.values()):
            charges.before.append((entry, entry.attempt, entry.faults))
            if entry.call is not None:
                charges.told.append(self._runner.settle(failed(entry, ABORTED)))
            elif entry.redelivered:
                self._charge(entry, TIMED_OUT, charges)
        return charges

    def _charge(self, entry: Entry, error: ErrorInfo, charges: Charges) -> None:
        if not entry.redelivered:
            self._runner.unsettled.pop(entry.event_id)
            charges.given_up.append((entry, error))
            return
        if entry.asks:
            # D5: never retried. Its index settles in the same commit, and the client is told why.
            charges.told.append(self._runner.settle(failed(entry, error)))
            return
        entry.faults += 1
        self._runner.alarms.note_run(entry, error)
        if may_try_again(entry, self._limits):
            count_delivery(entry)
            self._record(entry)
            return
        # Given up: the index is committed past it, and a dead letter says why.
        charges.given_up.append((entry, error))
        if entry.kind is not Kind.OPENED:
            self._ledger.dead_letter(letter(entry, error, self._clock.now_ms()))
        alarm = entry.kind is Kind.ALARM
        settled = self._runner.settle(Settlement(entry, given_up=True) if alarm else failed(entry, error))
        if entry.kind is Kind.OPENED:
            charges.told.append(settled)

    def _record(self, entry: Entry) -> None:
        if isinstance(entry.payload, AlarmRow):
            row = self._ledger.alarms.get(entry.payload.alarm_id)
            if row is not None and row.fire_seq == entry.payload.fire_seq:
                self._ledger.put_alarm(row.alarm_id, replace(row, attempt=entry.attempt - 1, faults=entry.faults))
        elif entry.kind is not Kind.OPENED:
            self._ledger.put_attempt(entry)

    def give_back(self) -> None:
        """D6: hands the entries in work back: those delivered again to the mailbox, the others their answer."""
        back: list[Entry] = []
        for entry in self._runner.unsettled.values():
            if entry.redelivered:
                back.append(entry)
            else:
                entry.fail(ABORTED)
        self._runner.unsettled.clear()
        self._mailbox.put_back(back)

    def undo(self, result: HopResult, host_settled: Iterable[Settlement], charges: Charges, error: ErrorInfo) -> None:
        """The commit failed: it is as if the hop had not been. Attempts of what began in it are unchanged, and whoever
        waits for an answer to something of this hop learns that storage failed. What had turns on disk before it falls
        under D6: it runs again from its start, as a further attempt."""
        for entry, attempt, faults in charges.before:
            entry.attempt, entry.faults = attempt, faults
        undone: dict[int, Entry] = {id(entry): entry for entry in result.started}
        for settlement in (*(one for turn in result.turns for one in turn.settled), *host_settled):
            undone[id(settlement.entry)] = settlement.entry
        for entry, _ in charges.given_up:
            undone[id(entry)] = entry
        for settlement in charges.told:
            undone[id(settlement.entry)] = settlement.entry
        for entry in {**{id(one): one for one in self._runner.unsettled.values()}, **undone}.values():
            if entry.redelivered and entry.committed:
                count_delivery(entry)
        for entry in undone.values():
            self._runner.unsettled.pop(entry.event_id, None)
            if not entry.redelivered:
                entry.fail(error)
        self.give_back()
        self._mailbox.put_back(entry for entry in undone.values() if entry.redelivered)
