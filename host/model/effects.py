"""Effects: everything a turn wants to change or send. Nothing of it is visible before the commit.

`TurnEffects` is what the capabilities record in one turn; `CommitUnit` is what one hop writes, all or nothing.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.calls import DeferredCall
from host.model.errors import ErrorInfo
from host.model.records import AlarmRow, AttemptRow, ConnectionRow, CronRun, DeadLetter, DurableLifecycle

__all__ = [
    "ActorChange",
    "CommitUnit",
    "DeferredTimer",
    "EndedSessions",
    "IndexUpdate",
    "KvDelete",
    "KvDeleteRange",
    "KvOp",
    "KvPut",
    "LogLine",
    "OutboxFrame",
    "OutboxTrim",
    "Output",
    "SendFrame",
    "SendClose",
    "TurnEffects",
]


class KvPut(Struct, frozen=True):
    key: bytes
    value: bytes


class KvDelete(Struct, frozen=True):
    key: bytes


class KvDeleteRange(Struct, frozen=True):
    """[start, end); an `end` of None means to the end of the key space."""

    start: bytes
    end: bytes | None


KvOp = KvPut | KvDelete | KvDeleteRange


class SendFrame(Struct, frozen=True):
    """An outgoing frame: text as str, binary as bytes. `index` is its number on a session connection, from 1; 0 on
    others."""

    conn: str
    data: str | bytes
    index: int = 0


class SendClose(Struct, frozen=True):
    conn: str
    code: int
    reason: str


Output = SendFrame | SendClose


class LogLine(Struct, frozen=True):
    level: str
    message: str


class DeferredTimer(Struct, frozen=True):
    """A timer that starts after the commit of its turn: `call` is its id in this start, `after_ms` its delay."""

    call: int
    after_ms: int


class TurnEffects(Struct, frozen=True):
    """What one turn recorded. `state` is the new document or None for unchanged. `alarms` maps an id to its new row,
    or to None when cancelled. `runs_trimmed` maps a cron to the `seq` below which its runs go. `connections` maps a
    conn to its new (state, tags). `held` is what holds the actor from now on, as (promises that keep it awake, promises
    that its stop waits for), or None for unchanged. `refused` counts the host calls that a limit refused, by its name.
    `logs_dropped` counts lines of this turn, `logs_told` those of which the log is to say now that they were dropped.
    `ended_timers` are the calls of earlier timers that the guest does not wait for any more. `deferred` are calls that
    start after the commit, `cancelled` those of this start that nobody waits for any more, by their ids. Sizes in raw
    bytes."""

    kv: tuple[KvOp, ...] = ()
    state: bytes | None = None
    alarms: dict[str, AlarmRow | None] = {}
    runs_trimmed: dict[str, int] = {}
    connections: dict[str, tuple[bytes | None, tuple[str, ...]]] = {}
    outputs: tuple[Output, ...] = ()
    logs: tuple[LogLine, ...] = ()
    timers: tuple[DeferredTimer, ...] = ()
    ended_timers: tuple[int, ...] = ()
    deferred: tuple[DeferredCall, ...] = ()
    cancelled: tuple[int, ...] = ()
    sleep: bool = False
    destroy: bool = False
    held: tuple[int, int] | None = None
    logs_dropped: int = 0
    logs_told: int = 0
    refused: dict[str, int] = {}
    size: int = 0


class IndexUpdate(Struct, frozen=True):
    """The hot path of a connection row: only its indexes moved."""

    conn_id: str
    msg_index: int
    settled_ahead: tuple[int, ...]
    last_seen_at: int


class OutboxFrame(Struct, frozen=True):
    """A frame that a session's client can ask for again. `start` counts the bytes of all frames before it."""

    conn_id: str
    index: int
    start: int
    size: int
    data: str | bytes


class OutboxTrim(Struct, frozen=True):
    """The ring of a session's outbox has moved on: frames below `index`, or that start below `start`, go."""

    conn_id: str
    index: int
    start: int


class EndedSessions(Struct, frozen=True):
    """Sessions that ended at the time `at` (ms), by the hashes of their secrets. They are remembered, so that no secret
    opens a second session; those that ended before `before`, and all but the latest `keep`, are forgotten."""

    sessions: tuple[bytes, ...]
    at: int
    before: int
    keep: int


class ActorChange(Struct, frozen=True):
    """New values of the actor's own row. All of them are written together when the change is present."""

    lifecycle: DurableLifecycle
    attempt: int
    retry_at: int | None
    last_error: ErrorInfo | None
    started_once: bool
    version: int
    module: str
    started_at: int | None
    slept_at: int | None
    drop_input: bool = False
    held_version: int | None = None


class CommitUnit(Struct, frozen=True):
    """The writes of one hop. The fence (D8): generation must match; `claims` (the first unit of a start)
    needs a stored epoch below `epoch` and writes it; every other unit needs the same epoch; all need `hop_seq` to be
    the stored one plus one. `wake_at` is written when `alarms` or `alarms_gone` is not empty, or `claims` is set.

    Order inside: kv in order; then state, alarms_gone, alarms, runs_trimmed, runs, connections, outbox, outbox_trims,
    indexes, connections_gone (their outbox with them), ended sessions, attempts, attempts_gone, dead letters, of which
    the oldest `dead_letters_dropped` then go, actor change. An outbox frame moves `sent_index` and `sent_bytes` of its
    connection; one of a connection without a row is not kept."""

    actor_id: str
    generation: int
    epoch: int
    hop_seq: int
    claims: bool = False
    kv: tuple[KvOp, ...] = ()
    state: bytes | None = None
    alarms: tuple[AlarmRow, ...] = ()
    alarms_gone: tuple[tuple[str, int], ...] = ()
    wake_at: int | None = None
    runs_trimmed: tuple[tuple[str, int], ...] = ()
    runs: tuple[CronRun, ...] = ()
    connections: tuple[ConnectionRow, ...] = ()
    indexes: tuple[IndexUpdate, ...] = ()
    connections_gone: tuple[str, ...] = ()
    outbox: tuple[OutboxFrame, ...] = ()
    outbox_trims: tuple[OutboxTrim, ...] = ()
    attempts: tuple[AttemptRow, ...] = ()
    attempts_gone: tuple[tuple[str, str, int], ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    dead_letters_dropped: int = 0
    ended_sessions: EndedSessions | None = None
    actor: ActorChange | None = None
