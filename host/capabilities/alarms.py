"""Alarms: durable times at which the actor is woken. An id names one alarm; setting it again replaces it.

An alarm that the handler of an alarm sets is due `alarm_spacing` later at the earliest: a chain of them must not spin.
`scheduled_at` is what was asked for all the same.

`fire_seq` tells one setting from the next, so that an alarm that is set again while its handler runs survives the
handler's end.
"""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits
from host.model.records import AlarmRow

__all__ = ["CRON", "MAX_TIME", "cancel_alarm", "list_alarms", "set_alarm"]

# The ids of crons begin with it; no other alarm's does.
CRON = "$cron:"

MAX_TIME = 2**53 - 1  # what a JavaScript number holds exactly


def set_alarm(
    state: ActorState,
    recorder: TurnRecorder,
    limits: Limits,
    now_ms: int,
    alarm_id: str,
    *,
    at: int | None = None,
    after: int | None = None,
    payload: bytes = b"null",
    chained: bool = False,
) -> AlarmRow:
    """`chained`: the turn belongs to an alarm."""
    _check_id(alarm_id, limits)
    if (at is None) == (after is None):
        raise CallerError("request", "invalid", "an alarm has exactly one of 'at' and 'after'")
    if after is not None and not 0 <= after <= MAX_TIME:
        raise CallerError("request", "invalid", "'after' is in milliseconds, from 0 to below 2**53")
    time = at if after is None else now_ms + after
    if time is None or not 0 < time <= MAX_TIME:
        raise CallerError("request", "invalid", "the time of an alarm is in milliseconds, above 0 and below 2**53")
    if len(payload) > limits.alarm_payload:
        raise limit_error("alarm_payload", len(payload), limits.alarm_payload, "keep the payload in KV")
    if alarm_id not in state.alarms and len(state.alarms) >= limits.alarms:
        raise limit_error("alarms", len(state.alarms) + 1, limits.alarms, "cancel alarms or use one for several things")
    state.fire_seq += 1
    due = max(time, now_ms + limits.alarm_spacing) if chained else time
    row = AlarmRow(alarm_id, time, due, state.fire_seq, payload)
    state.alarms[alarm_id] = row
    recorder.alarms[alarm_id] = row
    return row


def cancel_alarm(state: ActorState, recorder: TurnRecorder, limits: Limits, alarm_id: str) -> bool:
    """True if there was such an alarm."""
    _check_id(alarm_id, limits)
    if state.alarms.pop(alarm_id, None) is None:
        return False
    recorder.alarms[alarm_id] = None
    return True


def list_alarms(state: ActorState) -> list[AlarmRow]:
    """The earliest first, without the crons."""
    alarms = (row for row in state.alarms.values() if row.repeat is None)
    return sorted(alarms, key=lambda row: (row.scheduled_at, row.alarm_id))


def _check_id(alarm_id: str, limits: Limits) -> None:
    size = len(alarm_id.encode("utf-8"))
    if not size:
        raise CallerError("request", "invalid", "an alarm id has at least one byte")
    if size > limits.alarm_id:
        raise limit_error("alarm_id", size, limits.alarm_id, "use a shorter alarm id")
    if alarm_id.startswith(CRON):
        raise CallerError("request", "invalid", f"an alarm id that begins with {CRON} is a cron's")
