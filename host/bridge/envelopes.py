"""The envelopes of isolate ABI 1: what crosses the trust boundary, and nothing else.

Every turn is one `Turn` going in and one `TurnReply` coming out; while it runs, the guest makes host calls, each a
request of the `Call` union answered by `{"ok": ...}` or `{"error": ...}`. The structs here are the single source of
the JSON Schemas in `schemas/` and of the golden vectors; the codecs that turn them into bytes are in `codec.py`.

Shapes that hold everywhere:

* A *buffer* (`Buffer`) is base64 text in the `json` codec. In the `framed` codec a buffer of 1 KiB or more is replaced
  by `{"$bin": i}`, the i-th buffer behind the header. Placeholders count only where a field is typed as a buffer.
* A *Value* is kept as raw JSON (`msgspec.Raw`); only `host.wire` looks inside.
* Event, call and turn ids are integers below 2**53, unique per start; conn and alarm ids are strings.
* Times are integers, milliseconds since the Unix epoch.

This module is pure: no clock, no I/O, no logging.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = [
    "ActionEvent",
    "ActorCall",
    "AlarmCancel",
    "AlarmEvent",
    "AlarmInfo",
    "AlarmList",
    "AlarmSet",
    "AlarmTime",
    "AuthEvent",
    "Bin",
    "Buffer",
    "Call",
    "CallCancel",
    "CallError",
    "CallStarted",
    "CompletionEvent",
    "CronDelete",
    "CronHistory",
    "CronInfo",
    "CronList",
    "CronRunInfo",
    "CronSet",
    "CronTime",
    "Destroy",
    "Event",
    "EventBroadcast",
    "EventSend",
    "Fetch",
    "FetchResult",
    "HttpReply",
    "KeepAwake",
    "KvDelete",
    "KvDeleteRange",
    "KvGet",
    "KvList",
    "KvPut",
    "Log",
    "Now",
    "Random",
    "RequestEvent",
    "Settled",
    "Sleep",
    "SocketClose",
    "SocketClosedEvent",
    "SocketInfo",
    "SocketList",
    "SocketMessageEvent",
    "SocketOpenedEvent",
    "SocketSend",
    "SocketSetState",
    "SocketSetTags",
    "StartEvent",
    "StartReply",
    "StateGet",
    "StatePut",
    "StopEvent",
    "SubscribeEvent",
    "Timer",
    "TimerCancel",
    "TimerStarted",
    "Turn",
    "TurnReply",
]

StartReason = Literal["create", "wake", "restart", "upgrade", "restore"]
StopReason = Literal["sleep", "destroy", "evict", "upgrade"]
LogLevel = Literal["debug", "info", "warn", "error"]


class Bin(Struct, frozen=True, forbid_unknown_fields=True):
    """A placeholder of the `framed` codec: the i-th buffer behind the header."""

    index: int = msgspec.field(name="$bin")


Buffer = bytes | Bin


# --- host -> guest: events ---------------------------------------------------------------------------------------


class StartEvent(Struct, frozen=True, tag_field="type", tag="start", omit_defaults=True):
    """The first event of every isolate. Answered with `StartReply` (or nothing: all defaults)."""

    id: int
    reason: StartReason
    actor: str
    generation: int
    name: str
    key: list[str]
    connection_count: int = 0
    from_version: int | UnsetType = UNSET
    input: Raw | UnsetType = UNSET


class StopEvent(Struct, frozen=True, tag_field="type", tag="stop"):
    """The actor is about to sleep or end; what is written in the handler is committed. `deadline_ms` is a duration."""

    id: int
    reason: StopReason
    deadline_ms: int


class ActionEvent(Struct, frozen=True, tag_field="type", tag="action", omit_defaults=True):
    """A named call. `args` is a Value: a JSON array. The result is a Value. `conn` is the connection that it came over;
    over HTTP there is none, and `params` is what the client gave in place of a connection's parameters. When another
    actor made it, `caller` and `caller_name` are its id and name: the host says so, not the caller."""

    id: int
    name: str
    args: Raw
    conn: str | UnsetType = UNSET
    caller: str | UnsetType = UNSET
    caller_name: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET


class AuthEvent(Struct, frozen=True, tag_field="type", tag="auth", omit_defaults=True):
    """Before an action, a request or a handshake of a client, for a guest whose start reply asks for it. `role` and
    `claims` (a Value) are what the host has made sure of, the rest is what the client says. The result, a Value of up
    to 4 KiB, comes with the event itself as `auth`; an error refuses the client."""

    id: int
    kind: Literal["action", "request", "socket", "connect"]
    role: Literal["admin", "tenant", "connection", "anonymous"]
    headers: list[tuple[str, str]]
    name: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    claims: Raw | UnsetType = UNSET


class RequestEvent(Struct, frozen=True, tag_field="type", tag="request", omit_defaults=True):
    """A raw HTTP request; `path` includes the query string, `params` is as for an action. Answered with `HttpReply`."""

    id: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: Buffer
    params: Raw | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET


class SocketOpenedEvent(Struct, frozen=True, tag_field="type", tag="socket_opened", omit_defaults=True):
    """A new WebSocket. An error closes it with 1011. `attempt` counts from 1. `protocol` is `connect` for one on which
    the host itself speaks the /connect protocol (`action` and `subscribe` events come of it, never a
    `socket_message`), and absent for a raw one."""

    id: int
    conn: str
    path: str
    headers: list[tuple[str, str]]
    hibernatable: bool
    params: Raw | UnsetType = UNSET
    attempt: int = 1
    protocol: Literal["connect"] | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET


class SocketMessageEvent(Struct, frozen=True, tag_field="type", tag="socket_message", omit_defaults=True):
    """One message; exactly one of `text` and `data`. `index` starts at 1, a decimal string from 2**53 on."""

    id: int
    conn: str
    index: int | str
    text: str | UnsetType = UNSET
    data: Buffer | UnsetType = UNSET
    attempt: int = 1


class SocketClosedEvent(Struct, frozen=True, tag_field="type", tag="socket_closed", omit_defaults=True):
    """The last event of a connection. `clean` is true when the client sent a close frame."""

    id: int
    conn: str
    code: int
    reason: str
    clean: bool
    attempt: int = 1


class SubscribeEvent(Struct, frozen=True, tag_field="type", tag="subscribe"):
    """The client of a /connect connection wants an event that the start reply lists in `guarded_events`. An error
    refuses it."""

    id: int
    conn: str
    event: str


class AlarmEvent(Struct, frozen=True, tag_field="type", tag="alarm", omit_defaults=True):
    """A due alarm. (`alarm`, `scheduled_at`) names it for ever; `attempt` counts from 1. `cron` is the name of the cron
    that it belongs to and `kind` what that runs by; its payload then is {"action": text, "args": Value}."""

    id: int
    alarm: str
    scheduled_at: int
    payload: Raw
    attempt: int = 1
    cron: str | UnsetType = UNSET
    kind: Literal["cron", "every"] | UnsetType = UNSET


class CallError(Struct, frozen=True, omit_defaults=True):
    """An error in either direction. From a guest only the group `user` reaches clients as it is."""

    group: str
    code: str
    message: str
    metadata: Raw | UnsetType = UNSET


class CompletionEvent(Struct, frozen=True, tag_field="type", tag="completion", omit_defaults=True):
    """The answer to a deferred call (`timer`, `fetch`, `actor_call`), by the call id that the host gave out. It settles
    nothing itself: the guest does not list it in `settled`. `body` comes with the result of a `fetch`."""

    id: int
    call: int
    result: Raw | UnsetType = UNSET
    error: CallError | UnsetType = UNSET
    body: Buffer | UnsetType = UNSET


Event = (
    StartEvent
    | StopEvent
    | ActionEvent
    | AuthEvent
    | RequestEvent
    | SocketOpenedEvent
    | SocketMessageEvent
    | SocketClosedEvent
    | SubscribeEvent
    | AlarmEvent
    | CompletionEvent
)


class Turn(Struct, frozen=True):
    """One entry into the guest. `now` is frozen for the whole turn."""

    turn: int
    now: int
    events: list[Event]


# --- guest -> host: the reply of a turn --------------------------------------------------------------------------


class Settled(Struct, frozen=True, omit_defaults=True):
    """One event that is finished: a result (absent means null), or an error."""

    event: int
    result: Raw | UnsetType = UNSET
    error: CallError | UnsetType = UNSET


class TurnReply(Struct, frozen=True, forbid_unknown_fields=True):
    """`pending` is the number of delivered events that have not settled (completions are not counted)."""

    settled: list[Settled]
    pending: int


class StartReply(Struct, frozen=True, omit_defaults=True):
    """What a guest tells of itself when its start settles; everything is optional.

    `actions` absent means any name is passed on; `request` and `socket` say whether the actor serves raw HTTP and
    raw WebSockets, `connect` whether it takes /connect connections, and `guarded_events` which of its events a client
    may subscribe to only after a `subscribe` event; `auth` whether it is asked about each client first. Durations in
    ms; the host clamps them to the operator's limits."""

    actions: list[str] | None = None
    request: bool = True
    socket: bool = True
    hibernate: bool = True
    sleep_timeout: int | None = None
    action_timeout: int | None = None
    connect: bool = False
    guarded_events: list[str] = []
    auth: bool = False


class HttpReply(Struct, frozen=True, omit_defaults=True):
    """The result of a `request` event."""

    status: int = 200
    headers: list[tuple[str, str]] = []
    body: Buffer = b""


# --- guest -> host: host calls -----------------------------------------------------------------------------------


class KvGet(Struct, frozen=True, tag_field="call", tag="kv_get", forbid_unknown_fields=True):
    """Up to 128 keys; ok: a list of buffers or null, in the order asked."""

    keys: list[Buffer]


class KvPut(Struct, frozen=True, tag_field="call", tag="kv_put", forbid_unknown_fields=True):
    """Up to 128 [key, value] pairs, all or none; ok: null."""

    entries: list[tuple[Buffer, Buffer]]


class KvDelete(Struct, frozen=True, tag_field="call", tag="kv_delete", forbid_unknown_fields=True):
    """Up to 128 keys; ok: null. A key that does not exist is no error."""

    keys: list[Buffer]


class KvList(Struct, frozen=True, tag_field="call", tag="kv_list", forbid_unknown_fields=True):
    """By `prefix`, or by [`start`, `end`): not both. Byte order; `reverse` walks down. ok: [[key, value], ...].
    At most `limit` entries (default and maximum 1,000) and 1 MiB of keys and values; ask again from the last key."""

    prefix: Buffer | UnsetType = UNSET
    start: Buffer | UnsetType = UNSET
    end: Buffer | UnsetType = UNSET
    reverse: bool = False
    limit: int | UnsetType = UNSET


class KvDeleteRange(Struct, frozen=True, tag_field="call", tag="kv_delete_range", forbid_unknown_fields=True):
    """Deletes [`start`, `end`); ok: null."""

    start: Buffer
    end: Buffer


class StateGet(Struct, frozen=True, tag_field="call", tag="state_get", forbid_unknown_fields=True):
    """ok: the actor's state document (a Value), or null if it was never put."""


class StatePut(Struct, frozen=True, tag_field="call", tag="state_put", forbid_unknown_fields=True):
    """Replaces the state document; ok: null."""

    value: Raw


class AlarmSet(Struct, frozen=True, tag_field="call", tag="alarm_set", forbid_unknown_fields=True, omit_defaults=True):
    """Sets or replaces the alarm of this id (1..128 bytes). Exactly one of `at` (ms since the epoch) and `after` (ms
    from now). A past time fires now. ok: {"alarm": id, "at": ms}."""

    alarm: str
    at: int | UnsetType = UNSET
    after: int | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET


class AlarmTime(Struct, frozen=True):
    """What `alarm_set` answers."""

    alarm: str
    at: int


class AlarmCancel(Struct, frozen=True, tag_field="call", tag="alarm_cancel", forbid_unknown_fields=True):
    """ok: true if there was such an alarm."""

    alarm: str


class AlarmList(Struct, frozen=True, tag_field="call", tag="alarm_list", forbid_unknown_fields=True):
    """ok: a list of `AlarmInfo`, the earliest first."""


class AlarmInfo(Struct, frozen=True):
    alarm: str
    at: int
    payload: Raw


class CronSet(Struct, frozen=True, tag_field="call", tag="cron_set", forbid_unknown_fields=True, omit_defaults=True):
    """Sets or replaces the cron of this name, which runs again and again: by `expression` (five fields) in `time_zone`
    (an IANA name; UTC without one), or every `interval` ms from now. One that stands with the same times keeps its
    place in them. `history` runs of it are kept. ok: {"cron": name, "at": ms}, the time of its next run."""

    cron: str
    action: str
    args: Raw | UnsetType = UNSET
    expression: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    interval: int | UnsetType = UNSET
    history: int | UnsetType = UNSET


class CronTime(Struct, frozen=True):
    """What `cron_set` answers."""

    cron: str
    at: int


class CronDelete(Struct, frozen=True, tag_field="call", tag="cron_delete", forbid_unknown_fields=True):
    """Its history goes too. ok: true if there was such a cron."""

    cron: str


class CronList(Struct, frozen=True, tag_field="call", tag="cron_list", forbid_unknown_fields=True):
    """ok: a list of `CronInfo`, by name."""


class CronInfo(Struct, frozen=True, omit_defaults=True):
    """`at` is the time of the run that is in work or comes next, `last_at` when it last began to run; `payload` is
    {"action": text, "args": Value}. `expression` and `time_zone`, or `interval` and `anchor`."""

    cron: str
    at: int
    payload: Raw
    history: int
    expression: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    interval: int | UnsetType = UNSET
    anchor: int | UnsetType = UNSET
    last_at: int | UnsetType = UNSET


class CronHistory(
    Struct, frozen=True, tag_field="call", tag="cron_history", forbid_unknown_fields=True, omit_defaults=True
):
    """ok: a list of `CronRunInfo`, the latest first, at most `limit`."""

    cron: str
    limit: int | UnsetType = UNSET


class CronRunInfo(Struct, frozen=True, omit_defaults=True):
    """An attempt to run a cron: `error` is there if it failed. Or `number` times in a row, from `scheduled_at` to
    `until`, at which it did not run."""

    action: str
    scheduled_at: int
    started_at: int
    finished_at: int
    result: Literal["ok", "error", "skipped"]
    attempt: int = 1
    error: CallError | UnsetType = UNSET
    number: int = 1
    until: int | UnsetType = UNSET


class SocketSend(Struct, frozen=True, tag_field="call", tag="socket_send", forbid_unknown_fields=True):
    """Queues a frame; exactly one of `text` and `data`. It leaves after the commit of the turn. ok: null."""

    conn: str
    text: str | UnsetType = UNSET
    data: Buffer | UnsetType = UNSET


class SocketClose(Struct, frozen=True, tag_field="call", tag="socket_close", forbid_unknown_fields=True):
    """Closes after the frames queued so far. Codes 1000 and 3000..4999; reason at most 123 bytes. ok: null."""

    conn: str
    code: int = 1000
    reason: str = ""


class EventSend(Struct, frozen=True, tag_field="call", tag="event_send", forbid_unknown_fields=True):
    """Sends an event to one /connect connection, whatever it is subscribed to. `args` is a Value: a JSON array. It
    leaves after the commit of the turn. ok: null."""

    conn: str
    name: str
    args: Raw


class EventBroadcast(Struct, frozen=True, tag_field="call", tag="event_broadcast", forbid_unknown_fields=True):
    """Sends an event to every /connect connection that is subscribed to `name`. ok: how many they are."""

    name: str
    args: Raw


class SocketSetState(Struct, frozen=True, tag_field="call", tag="socket_set_state", forbid_unknown_fields=True):
    """Attaches a Value (up to 16 KiB) to the connection; it comes back after a wake. ok: null."""

    conn: str
    state: Raw


class SocketSetTags(Struct, frozen=True, tag_field="call", tag="socket_set_tags", forbid_unknown_fields=True):
    """Up to 10 tags of 1..64 bytes. ok: null."""

    conn: str
    tags: list[str]


class SocketList(Struct, frozen=True, tag_field="call", tag="socket_list", forbid_unknown_fields=True):
    """ok: a list of `SocketInfo` in the order of `conn`, at most `limit` (default and maximum 256), after `after`."""

    after: str = ""
    limit: int = 256
    tag: str | UnsetType = UNSET


class SocketInfo(Struct, frozen=True, omit_defaults=True):
    conn: str
    path: str
    hibernatable: bool
    params: Raw | UnsetType = UNSET
    state: Raw | UnsetType = UNSET
    tags: list[str] = []
    protocol: Literal["connect"] | UnsetType = UNSET
    auth: Raw | UnsetType = UNSET


class Log(Struct, frozen=True, tag_field="call", tag="log", forbid_unknown_fields=True):
    """ok: null. Over the budget of a turn or a minute lines are dropped and counted."""

    level: LogLevel
    message: str


class Now(Struct, frozen=True, tag_field="call", tag="now", forbid_unknown_fields=True):
    """ok: the frozen time of the turn, in ms."""


class Random(Struct, frozen=True, tag_field="call", tag="random", forbid_unknown_fields=True):
    """ok: a buffer of `len` (1..65,536) bytes of the actor's random stream."""

    len: int


class Sleep(Struct, frozen=True, tag_field="call", tag="sleep", forbid_unknown_fields=True):
    """An intent: sleep as soon as what is in work has settled. ok: null."""


class Destroy(Struct, frozen=True, tag_field="call", tag="destroy", forbid_unknown_fields=True):
    """An intent: the end of the actor, for good, after the commit of this turn. Nothing new begins; `stop` comes with
    the reason `destroy`. ok: null."""


class KeepAwake(Struct, frozen=True, tag_field="call", tag="keep_awake", forbid_unknown_fields=True):
    """An intent, as counts that are in force until the next call: `awake` promises hold the idle clock and the end of
    a stop, `wait` more hold the end of a stop only. Neither lengthens the grace. ok: null."""

    awake: int
    wait: int


class Timer(Struct, frozen=True, tag_field="call", tag="timer", forbid_unknown_fields=True):
    """Deferred: ok is {"call": id}; the completion (result null) comes `after` ms (0..2**31-1) later. Timers are never
    durable and do not hold the actor awake."""

    after: int


class TimerStarted(Struct, frozen=True):
    """What `timer` answers: the id that the completion will carry."""

    call: int


class TimerCancel(Struct, frozen=True, tag_field="call", tag="timer_cancel", forbid_unknown_fields=True):
    """Ends a timer of this start, by its call id: it no longer counts, and unless it is due already its completion does
    not come. ok: true if it was outstanding."""

    timer: int


class CallStarted(Struct, frozen=True):
    """What `fetch` and `actor_call` answer: the id that the completion will carry."""

    call: int


class Fetch(Struct, frozen=True, tag_field="call", tag="fetch", forbid_unknown_fields=True, omit_defaults=True):
    """Deferred: an HTTP request to the outside, as far as the definition allows it. ok is {"call": id}; it starts after
    the commit of the turn. The completion has a `FetchResult` and the body, or an error. `timeout` in ms. An
    outstanding one holds the actor awake and ends with its isolate."""

    url: str
    method: str = "GET"
    headers: list[tuple[str, str]] = []
    body: Buffer = b""
    redirect: Literal["follow", "error", "manual"] = "follow"
    timeout: int | UnsetType = UNSET


class FetchResult(Struct, frozen=True):
    """The result of a `fetch`; the body is beside it. `url` is the one that answered."""

    status: int
    headers: list[tuple[str, str]]
    url: str
    redirected: bool


class ActorCall(
    Struct, frozen=True, tag_field="call", tag="actor_call", forbid_unknown_fields=True, omit_defaults=True
):
    """Deferred: an action of an actor of the same namespace. The target is `name` and `key`, found (`get`), found or
    made (`getOrCreate`) or made (`create`), or the actor of the id `actor`. `args` is a JSON array, `input` what a new
    actor is created with. ok is {"call": id}; it starts after the commit of the turn. The completion has the action's
    result or error; without `action` only the target is looked up: {"actor", "name", "key", "created"}. `timeout` in
    ms. An outstanding one holds the actor awake and ends with its isolate."""

    name: str = ""
    key: list[str] = []
    method: Literal["get", "getOrCreate", "create"] = "get"
    action: str | UnsetType = UNSET
    args: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    actor: str | UnsetType = UNSET
    timeout: int | UnsetType = UNSET


class CallCancel(Struct, frozen=True, tag_field="call", tag="call_cancel", forbid_unknown_fields=True):
    """Gives up an outstanding `fetch` or `actor_call`: it is cut off after the commit of the turn, and no completion of
    it comes any more. What it has done already stays done. ok: true if it was outstanding."""

    which: int


Call = (
    KvGet
    | KvPut
    | KvDelete
    | KvList
    | KvDeleteRange
    | StateGet
    | StatePut
    | AlarmSet
    | AlarmCancel
    | AlarmList
    | CronSet
    | CronDelete
    | CronList
    | CronHistory
    | SocketSend
    | SocketClose
    | EventSend
    | EventBroadcast
    | SocketSetState
    | SocketSetTags
    | SocketList
    | Log
    | Now
    | Random
    | Sleep
    | Destroy
    | KeepAwake
    | Timer
    | TimerCancel
    | Fetch
    | ActorCall
    | CallCancel
)
