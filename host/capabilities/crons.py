"""Crons: actions that run again and again, by an expression in a time zone or at an interval. Each is an alarm that is
set anew when it has run, under an id of its own.

To set one that stands, with the same times, keeps its place in them: an actor may set its crons at every wake. Only
what it runs and how much of its history is kept is changed then. With other times it begins anew.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from host.capabilities.alarms import CRON, MAX_TIME
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.cron.cadence import next_after
from host.cron.expression import parse
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits
from host.model.records import AlarmRow, CronRun, Repeat

__all__ = ["UTC", "cron_runs", "delete_cron", "list_crons", "set_cron"]

UTC = "UTC"
ALL_RUNS = MAX_TIME


def set_cron(
    state: ActorState,
    recorder: TurnRecorder,
    limits: Limits,
    now_ms: int,
    name: str,
    *,
    action: str,
    args: bytes = b"[]",
    expression: str | None = None,
    time_zone: str | None = None,
    interval: int | None = None,
    history: int | None = None,
) -> AlarmRow:
    """Exactly one of `expression` and `interval` (ms); `args` is a Value. The row's `scheduled_at` is when it runs
    next."""
    recorder.cron_sets += 1
    if recorder.cron_sets > limits.cron_sets:
        raise limit_error("cron_sets", recorder.cron_sets, limits.cron_sets, "set the others in another turn")
    alarm_id = _alarm_id(name, limits)
    _check_name("the action of a cron", action, limits)
    if len(args) > limits.cron_args:
        raise limit_error("cron_args", len(args), limits.cron_args, "keep what the action needs in KV")
    keep = limits.cron_history if history is None else history
    if keep < 0:
        raise CallerError("request", "invalid", "the runs to keep are a number from 0")
    if keep > limits.cron_history:
        raise limit_error("cron_history", keep, limits.cron_history, "keep what is older in KV")
    known = state.alarms.get(alarm_id)
    wanted = _repeat(limits, now_ms, name, action, keep, expression, time_zone, interval)
    payload = msgspec.json.encode({"action": action, "args": Raw(args)})
    if known is None:
        _check_room(state, limits)
    if known is not None and known.repeat is not None and _same_times(known.repeat, wanted):
        row = replace(known, payload=payload, repeat=replace(known.repeat, action=action, history=keep))
    else:
        at = next_after(wanted, now_ms)
        if at is None:
            raise CallerError("request", "invalid", "the cron would never run: its next time is after the end of time")
        state.fire_seq += 1
        row = AlarmRow(alarm_id, at, at, state.fire_seq, payload, repeat=wanted)
    if row != known:
        state.alarms[alarm_id] = row
        recorder.alarms[alarm_id] = row
    _trim(state, recorder, name, keep)
    return row


def delete_cron(state: ActorState, recorder: TurnRecorder, limits: Limits, name: str) -> bool:
    """With its history. True if there was such a cron."""
    alarm_id = _alarm_id(name, limits)
    if state.alarms.pop(alarm_id, None) is None:
        return False
    recorder.alarms[alarm_id] = None
    if state.runs.pop(name, None):
        recorder.runs_trimmed[name] = ALL_RUNS
    return True


def list_crons(state: ActorState) -> list[AlarmRow]:
    """By name."""
    return sorted((row for row in state.alarms.values() if row.repeat is not None), key=lambda row: row.alarm_id)


def cron_runs(state: ActorState, limits: Limits, name: str, limit: int | None = None) -> list[CronRun]:
    """The latest first; of a cron that there is not, none."""
    _alarm_id(name, limits)
    if limit is not None and limit < 1:
        raise CallerError("request", "invalid", "'limit' is a number from 1")
    return state.runs.get(name, [])[: -(limit or limits.cron_history) - 1 : -1]


def _repeat(
    limits: Limits,
    now_ms: int,
    name: str,
    action: str,
    keep: int,
    expression: str | None,
    time_zone: str | None,
    interval: int | None,
) -> Repeat:
    if (expression is None) == (interval is None):
        raise CallerError("request", "invalid", "a cron has exactly one of 'expression' and 'interval'")
    if expression is not None:
        zone = UTC if time_zone is None else time_zone
        parse(expression, zone)
        return Repeat(name, "cron", action, keep, expression=expression, time_zone=zone)
    assert interval is not None
    if time_zone is not None:
        raise CallerError("request", "invalid", "an interval has no time zone: it is so long everywhere")
    if not 0 < interval <= MAX_TIME:
        raise CallerError("request", "invalid", "'interval' is in milliseconds, above 0 and below 2**53")
    if interval < limits.cron_interval:
        raise limit_error("cron_interval", interval, limits.cron_interval, "no interval is shorter than that")
    return Repeat(name, "every", action, keep, interval=interval, anchor=now_ms)


def _same_times(one: Repeat, other: Repeat) -> bool:
    return (one.kind, one.expression, one.time_zone, one.interval) == (
        other.kind, other.expression, other.time_zone, other.interval,
    )  # fmt: skip


def _check_room(state: ActorState, limits: Limits) -> None:
    crons = sum(1 for row in state.alarms.values() if row.repeat is not None)
    if crons >= limits.crons:
        raise limit_error("crons", crons + 1, limits.crons, "delete crons, or let one do several things")
    if len(state.alarms) >= limits.alarms:
        raise limit_error("alarms", len(state.alarms) + 1, limits.alarms, "cancel alarms or delete crons")


def _trim(state: ActorState, recorder: TurnRecorder, name: str, keep: int) -> None:
    runs = state.runs.get(name, [])
    if len(runs) > keep:
        recorder.runs_trimmed[name] = max(recorder.runs_trimmed.get(name, 0), runs[-keep].seq if keep else ALL_RUNS)
        del runs[: len(runs) - keep]


def _alarm_id(name: str, limits: Limits) -> str:
    _check_name("a cron", name, limits)
    return CRON + name


def _check_name(what: str, name: str, limits: Limits) -> None:
    size = len(name.encode("utf-8"))
    if not size:
        raise CallerError("request", "invalid", f"the name of {what} has at least one byte")
    if size > limits.cron_name:
        raise limit_error("cron_name", size, limits.cron_name, "use a shorter name")
