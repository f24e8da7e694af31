"""Every limit of the host in one place: default, operator's maximum, unit, meaning.

`GET /limits` and docs/limits.md are generated from `LIMITS`. A definition may change those marked `adjustable`, down,
or up within the maximum. Sizes are of raw bytes, before base64.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.errors import CallerError

__all__ = ["LIMITS", "Limit", "Limits", "limits_with"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Limit(Struct, frozen=True):
    name: str
    default: int
    maximum: int
    unit: str
    meaning: str
    adjustable: bool = False


LIMITS: tuple[Limit, ...] = (
    Limit("turn_deadline", 1_000, 10_000, "ms", "wall time of one turn in the guest", True),
    Limit("memory", 64 * MIB, 256 * MIB, "bytes", "linear memory of one isolate", True),
    Limit("table_elements", 10_000, 10_000, "elements", "elements of a table of one isolate"),
    Limit("host_calls", 10_000, 100_000, "calls", "host calls of one turn, all imports counted", True),
    Limit(
        "host_call_bytes", 4 * MIB, 64 * MIB, "bytes", "bytes of requests and replies of host calls of one turn", True
    ),
    Limit("log_turn", 64 * KIB, 64 * KIB, "bytes", "log text of one turn"),
    Limit("log_minute", 1 * MIB, 1 * MIB, "bytes", "log text of one actor in a minute"),
    Limit("reply", 6 * MIB, 6 * MIB, "bytes", "reply envelope of one turn"),
    Limit("state", 1 * MIB, 1 * MIB, "bytes", "state document of one actor", True),
    Limit("effects", 8 * MIB, 8 * MIB, "bytes", "effects of one turn", True),
    Limit("message", 1 * MIB, 1 * MIB, "bytes", "one WebSocket message, in and out", True),
    Limit("body", 4 * MIB, 4 * MIB, "bytes", "body of one HTTP request or response", True),
    Limit("action", 1 * MIB, 1 * MIB, "bytes", "arguments or result of one action", True),
    Limit("input", 4 * MIB, 4 * MIB, "bytes", "creation input of one actor"),
    Limit("conn_params", 4 * KIB, 4 * KIB, "bytes", "parameters of one connection"),
    Limit("conn_state", 16 * KIB, 16 * KIB, "bytes", "state attached to one connection"),
    Limit("conn_tags", 10, 10, "tags", "tags of one connection"),
    Limit("outgoing_queue", 1 * MIB, 1 * MIB, "bytes", "frames that wait for one connection's client"),
    Limit("outbox", 1 * MIB, 1 * MIB, "bytes", "frames kept for the client of one session"),
    Limit("outbox_frames", 1_024, 1_024, "frames", "frames kept for the client of one session"),
    Limit("incoming_buffer", 1 * MIB, 1 * MIB, "bytes", "unacknowledged messages of one connection"),
    Limit("incoming_messages", 1_024, 1_024, "messages", "unacknowledged messages of one connection"),
    Limit("settled_ahead", 1_024, 1_024, "indexes", "indexes settled above the watermark of one connection"),
    Limit("module", 4 * MIB, 4 * MIB, "bytes", "size of one module"),
    Limit("kv_batch", 128, 128, "keys", "keys or entries of one KV call"),
    Limit("kv_key", 2 * KIB, 2 * KIB, "bytes", "one KV key"),
    Limit("kv_value", 128 * KIB, 128 * KIB, "bytes", "one KV value"),
    Limit("kv_actor", 1 * GIB, 1 * GIB, "bytes", "KV keys and values of one actor", True),
    Limit("kv_list", 1_000, 1_000, "entries", "entries of one KV list"),
    Limit("kv_list_bytes", 1 * MIB, 1 * MIB, "bytes", "keys and values of one KV list"),
    Limit("alarms", 1_000, 1_000, "alarms", "alarms set on one actor", True),
    Limit("alarm_id", 128, 128, "bytes", "one alarm id"),
    Limit("alarm_payload", 64 * KIB, 64 * KIB, "bytes", "payload of one alarm"),
    Limit("timers", 1_000, 1_000, "timers", "outstanding timers of one actor"),
    Limit("connections", 20_000, 100_000, "connections", "connections of one actor", True),
    Limit("mailbox", 4_096, 4_096, "events", "actions and requests that wait for one actor"),
    Limit("key_part", 128, 128, "bytes", "one part of an actor key"),
    Limit("key", 1_024, 1_024, "bytes", "a whole actor key"),
    Limit("name", 64, 64, "bytes", "the name of a definition"),
    Limit("handler_timeout", 60_000, 600_000, "ms", "time for one event to settle", True),
    Limit("sleep_timeout", 30_000, 86_400_000, "ms", "idle time before an actor sleeps", True),
    Limit("start_timeout", 15_000, 15_000, "ms", "load, compile, instantiate and start"),
    Limit("stop_grace", 15_000, 15_000, "ms", "time for stop and pending handlers"),
    Limit("evict_grace", 5_000, 5_000, "ms", "the same when the host evicts the actor or shuts down"),
    Limit("wake_timeout", 90_000, 90_000, "ms", "time for a wake before waiting sockets are closed"),
    Limit("session_window", 60_000, 600_000, "ms", "time in which a session client may come back"),
    Limit("attempts", 3, 3, "attempts", "attempts of a message, close or open that faults"),
    Limit("alarm_attempts", 6, 6, "attempts", "attempts of an alarm"),
    Limit("hop_turns", 64, 64, "turns", "turns in one hop"),
    Limit("hop_time", 50, 50, "ms", "time in which a hop may begin another turn"),
    Limit("actors", 10_000, 30_000, "actors", "actors awake in this process"),
)

_BY_NAME = {limit.name: limit for limit in LIMITS}


class Limits:
    """The limits in force for one actor; `limits.message` is a plain attribute read."""

    __slots__ = tuple(limit.name for limit in LIMITS)

    def __init__(self, **over: int) -> None:
        for limit in LIMITS:
            setattr(self, limit.name, over.get(limit.name, limit.default))

    def as_dict(self) -> dict[str, int]:
        return {limit.name: getattr(self, limit.name) for limit in LIMITS}

    # The slots are made from the table above; this tells type checkers what they hold.
    def __getattr__(self, name: str) -> int:
        raise AttributeError(name)


def limits_with(over: dict[str, int], base: Limits | None = None) -> Limits:
    """`base` (or the defaults) with a definition's overrides; raises `definition/invalid_options` on a bad one."""
    start = (base or Limits()).as_dict()
    for name, value in over.items():
        limit = _BY_NAME.get(name)
        if limit is None or not limit.adjustable:
            allowed = ", ".join(entry.name for entry in LIMITS if entry.adjustable)
            raise CallerError("definition", "invalid_options", f"limit {name!r} cannot be set; these can: {allowed}")
        if not 1 <= value <= limit.maximum:
            raise CallerError(
                "definition",
                "invalid_options",
                f"limit {name!r} is {value}; allowed: 1 to {limit.maximum} {limit.unit}",
            )
        start[name] = value
    return Limits(**start)
