"""What becomes of a cron when it has run: the run goes into its history, and the cron is set for its next time.

It never overlaps itself: while a run is in work, or waits to be tried again, the cron's other times pass. What passed,
or was missed while the host was down, is not made up for; one entry of the history tells how many times that were.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from host.actor.entries import Entry
from host.actor.ledger import Ledger
from host.capabilities.state import ActorState
from host.cron.cadence import Missed, missed, next_after
from host.model.errors import ErrorInfo
from host.model.records import AlarmRow, CronRun, Repeat

__all__ = ["Crons"]

# Of an error's message so much is kept.
MESSAGE = 256


class Crons:
    """Works on state and ledger like the hop: on its thread during one, else between hops."""

    def __init__(self, state: ActorState, ledger: Ledger) -> None:
        self._state = state
        self._ledger = ledger
        # (cron, times) that were skipped, to be told after the commit.
        self.skipped: list[tuple[str, int]] = []

    def ran(self, entry: Entry, row: AlarmRow, error: ErrorInfo | None, now_ms: int) -> AlarmRow:
        """An attempt has ended; returns the row with what it remembers of it. `row` is the one that stands, which may
        have been set anew meanwhile."""
        fired = entry.payload
        assert isinstance(fired, AlarmRow)
        if row.repeat is None or fired.repeat is None:
            return row
        self._keep(
            row.repeat,
            "ok" if error is None else "error",
            action=fired.repeat.action,
            scheduled_at=fired.scheduled_at,
            started_at=entry.began,
            finished_at=now_ms,
            attempt=entry.attempt,
            error=None if error is None else ErrorInfo(error.group, error.code, error.message[:MESSAGE]),
        )
        return replace(row, repeat=replace(row.repeat, last_at=entry.began))

    def next(self, row: AlarmRow, now_ms: int) -> AlarmRow | None:
        """The row that takes the place of one that is over; None for what is no cron, or never runs again."""
        if row.repeat is None:
            return None
        over = max(row.scheduled_at, now_ms)
        passed = missed(row.repeat, row.scheduled_at, over)
        if passed is not None:
            self.skipped.append((row.repeat.name, passed.number))
            self._keep_missed(row.repeat, passed, now_ms)
        at = next_after(row.repeat, over)
        if at is None:
            return None
        self._state.fire_seq += 1
        return AlarmRow(row.alarm_id, at, at, self._state.fire_seq, row.payload, repeat=row.repeat)

    def _keep_missed(self, repeat: Repeat, passed: Missed, now_ms: int) -> None:
        self._keep(
            repeat,
            "skipped",
            action=repeat.action,
            scheduled_at=passed.first,
            started_at=now_ms,
            finished_at=now_ms,
            attempt=0,
            number=passed.number,
            until=passed.last,
        )

    def _keep(
        self,
        repeat: Repeat,
        result: Literal["ok", "error", "skipped"],
        *,
        action: str,
        scheduled_at: int,
        started_at: int,
        finished_at: int,
        attempt: int,
        error: ErrorInfo | None = None,
        number: int = 1,
        until: int = 0,
    ) -> None:
        if not repeat.history:
            return
        runs = self._state.runs.setdefault(repeat.name, [])
        run = CronRun(
            name=repeat.name,
            seq=runs[-1].seq + 1 if runs else 1,
            action=action,
            scheduled_at=scheduled_at,
            started_at=started_at,
            finished_at=finished_at,
            result=result,
            attempt=attempt,
            error=error,
            number=number,
            until=until,
        )
        runs.append(run)
        self._ledger.add_run(run)
        if len(runs) > repeat.history:
            del runs[: len(runs) - repeat.history]
            self._ledger.trim_runs(repeat.name, runs[0].seq)
