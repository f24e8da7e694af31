"""Crons of a static actor: actions that run again and again, by an expression in a time zone or at an interval."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct

from host.bridge.envelopes import (
    AlarmEvent,
    CronDelete,
    CronHistory,
    CronInfo,
    CronList,
    CronRunInfo,
    CronSet,
    CronTime,
)
from host.static.calls import Caller
from host.static.values import native
from host.wire.values import from_python

__all__ = ["FIRING", "CronJob", "CronRun", "Crons", "Firing", "firing_of"]


class Firing(Struct, frozen=True):
    """Why an action runs by itself: (`id`, `scheduled_at`) names it for ever, `attempt` counts from 1. `kind` is `at`
    for what `schedule` runs. Times in ms."""

    kind: Literal["at", "cron", "every"]
    id: str
    scheduled_at: int
    attempt: int
    name: str | None = None


# Of the handler in work: each has a context of its own.
FIRING: ContextVar[Firing | None] = ContextVar("firing", default=None)


class CronJob(Struct, frozen=True):
    """`next_at` is when it runs next, or was to run if it is in work. `expression` and `time_zone`, or `interval`."""

    name: str
    action: str
    args: tuple[Any, ...]
    next_at: int
    history: int
    expression: str | None = None
    time_zone: str | None = None
    interval: int | None = None
    last_at: int | None = None


class CronRun(Struct, frozen=True):
    """One attempt to run it; or (`skipped`) `number` times in a row, up to `until`, at which it did not run, because it
    was still in work or the host was down. `error` is its group and code."""

    action: str
    scheduled_at: int
    started_at: int
    finished_at: int
    result: Literal["ok", "error", "skipped"]
    attempt: int
    error: str | None = None
    message: str | None = None
    number: int = 1
    until: int | None = None


class Crons:
    """One that is set again with the same times keeps its place in them, so an actor may set its crons in `on_wake`."""

    __slots__ = ("_actions", "_call")

    def __init__(self, call: Caller, actions: frozenset[str]) -> None:
        self._call = call
        self._actions = actions

    def set(
        self,
        name: str,
        expression: str,
        action: str,
        *args: Any,
        time_zone: str = "UTC",
        history: int | None = None,
    ) -> int:
        """Sets or replaces the cron of this name, by five fields in a time zone. `history` runs are kept. Returns when
        it runs next, in ms."""
        return self._set(
            CronSet(
                name,
                self._known(action),
                args=Raw(from_python([*args])),
                expression=expression,
                time_zone=time_zone,
                history=UNSET if history is None else history,
            )
        )

    def every(self, name: str, interval: int, action: str, *args: Any, history: int | None = None) -> int:
        """As `set`, every `interval` ms from now: the nth time is n intervals from now, however late anything runs."""
        return self._set(
            CronSet(
                name,
                self._known(action),
                args=Raw(from_python([*args])),
                interval=interval,
                history=UNSET if history is None else history,
            )
        )

    def get(self, name: str) -> CronJob | None:
        return next((job for job in self.list() if job.name == name), None)

    def delete(self, name: str) -> bool:
        """With its history. True if there was one."""
        return bool(self._call(CronDelete(name)))

    def history(self, name: str, limit: int | None = None) -> list[CronRun]:
        """The latest first."""
        rows: list[CronRunInfo] = self._call(CronHistory(name, limit=UNSET if limit is None else limit))
        return [_run(row) for row in rows]

    # Last, for its name hides the type in what follows.
    def list(self) -> list[CronJob]:
        """By name."""
        rows: list[CronInfo] = self._call(CronList())
        return [_job(row) for row in rows]

    def _known(self, action: str) -> str:
        if action not in self._actions:
            raise ValueError(f"this actor has no action {action!r}")
        return action

    def _set(self, call: CronSet) -> int:
        answer: CronTime = self._call(call)
        return answer.at


def firing_of(event: AlarmEvent) -> Firing:
    if event.cron is UNSET or event.kind is UNSET:
        return Firing("at", event.alarm, event.scheduled_at, event.attempt)
    return Firing(event.kind, event.alarm, event.scheduled_at, event.attempt, event.cron)


def _job(row: CronInfo) -> CronJob:
    payload = native(bytes(row.payload))
    return CronJob(
        name=row.cron,
        action=payload["action"],
        args=tuple(payload["args"]),
        next_at=row.at,
        history=row.history,
        expression=None if row.expression is UNSET else row.expression,
        time_zone=None if row.time_zone is UNSET else row.time_zone,
        interval=None if row.interval is UNSET else row.interval,
        last_at=None if row.last_at is UNSET else row.last_at,
    )


def _run(row: CronRunInfo) -> CronRun:
    error = None if row.error is UNSET else row.error
    return CronRun(
        action=row.action,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=row.result,
        attempt=row.attempt,
        error=None if error is None else f"{error.group}/{error.code}",
        message=None if error is None else error.message,
        number=row.number,
        until=None if row.until is UNSET else row.until,
    )
