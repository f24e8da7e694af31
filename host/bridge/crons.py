"""Crons and their runs, as guests are told of them."""

from __future__ import annotations

from msgspec import UNSET, Raw

from host.bridge.envelopes import CallError, CronInfo, CronRunInfo
from host.model.records import AlarmRow, CronRun

__all__ = ["cron_info", "cron_run_info"]


def cron_info(row: AlarmRow) -> CronInfo:
    repeat = row.repeat
    assert repeat is not None
    last_at = UNSET if repeat.last_at is None else repeat.last_at
    payload = Raw(row.payload)
    if repeat.kind == "cron":
        return CronInfo(
            repeat.name,
            row.scheduled_at,
            payload,
            repeat.history,
            expression=repeat.expression,
            time_zone=repeat.time_zone,
            last_at=last_at,
        )
    return CronInfo(
        repeat.name,
        row.scheduled_at,
        payload,
        repeat.history,
        interval=repeat.interval,
        anchor=repeat.anchor,
        last_at=last_at,
    )


def cron_run_info(run: CronRun) -> CronRunInfo:
    error = run.error
    return CronRunInfo(
        run.action,
        run.scheduled_at,
        run.started_at,
        run.finished_at,
        run.result,
        run.attempt,
        UNSET if error is None else CallError(error.group, error.code, error.message),
        run.number,
        run.until if run.result == "skipped" else UNSET,
    )
