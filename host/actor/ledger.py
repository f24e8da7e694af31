"""The ledger of one instance: what is on disk of its actor, and what the running hop adds to it.

Turns that ended well are entered one after another; `take_unit` turns what has been entered since the last time into
one `CommitUnit`. There is no undo: when a turn faults it was not entered, and when a commit fails the whole instance
goes and the ledger is read again from storage. It belongs to the executor thread during a hop and to the event loop
between hops, like the schedule of the mailbox.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from host.actor.entries import Entry, Kind
from host.actor.outbox import Outbox
from host.actor.watermark import Watermark
from host.model.effects import ActorChange, CommitUnit, EndedSessions, IndexUpdate, KvOp, SendFrame, TurnEffects
from host.model.limits import Limits
from host.model.records import ActorImage, AlarmRow, AttemptRow, ConnectionRow, CronRun, DeadLetter
from host.model.tunnel import SocketMessage

__all__ = ["Ledger"]

AttemptKey = tuple[str, str, int]


class Ledger:
    def __init__(self, image: ActorImage, epoch: int, limits: Limits | None = None) -> None:
        self.record = image.record
        self.epoch = epoch
        self.hop_seq = image.record.hop_seq
        self.rows: dict[str, ConnectionRow] = {row.conn_id: row for row in image.connections}
        self.marks: dict[str, Watermark] = {
            row.conn_id: Watermark(row.msg_index, row.settled_ahead) for row in image.connections
        }
        self.alarms: dict[str, AlarmRow] = {row.alarm_id: row for row in image.alarms}
        self.attempts: dict[AttemptKey, AttemptRow] = {(a.kind, a.ref, a.index): a for a in image.attempts}
        self.claimed = False
        self._limits = limits or Limits()
        self._outbox = Outbox(self.rows, self._limits)
        self._letters = image.letters
        self._stored_alarms: dict[str, int] = {row.alarm_id: row.fire_seq for row in image.alarms}
        self._begin()

    def _begin(self) -> None:
        self._kv: list[KvOp] = []
        self._state: bytes | None = None
        self._alarm_ids: set[str] = set()
        self._runs: list[CronRun] = []
        self._runs_trimmed: dict[str, int] = {}
        self._dirty_rows: set[str] = set()
        self._dirty_marks: set[str] = set()
        self._gone: list[str] = []
        self._attempts: dict[AttemptKey, AttemptRow] = {}
        self._attempts_gone: list[AttemptKey] = []
        self._dead: list[DeadLetter] = []
        self._ended: list[bytes] = []
        self._change: ActorChange | None = None

    # --- entering ------------------------------------------------------------------------------------------------

    def apply(self, effects: TurnEffects) -> TurnEffects:
        """The effects of a turn that ended well; returns them with the frames of sessions numbered."""
        if effects.kv:
            self._kv.extend(effects.kv)
        if effects.state is not None:
            self._state = effects.state
        for alarm_id, row in effects.alarms.items():
            self.put_alarm(alarm_id, row)
        for cron, below in effects.runs_trimmed.items():
            self.trim_runs(cron, below)
        for conn, (state, tags) in effects.connections.items():
            row_now = self.rows.get(conn)
            if row_now is not None:
                self.rows[conn] = replace(row_now, state=state, tags=tags)
                self._dirty_rows.add(conn)
        return self._outbox.number(effects) if effects.outputs else effects

    def open_connection(self, row: ConnectionRow) -> None:
        self.rows[row.conn_id] = row
        self.marks[row.conn_id] = Watermark()
        self._dirty_rows.add(row.conn_id)

    def send(self, frame: SendFrame) -> SendFrame:
        """A frame of the host's own on a /connect connection; on that of a session, with its number."""
        return self._outbox.enter(frame)

    def subscribe(self, conn: str, event: str, on: bool) -> None:
        """In the commit that settles the client's wish (D4)."""
        row = self.rows.get(conn)
        if row is not None and on != (event in row.subscriptions):
            others = tuple(one for one in row.subscriptions if one != event)
            self.rows[conn] = replace(row, subscriptions=(*others, event) if on else others)
            self._dirty_rows.add(conn)

    def settle_message(self, conn: str, index: int) -> None:
        """D2: the index counts as settled only in the commit that holds the effects of its turns."""
        mark = self.marks.get(conn)
        if mark is not None:
            mark.settle(index)
            self._dirty_marks.add(conn)

    def has_room(self, entry: Entry, allowed: int) -> bool:
        """D2: a message may begin if, whatever settles first, no index settles more than `allowed` above the
        watermark. What is held back begins when the watermark has moved."""
        if not isinstance(entry.payload, SocketMessage):
            return True
        mark = self.marks.get(entry.payload.conn_id)
        return mark is None or entry.payload.index <= mark.msg_index + allowed

    def remove_connection(self, conn: str) -> None:
        row = self.rows.pop(conn, None)
        if row is None:
            return
        if row.session is not None:
            self._ended.append(row.session)
        self.marks.pop(conn, None)
        self._dirty_rows.discard(conn)
        self._dirty_marks.discard(conn)
        self._gone.append(conn)
        for key in [key for key in self.attempts if key[1] == conn]:
            self.clear_attempt(key)

    def put_alarm(self, alarm_id: str, row: AlarmRow | None) -> None:
        """A new or changed alarm, or None when it goes."""
        if row is None:
            self.alarms.pop(alarm_id, None)
        else:
            self.alarms[alarm_id] = row
        self._alarm_ids.add(alarm_id)

    def add_run(self, run: CronRun) -> None:
        self._runs.append(run)

    def trim_runs(self, cron: str, below: int) -> None:
        """Those with a lower `seq` go: what is on disk of them, and what was to go there."""
        self._runs = [run for run in self._runs if run.name != cron or run.seq >= below]
        self._runs_trimmed[cron] = max(below, self._runs_trimmed.get(cron, 0))

    def put_attempt(self, entry: Entry) -> None:
        """D5: an attempt beyond the first is on record before it starts."""
        key = entry.name
        row = AttemptRow(*key, attempt=entry.attempt, faults=entry.faults)
        self.attempts[key] = row
        self._attempts[key] = row

    def put_begun(self, entry: Entry) -> None:
        """D6: a turn of this call is on disk with the next commit; it has not settled. If the process is gone before
        it has, it is answered and not carried out again."""
        key = entry.name
        row = AttemptRow(*key, attempt=2, faults=0)
        self.attempts[key] = row
        self._attempts[key] = row

    def recall(self, entries: Iterable[Entry]) -> None:
        """Further attempts that a commit which failed could not record: they go with the first turn of this start,
        before they begin (D5, D6)."""
        for entry in entries:
            if isinstance(entry.payload, AlarmRow):
                row = self.alarms.get(entry.payload.alarm_id)
                if row is not None and row.fire_seq == entry.payload.fire_seq and row.attempt < entry.attempt - 1:
                    self.put_alarm(row.alarm_id, replace(row, attempt=entry.attempt - 1))
            elif entry.attempt > 1 and entry.kind in (Kind.MESSAGE, Kind.CLOSED):
                known = self.attempts.get(entry.name)
                if known is None or known.attempt < entry.attempt:
                    self.put_attempt(entry)

    def clear_attempt(self, key: AttemptKey) -> None:
        if self.attempts.pop(key, None) is not None:
            self._attempts.pop(key, None)
            self._attempts_gone.append(key)

    def dead_letter(self, letter: DeadLetter) -> None:
        """D5: what is given up is kept, with the reason, in the commit that gives it up."""
        self._dead.append(letter)

    def change_actor(self, change: ActorChange) -> None:
        self._change = change

    # --- leaving -------------------------------------------------------------------------------------------------

    def wake_at(self) -> int | None:
        return min((row.due_at for row in self.alarms.values()), default=None)

    def take_unit(self, now: int, *, must: bool = False) -> CommitUnit | None:
        """The unit of everything entered since the last one; None when nothing durable changed, unless `must` or the
        start has not claimed its epoch yet (D8)."""
        if not (
            must
            or not self.claimed
            or self._kv
            or self._outbox
            or self._state is not None
            or self._dirty_marks
            or self._dirty_rows
            or self._alarm_ids
            or self._runs
            or self._runs_trimmed
            or self._gone
            or self._attempts
            or self._attempts_gone
            or self._dead
            or self._change is not None
        ):
            return None
        self.hop_seq += 1
        rows = tuple(self._full_row(conn, now) for conn in sorted(self._dirty_rows))
        indexes = tuple(
            IndexUpdate(conn, mark.msg_index, mark.settled_ahead() if mark.ahead else (), now)
            for conn in self._dirty_marks - self._dirty_rows
            if (mark := self.marks.get(conn)) is not None
        )
        alarms, alarms_gone = self._alarm_changes()
        outbox, outbox_trims = self._outbox.take()
        letters_dropped = self._letters_dropped()
        unit = CommitUnit(
            actor_id=self.record.actor_id,
            generation=self.record.generation,
            epoch=self.epoch,
            hop_seq=self.hop_seq,
            claims=not self.claimed,
            kv=tuple(self._kv),
            state=self._state,
            alarms=alarms,
            alarms_gone=alarms_gone,
            wake_at=self.wake_at() if alarms or alarms_gone or not self.claimed else None,
            runs_trimmed=tuple(self._runs_trimmed.items()),
            runs=tuple(self._runs),
            connections=rows,
            indexes=indexes,
            connections_gone=tuple(self._gone),
            outbox=outbox,
            outbox_trims=outbox_trims,
            attempts=tuple(self._attempts.values()),
            attempts_gone=tuple(self._attempts_gone),
            dead_letters=tuple(self._dead),
            dead_letters_dropped=letters_dropped,
            ended_sessions=self._ended_sessions(now),
            actor=self._change,
        )
        self.claimed = True
        self._begin()
        return unit

    def _full_row(self, conn: str, now: int) -> ConnectionRow:
        mark = self.marks[conn]
        row = replace(self.rows[conn], msg_index=mark.msg_index, settled_ahead=mark.settled_ahead(), last_seen_at=now)
        self.rows[conn] = row
        return row

    def _letters_dropped(self) -> int:
        """What the bound on dead letters costs: so many of the oldest."""
        if not self._dead:
            return 0
        letters = self._letters + len(self._dead)
        self._letters = min(letters, self._limits.dead_letters)
        return letters - self._letters

    def _ended_sessions(self, now: int) -> EndedSessions | None:
        if not self._ended:
            return None
        limits = self._limits
        return EndedSessions(tuple(self._ended), now, now - limits.session_memory, limits.ended_sessions)

    def _alarm_changes(self) -> tuple[tuple[AlarmRow, ...], tuple[tuple[str, int], ...]]:
        if not self._alarm_ids:
            return (), ()
        rows: list[AlarmRow] = []
        gone: list[tuple[str, int]] = []
        for alarm_id in sorted(self._alarm_ids):
            row = self.alarms.get(alarm_id)
            if row is not None:
                rows.append(row)
                self._stored_alarms[alarm_id] = row.fire_seq
            elif (stored := self._stored_alarms.pop(alarm_id, None)) is not None:
                gone.append((alarm_id, stored))
        return tuple(rows), tuple(gone)
