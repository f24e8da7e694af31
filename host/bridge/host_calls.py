"""The table of host calls: one row per call, with its Struct, the capability it needs, what it answers, its handler.

A new call is a row here, a Struct, a golden vector and a hostile test; a test fails if one of them is missing.
Handlers translate between envelopes and capabilities and do nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Raw, Struct

from host.bridge import envelopes as e
from host.bridge.crons import cron_info, cron_run_info
from host.bridge.envelopes import Buffer
from host.capabilities import alarms, crons, document, events, intents, kv, sockets
from host.capabilities.calls import Calls
from host.capabilities.log import LogBudget
from host.capabilities.random import RandomStream
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState, Connection
from host.capabilities.timers import CallIds, Timers
from host.model.errors import CallerError
from host.model.limits import Limits
from host.wire.frames.args import args_of_json
from host.wire.frames.encoding import Encoding
from host.wire.frames.to_client import encode_event
from host.wire.keys import check_key
from host.wire.values import check_value

__all__ = ["HOST_CALLS", "MAX_RANDOM", "HostCall", "TurnContext"]

MAX_RANDOM = 65_536


class TurnContext:
    """What handlers work on: the actor's state, and what the running turn has recorded."""

    __slots__ = ("calls", "ids", "limits", "log", "now_ms", "of_alarm", "random", "recorder", "state", "timers")

    def __init__(self, state: ActorState, limits: Limits, random: RandomStream) -> None:
        self.state = state
        self.limits = limits
        self.random = random
        self.recorder = TurnRecorder()
        self.log = LogBudget()
        self.ids = CallIds()
        self.timers = Timers(self.ids)
        self.calls = Calls(self.ids)
        self.now_ms = 0
        self.of_alarm = False


class HostCall(Struct, frozen=True):
    """`capability` is None for what every guest has. `ok` is the type of the answer, for the schemas."""

    struct: type[Struct]
    capability: str | None
    ok: Any
    run: Callable[[TurnContext, Any], Any]

    @property
    def name(self) -> str:
        return str(self.struct.__struct_config__.tag)


def _kv_get(turn: TurnContext, call: Any) -> Any:
    return kv.get(turn.state, turn.limits, call.keys)


def _kv_put(turn: TurnContext, call: Any) -> None:
    kv.put(turn.state, turn.recorder, turn.limits, call.entries)


def _kv_delete(turn: TurnContext, call: Any) -> None:
    kv.delete(turn.state, turn.recorder, turn.limits, call.keys)


def _kv_list(turn: TurnContext, call: Any) -> Any:
    return kv.list_range(
        turn.state,
        turn.limits,
        prefix=_given(call.prefix),
        start=_given(call.start),
        end=_given(call.end),
        reverse=call.reverse,
        limit=_given(call.limit),
    )


def _kv_delete_range(turn: TurnContext, call: Any) -> None:
    kv.delete_range(turn.state, turn.recorder, turn.limits, call.start, call.end)


def _state_get(turn: TurnContext, call: Any) -> Any:
    found = document.get_document(turn.state)
    return None if found is None else Raw(found)


def _state_put(turn: TurnContext, call: Any) -> None:
    document.put_document(turn.state, turn.recorder, turn.limits, bytes(call.value))


def _alarm_set(turn: TurnContext, call: Any) -> Any:
    row = alarms.set_alarm(
        turn.state,
        turn.recorder,
        turn.limits,
        turn.now_ms,
        call.alarm,
        at=_given(call.at),
        after=_given(call.after),
        payload=b"null" if call.payload is UNSET else bytes(call.payload),
        chained=turn.of_alarm,
    )
    return e.AlarmTime(row.alarm_id, row.scheduled_at)


def _alarm_cancel(turn: TurnContext, call: Any) -> Any:
    return alarms.cancel_alarm(turn.state, turn.recorder, turn.limits, call.alarm)


def _alarm_list(turn: TurnContext, call: Any) -> Any:
    rows = alarms.list_alarms(turn.state)
    return [e.AlarmInfo(row.alarm_id, row.scheduled_at, Raw(row.payload)) for row in rows]


def _cron_set(turn: TurnContext, call: Any) -> Any:
    row = crons.set_cron(
        turn.state,
        turn.recorder,
        turn.limits,
        turn.now_ms,
        call.cron,
        action=call.action,
        args=b"[]" if call.args is UNSET else bytes(call.args),
        expression=_given(call.expression),
        time_zone=_given(call.time_zone),
        interval=_given(call.interval),
        history=_given(call.history),
    )
    return e.CronTime(call.cron, row.scheduled_at)


def _cron_delete(turn: TurnContext, call: Any) -> Any:
    return crons.delete_cron(turn.state, turn.recorder, turn.limits, call.cron)


def _cron_list(turn: TurnContext, call: Any) -> Any:
    return [cron_info(row) for row in crons.list_crons(turn.state)]


def _cron_history(turn: TurnContext, call: Any) -> Any:
    runs = crons.cron_runs(turn.state, turn.limits, call.cron, _given(call.limit))
    return [cron_run_info(run) for run in runs]


def _socket_send(turn: TurnContext, call: Any) -> None:
    if (call.text is UNSET) == (call.data is UNSET):
        raise CallerError("request", "invalid", "a frame has exactly one of 'text' and 'data'")
    data = call.data if call.text is UNSET else call.text
    sockets.send(turn.state, turn.recorder, turn.limits, call.conn, data)


def _socket_close(turn: TurnContext, call: Any) -> None:
    sockets.close(turn.state, turn.recorder, call.conn, call.code, call.reason)


def _event_send(turn: TurnContext, call: Any) -> None:
    events.send(turn.state, turn.recorder, turn.limits, call.conn, call.name, _event_encoder(call))


def _event_broadcast(turn: TurnContext, call: Any) -> Any:
    return events.broadcast(turn.state, turn.recorder, turn.limits, call.name, _event_encoder(call))


def _event_encoder(call: Any) -> Callable[[Encoding], str | bytes]:
    """The frame of an event in an encoding; it looks into the arguments, for they go to strangers."""
    args = args_of_json(bytes(call.args))
    return lambda encoding: encode_event(encoding, call.name, args)


def _socket_set_state(turn: TurnContext, call: Any) -> None:
    sockets.set_state(turn.state, turn.recorder, turn.limits, call.conn, bytes(call.state))


def _socket_set_tags(turn: TurnContext, call: Any) -> None:
    sockets.set_tags(turn.state, turn.recorder, turn.limits, call.conn, call.tags)


def _socket_list(turn: TurnContext, call: Any) -> Any:
    found = sockets.list_connections(turn.state, after=call.after, limit=call.limit, tag=_given(call.tag))
    return [_socket_info(connection) for connection in found]


def _log(turn: TurnContext, call: Any) -> None:
    turn.log.log(turn.recorder, turn.limits, call.level, call.message)


def _now(turn: TurnContext, call: Any) -> Any:
    return turn.now_ms


def _random(turn: TurnContext, call: Any) -> Any:
    if not 1 <= call.len <= MAX_RANDOM:
        raise CallerError("request", "invalid", f"'len' is 1 to {MAX_RANDOM}")
    return turn.random.read(call.len)


def _sleep(turn: TurnContext, call: Any) -> None:
    intents.sleep(turn.recorder)


def _destroy(turn: TurnContext, call: Any) -> None:
    intents.destroy(turn.recorder)


def _keep_awake(turn: TurnContext, call: Any) -> None:
    intents.keep_awake(turn.recorder, call.awake, call.wait)


def _timer(turn: TurnContext, call: Any) -> Any:
    return e.TimerStarted(turn.timers.start(turn.recorder, turn.limits, call.after))


def _timer_cancel(turn: TurnContext, call: Any) -> Any:
    return turn.timers.cancel(turn.recorder, call.timer)


def _fetch(turn: TurnContext, call: Any) -> Any:
    started = turn.calls.fetch(
        turn.recorder,
        turn.limits,
        url=call.url,
        method=call.method,
        headers=tuple(call.headers),
        body=call.body,
        redirect=call.redirect,
        timeout=_given(call.timeout),
    )
    return e.CallStarted(started)


def _actor_call(turn: TurnContext, call: Any) -> Any:
    args = b"[]" if call.args is UNSET else bytes(call.args)
    _check_args(args)
    if call.input is not UNSET:
        check_value(bytes(call.input))
    started = turn.calls.call_peer(
        turn.recorder,
        turn.limits,
        name=call.name,
        key=check_key(call.key, max_part=turn.limits.key_part, max_key=turn.limits.key),
        method=call.method,
        action=_given(call.action),
        args=args,
        input=None if call.input is UNSET else bytes(call.input),
        actor=_given(call.actor),
        timeout=_given(call.timeout),
    )
    return e.CallStarted(started)


def _check_args(args: bytes) -> None:
    """They go to another isolate, so they are looked at as what a client sends is."""
    check_value(args)
    if not args.lstrip().startswith(b"["):
        raise CallerError("request", "invalid", "the arguments of an action are a list")


def _call_cancel(turn: TurnContext, call: Any) -> Any:
    return turn.calls.cancel(turn.recorder, call.which)


def _given(field: Any) -> Any:
    return None if field is UNSET else field


def _socket_info(connection: Connection) -> e.SocketInfo:
    return e.SocketInfo(
        connection.conn_id,
        connection.path,
        connection.hibernatable,
        UNSET if connection.params is None else Raw(connection.params),
        UNSET if connection.state is None else Raw(connection.state),
        list(connection.tags),
        "connect" if connection.protocol else UNSET,
        UNSET if connection.auth is None else Raw(connection.auth),
    )


HOST_CALLS: tuple[HostCall, ...] = (
    HostCall(e.KvGet, "kv", list[Buffer | None], _kv_get),
    HostCall(e.KvPut, "kv", None, _kv_put),
    HostCall(e.KvDelete, "kv", None, _kv_delete),
    HostCall(e.KvList, "kv", list[tuple[Buffer, Buffer]], _kv_list),
    HostCall(e.KvDeleteRange, "kv", None, _kv_delete_range),
    HostCall(e.StateGet, "state", Raw, _state_get),
    HostCall(e.StatePut, "state", None, _state_put),
    HostCall(e.AlarmSet, "alarm", e.AlarmTime, _alarm_set),
    HostCall(e.AlarmCancel, "alarm", bool, _alarm_cancel),
    HostCall(e.AlarmList, "alarm", list[e.AlarmInfo], _alarm_list),
    HostCall(e.CronSet, "alarm", e.CronTime, _cron_set),
    HostCall(e.CronDelete, "alarm", bool, _cron_delete),
    HostCall(e.CronList, "alarm", list[e.CronInfo], _cron_list),
    HostCall(e.CronHistory, "alarm", list[e.CronRunInfo], _cron_history),
    HostCall(e.SocketSend, "socket", None, _socket_send),
    HostCall(e.SocketClose, "socket", None, _socket_close),
    HostCall(e.EventSend, "socket", None, _event_send),
    HostCall(e.EventBroadcast, "socket", int, _event_broadcast),
    HostCall(e.SocketSetState, "socket", None, _socket_set_state),
    HostCall(e.SocketSetTags, "socket", None, _socket_set_tags),
    HostCall(e.SocketList, "socket", list[e.SocketInfo], _socket_list),
    HostCall(e.Log, None, None, _log),
    HostCall(e.Now, None, int, _now),
    HostCall(e.Random, None, Buffer, _random),
    HostCall(e.Sleep, "sleep", None, _sleep),
    HostCall(e.Destroy, "destroy", None, _destroy),
    HostCall(e.KeepAwake, "sleep", None, _keep_awake),
    HostCall(e.Timer, "timer", e.TimerStarted, _timer),
    HostCall(e.TimerCancel, "timer", bool, _timer_cancel),
    HostCall(e.Fetch, "fetch", e.CallStarted, _fetch),
    HostCall(e.ActorCall, "actor_call", e.CallStarted, _actor_call),
    HostCall(e.CallCancel, None, bool, _call_cancel),
)
