"""The operators' view of an actor, made of what storage holds. Pure."""

from __future__ import annotations

from msgspec import Raw

from host.model.records import ActorImage, AlarmRow, CronRun, Repeat
from host.model.snapshot import (
    ActorSnapshot,
    AlarmSnapshot,
    ConnectionSnapshot,
    CronRunSnapshot,
    CronSnapshot,
    DeadLetterSnapshot,
    KvSnapshot,
    ModuleRef,
)

__all__ = ["named_module", "snapshot_of"]


def named_module(module: str) -> str:
    """As operators see it: a digest says what it is, everything else names its kind already."""
    return module if ":" in module else f"sha256:{module}"


def snapshot_of(image: ActorImage, lifecycle: str, kv: KvSnapshot, letters: list[DeadLetterSnapshot]) -> ActorSnapshot:
    """The operators' view of what storage holds (D7: nothing of it is asked of the guest)."""
    record = image.record
    return ActorSnapshot(
        actor_id=record.actor_id,
        namespace=record.tenant,
        name=record.name,
        key=list(record.key),
        generation=record.generation,
        epoch=record.epoch,
        lifecycle=lifecycle,
        module=ModuleRef(named_module(record.module), record.name, record.version),
        created_at=record.created_at,
        started_at=record.started_at,
        slept_at=record.slept_at,
        wake_at=record.wake_at,
        attempt=record.attempt,
        retry_at=record.retry_at,
        last_error=record.last_error,
        connections=[
            ConnectionSnapshot(
                conn_id=row.conn_id,
                path=row.path,
                msg_index=row.msg_index,
                settled_ahead=list(row.settled_ahead),
                hibernatable=row.hibernatable,
                opened_at=row.opened_at,
                last_seen_at=row.last_seen_at,
                tags=list(row.tags),
                state=Raw(row.state or b"null"),
                params=Raw(row.params or b"null"),
                protocol=row.protocol,
                subscriptions=list(row.subscriptions),
            )
            for row in image.connections
        ],
        alarms=[
            AlarmSnapshot(row.alarm_id, row.scheduled_at, row.due_at, row.attempt, Raw(row.payload))
            for row in image.alarms
            if row.repeat is None
        ],
        crons=[
            _cron(row, row.repeat, [run for run in image.runs if run.name == row.repeat.name])
            for row in image.alarms
            if row.repeat is not None
        ],
        kv=kv,
        state_bytes=len(image.state or b""),
        dead_letters=letters,
    )


def _cron(row: AlarmRow, repeat: Repeat, runs: list[CronRun]) -> CronSnapshot:
    return CronSnapshot(
        name=repeat.name,
        kind=repeat.kind,
        expression=repeat.expression if repeat.kind == "cron" else None,
        time_zone=repeat.time_zone if repeat.kind == "cron" else None,
        interval=repeat.interval if repeat.kind == "every" else None,
        scheduled_at=row.scheduled_at,
        due_at=row.due_at,
        attempt=row.attempt,
        payload=Raw(row.payload),
        runs=[
            CronRunSnapshot(
                scheduled_at=run.scheduled_at,
                started_at=run.started_at,
                finished_at=run.finished_at,
                result=run.result,
                attempt=run.attempt,
                error=None if run.error is None else run.error.name,
                number=run.number,
            )
            for run in reversed(runs)
        ],
    )
