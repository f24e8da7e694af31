"""The snapshot of an actor as operators see it: the host's own record, whether the actor sleeps or runs."""

from __future__ import annotations

from msgspec import Raw, Struct

from host.model.errors import ErrorInfo

__all__ = [
    "ActorSnapshot",
    "AlarmSnapshot",
    "ConnectionSnapshot",
    "CronRunSnapshot",
    "CronSnapshot",
    "DeadLetterSnapshot",
    "KvSnapshot",
    "ModuleRef",
]


class ModuleRef(Struct, frozen=True):
    """`digest` with its `sha256:` prefix."""

    digest: str
    definition: str
    version: int


class ConnectionSnapshot(Struct, frozen=True):
    conn_id: str
    path: str
    msg_index: int
    settled_ahead: list[int]
    hibernatable: bool
    opened_at: int
    last_seen_at: int
    tags: list[str]
    state: Raw
    params: Raw
    protocol: str = ""
    subscriptions: list[str] = []


class AlarmSnapshot(Struct, frozen=True):
    alarm: str
    scheduled_at: int
    due_at: int
    attempt: int
    payload: Raw


class CronRunSnapshot(Struct, frozen=True):
    """One attempt, or (`skipped`) `number` times from `scheduled_at` on that did not run."""

    scheduled_at: int
    started_at: int
    finished_at: int
    result: str
    attempt: int
    error: str | None
    number: int


class CronSnapshot(Struct, frozen=True):
    """`scheduled_at` is the time of the run that comes next, or is in work; `due_at` moves with retries. `runs`: the
    latest first."""

    name: str
    kind: str
    expression: str | None
    time_zone: str | None
    interval: int | None
    scheduled_at: int
    due_at: int
    attempt: int
    payload: Raw
    runs: list[CronRunSnapshot]


class KvSnapshot(Struct, frozen=True):
    keys: int
    bytes: int


class DeadLetterSnapshot(Struct, frozen=True):
    kind: str
    ref: str
    index: int
    reason: str
    message: str
    attempts: int
    at: int


class ActorSnapshot(Struct, frozen=True):
    """Times in ms. `lifecycle` is the live state: absent, starting, running, stopping, asleep or failed."""

    actor_id: str
    namespace: str
    name: str
    key: list[str]
    generation: int
    epoch: int
    lifecycle: str
    module: ModuleRef
    created_at: int
    started_at: int | None
    slept_at: int | None
    wake_at: int | None
    attempt: int
    retry_at: int | None
    last_error: ErrorInfo | None
    connections: list[ConnectionSnapshot]
    alarms: list[AlarmSnapshot]
    kv: KvSnapshot
    state_bytes: int
    dead_letters: list[DeadLetterSnapshot]
    crons: list[CronSnapshot] = []
