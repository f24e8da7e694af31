"""What is on disk, as plain data: rows as storage hands them out. Values are JSON bytes with our tags (UTF-8)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from host.model.errors import ErrorInfo
from host.model.tunnel import SocketProtocol

__all__ = [
    "ActorImage",
    "ActorRecord",
    "AlarmRow",
    "AttemptRow",
    "ConnectionRow",
    "CronRun",
    "DeadLetter",
    "DurableLifecycle",
    "LETTER_PAYLOAD",
    "Repeat",
]

# So much of the payload of what is given up is kept.
LETTER_PAYLOAD = 64 * 1_024

# The lifecycle as it is stored: `asleep` covers running too, for a crash is a sleep nobody asked for. `destroying` is
# the last: nobody finds the actor any more, and what is left of it is on its way out.
DurableLifecycle = Literal["created", "asleep", "failed", "destroying"]


class ActorRecord(Struct, frozen=True):
    """One live actor. Times in ms; `version` and `module` are those of the last start that settled with a result
    (before the first: of the definition at creation). `wake_at` is the time of the earliest alarm, or None.
    `held_version` is the one that it could not start on, and is held back from."""

    actor_id: str
    tenant: str
    name: str
    key: tuple[str, ...]
    generation: int
    epoch: int
    hop_seq: int
    version: int
    module: str
    created_at: int
    started_once: bool = False
    input: bytes | None = None
    wake_at: int | None = None
    lifecycle: DurableLifecycle = "created"
    attempt: int = 0
    retry_at: int | None = None
    last_error: ErrorInfo | None = None
    started_at: int | None = None
    slept_at: int | None = None
    kv_bytes: int = 0
    kv_keys: int = 0
    held_version: int | None = None


class ConnectionRow(Struct, frozen=True):
    """The snapshot of one connection. `msg_index` is the highest n with all <= n settled; `settled_ahead` holds those
    settled above it, ascending. `headers` never holds authorization or cookies. `state` and `params` are Values.

    `session` is the hash of a session's secret (None: a plain connection), `sent_index` the index of the last frame in
    its outbox and `sent_bytes` the bytes of all frames up to it. `session_expires_at` is set when a host that returned
    took the session over: until then its client may come back. `protocol` is that of `Opened`; `subscriptions` are the
    events that the client of a /connect socket wants; `auth` is what the auth hook made of the client, a Value."""

    conn_id: str
    gateway_id: str
    request_id: str
    generation: int
    msg_index: int
    path: str
    opened_at: int
    last_seen_at: int
    settled_ahead: tuple[int, ...] = ()
    sent_index: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    params: bytes | None = None
    state: bytes | None = None
    tags: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    hibernatable: bool = True
    session: bytes | None = None
    session_expires_at: int | None = None
    sent_bytes: int = 0
    protocol: SocketProtocol = ""
    auth: bytes | None = None


class Repeat(Struct, frozen=True):
    """What makes an alarm a cron, which is set anew for its next time when it has run: an expression in a time zone, or
    an interval (ms) from an anchor. `action` is what it runs, `history` how many of its runs are kept, `last_at` when
    it began to run last."""

    name: str
    kind: Literal["cron", "every"]
    action: str
    history: int
    expression: str = ""
    time_zone: str = ""
    interval: int = 0
    anchor: int = 0
    last_at: int | None = None


class CronRun(Struct, frozen=True):
    """One attempt to run a cron, or (`skipped`) `number` times in a row, up to `until`, that were not run: they came
    while it ran, or while the host was down. `seq` counts those of one cron."""

    name: str
    seq: int
    action: str
    scheduled_at: int
    started_at: int
    finished_at: int
    result: Literal["ok", "error", "skipped"]
    attempt: int = 1
    error: ErrorInfo | None = None
    number: int = 1
    until: int = 0


class AlarmRow(Struct, frozen=True):
    """`scheduled_at` is what the guest asked for and never changes; `due_at` moves with retries; `fire_seq` tells one
    setting of an id from the next; `payload` is a Value. `attempt` counts the attempts that ended without a result,
    `faults` those of them that count towards giving up: its own throws, time-outs and faults. `repeat` is there if it
    is a cron."""

    alarm_id: str
    scheduled_at: int
    due_at: int
    fire_seq: int
    payload: bytes
    attempt: int = 0
    faults: int = 0
    repeat: Repeat | None = None


class AttemptRow(Struct, frozen=True):
    """Attempts of a message, close or open that faulted before. `kind` is opened, message or closed; `ref` is the
    connection; `index` is the message's (0 for the others); `attempt` is the one to be made next, from 2."""

    kind: str
    ref: str
    index: int
    attempt: int
    faults: int


class DeadLetter(Struct, frozen=True):
    """Something given up, with the reason. `payload` is what was to be delivered (a frame, or a Value), cut to 64
    KiB."""

    kind: str
    ref: str
    index: int
    reason: str
    message: str
    attempts: int
    at: int
    payload: bytes = b""


class ActorImage(Struct, frozen=True):
    """All that a start needs, read in one transaction. `letters` is the number of dead letters, `runs` those that are
    kept of its crons."""

    record: ActorRecord
    state: bytes | None
    alarms: tuple[AlarmRow, ...]
    connections: tuple[ConnectionRow, ...]
    attempts: tuple[AttemptRow, ...]
    letters: int = 0
    runs: tuple[CronRun, ...] = ()
