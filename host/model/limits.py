"""Every limit of the host in one place: default, operator's maximum, unit, meaning.

`GET /limits` and docs/limits.md are generated from `LIMITS`. A definition may change those marked `adjustable`, down,
or up within the maximum. Those marked `tenant` are quotas: what all actors of a tenant may use together; the operator
may set them for each tenant, within the maximum. Sizes are of raw bytes, before base64.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.errors import CallerError

__all__ = ["LIMITS", "QUOTAS", "Limit", "Limits", "limits_with", "quotas_with"]

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
    tenant: bool = False


LIMITS: tuple[Limit, ...] = (
    Limit("turn_deadline", 1_000, 10_000, "ms", "wall time of one turn in the guest", True),
    Limit("memory", 64 * MIB, 256 * MIB, "bytes", "linear memory of one isolate", True),
    Limit("table_elements", 10_000, 10_000, "elements", "elements of a table of one isolate"),
    Limit("stack", 2 * MIB, 2 * MIB, "bytes", "call stack of a guest"),
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
    Limit("headers", 128, 128, "headers", "headers of one HTTP response of an actor"),
    Limit("header_bytes", 32 * KIB, 32 * KIB, "bytes", "names and values of the headers of one HTTP response"),
    Limit("error_metadata", 16 * KIB, 16 * KIB, "bytes", "metadata of one error that a guest raises"),
    Limit("action", 1 * MIB, 1 * MIB, "bytes", "arguments or result of one action", True),
    Limit("input", 4 * MIB, 4 * MIB, "bytes", "creation input of one actor"),
    Limit("conn_params", 4 * KIB, 4 * KIB, "bytes", "parameters of one connection"),
    Limit("conn_state", 16 * KIB, 16 * KIB, "bytes", "state attached to one connection"),
    Limit("conn_tags", 10, 10, "tags", "tags of one connection"),
    Limit("auth_data", 4 * KIB, 4 * KIB, "bytes", "what an auth hook returns for the handler"),
    Limit("token_claims", 2 * KIB, 2 * KIB, "bytes", "claims in one connection token"),
    Limit("token_lifetime", 86_400_000, 86_400_000, "ms", "time for which one connection token is valid"),
    Limit("subscriptions", 256, 1_024, "events", "events that one /connect connection is subscribed to"),
    Limit("event_name", 256, 256, "bytes", "the name of one event of a /connect connection"),
    Limit("outgoing_queue", 1 * MIB, 1 * MIB, "bytes", "frames that wait for one connection's client"),
    Limit("outbox", 1 * MIB, 1 * MIB, "bytes", "frames kept for the client of one session"),
    Limit("outbox_frames", 1_024, 1_024, "frames", "frames kept for the client of one session"),
    Limit("incoming_buffer", 1 * MIB, 1 * MIB, "bytes", "unacknowledged messages of one connection"),
    Limit("incoming_messages", 1_024, 1_024, "messages", "unacknowledged messages of one connection"),
    Limit("settled_ahead", 1_024, 1_024, "indexes", "indexes settled above the watermark of one connection"),
    Limit("module", 4 * MIB, 4 * MIB, "bytes", "size of one module"),
    Limit("module_manifest", 16 * KIB, 16 * KIB, "bytes", "the manifest in a wasm module"),
    Limit("module_names", 256 * KIB, 256 * KIB, "bytes", "names of a wasm module: imports, exports, name sections"),
    Limit("module_sections", 256, 256, "sections", "sections of a wasm module, custom ones counted"),
    Limit("module_imports", 128, 128, "imports", "imports of a wasm module"),
    Limit("module_exports", 256, 256, "exports", "exports of a wasm module"),
    Limit("module_types", 1_000, 1_000, "types", "function types of a wasm module"),
    Limit("module_values", 128, 128, "values", "parameters, and results, of one function type of a wasm module"),
    Limit("module_functions", 10_000, 10_000, "functions", "functions of a wasm module"),
    Limit("module_body", 128 * KIB, 128 * KIB, "bytes", "body of one function of a wasm module"),
    Limit("module_locals", 1_000, 1_000, "locals", "parameters and locals of one function of a wasm module"),
    Limit("module_nesting", 1_000, 1_000, "blocks", "blocks inside one another in one function of a wasm module"),
    Limit("module_br_table", 10_000, 10_000, "targets", "targets of one br_table of a wasm module"),
    Limit("module_globals", 1_000, 1_000, "globals", "globals of a wasm module"),
    Limit("module_tables", 4, 4, "tables", "tables of a wasm module"),
    Limit("module_elements", 20_000, 20_000, "elements", "entries of all element segments of a wasm module"),
    Limit("module_segments", 10_000, 10_000, "segments", "data segments, and element segments, of a wasm module"),
    Limit("compile_cpu", 10_000, 60_000, "ms", "CPU time of one compilation"),
    Limit("compile_memory", 1 * GIB, 4 * GIB, "bytes", "address space of one compilation"),
    Limit("compile_time", 30_000, 300_000, "ms", "wall time of one compilation"),
    Limit("compile_queue", 64, 64, "jobs", "compilations that wait for a place"),
    Limit("kv_batch", 128, 128, "keys", "keys or entries of one KV call"),
    Limit("kv_key", 2 * KIB, 2 * KIB, "bytes", "one KV key"),
    Limit("kv_value", 128 * KIB, 128 * KIB, "bytes", "one KV value"),
    Limit("kv_actor", 1 * GIB, 1 * GIB, "bytes", "KV keys and values of one actor", True),
    Limit("kv_keys", 1_000_000, 10_000_000, "keys", "KV keys of one actor", True),
    Limit("kv_list", 1_000, 1_000, "entries", "entries of one KV list"),
    Limit("kv_list_bytes", 1 * MIB, 1 * MIB, "bytes", "keys and values of one KV list"),
    Limit("alarms", 1_000, 1_000, "alarms", "alarms set on one actor", True),
    Limit("alarm_spacing", 10, 10, "ms", "time from the firing of an alarm to that of one which its handler sets"),
    Limit("alarm_id", 128, 128, "bytes", "one alarm id"),
    Limit("alarm_payload", 64 * KIB, 64 * KIB, "bytes", "payload of one alarm"),
    Limit("crons", 100, 100, "crons", "crons of one actor; each is an alarm too", True),
    Limit("cron_sets", 100, 100, "calls", "settings of crons in one turn"),
    Limit("cron_name", 120, 120, "bytes", "the name of a cron, or of the action that it runs"),
    Limit("cron_args", 16 * KIB, 16 * KIB, "bytes", "arguments that a cron keeps for its action"),
    Limit("cron_interval", 5_000, 5_000, "ms", "the shortest interval of a cron"),
    Limit("cron_history", 100, 100, "runs", "runs of one cron that are kept"),
    Limit("timers", 1_000, 1_000, "timers", "outstanding timers of one actor"),
    Limit("calls", 64, 1_000, "calls", "outstanding calls of one actor, to other actors and to the outside", True),
    Limit("call_timeout", 60_000, 600_000, "ms", "time for one call to another actor, or to the outside", True),
    Limit("fetch_first_byte", 15_000, 60_000, "ms", "time until a server begins to answer a fetch of an actor", True),
    Limit("fetch_redirects", 5, 10, "redirects", "redirects that one fetch of an actor follows", True),
    Limit("call_depth", 32, 32, "calls", "calls from actor to actor that lead to one another"),
    Limit("connections", 20_000, 100_000, "connections", "connections of one actor", True),
    Limit("mailbox", 4_096, 4_096, "events", "actions and requests that wait for one actor"),
    Limit("key_part", 128, 128, "bytes", "one part of an actor key"),
    Limit("key", 1_024, 1_024, "bytes", "a whole actor key"),
    Limit("name", 64, 64, "bytes", "the name of a definition"),
    Limit("handler_timeout", 60_000, 600_000, "ms", "time for one event to settle", True),
    Limit("sleep_timeout", 30_000, 86_400_000, "ms", "idle time before an actor sleeps", True),
    Limit("start_timeout", 15_000, 15_000, "ms", "load, compile, instantiate and start"),
    Limit("stop_grace", 15_000, 15_000, "ms", "time for stop and pending handlers"),
    Limit("evict_grace", 5_000, 5_000, "ms", "the same when the host evicts or destroys the actor, or shuts down"),
    Limit("wake_timeout", 90_000, 90_000, "ms", "time for a wake before waiting sockets are closed"),
    Limit("session_window", 60_000, 600_000, "ms", "time in which a session client may come back"),
    Limit(
        "session_memory", 86_400_000, 604_800_000, "ms", "time for which the secret of an ended session opens no other"
    ),
    Limit("ended_sessions", 10_000, 100_000, "sessions", "ended sessions of one actor that are remembered"),
    Limit("dead_letters", 1_000, 10_000, "letters", "dead letters of one actor; the oldest go first"),
    Limit("attempts", 3, 3, "attempts", "attempts of a message, close or open that faults"),
    Limit("alarm_attempts", 6, 6, "attempts", "attempts of an alarm"),
    Limit("hop_turns", 64, 64, "turns", "turns in one hop"),
    Limit("hop_time", 50, 50, "ms", "time in which a hop may begin another turn"),
    Limit("actors", 10_000, 30_000, "actors", "actors awake in this process"),
    Limit("tenant_cpu", 1_000, 64_000, "ms", "CPU time on guest threads that a tenant earns in a second", tenant=True),
    Limit("tenant_cpu_burst", 30_000, 600_000, "ms", "CPU time that a tenant can have saved", tenant=True),
    Limit("tenant_actors", 5_000, 30_000, "actors", "actors of one tenant awake in this process", tenant=True),
    Limit("tenant_starts", 30_000, 600_000, "starts", "starts of a tenant's actors in a minute", tenant=True),
    Limit("tenant_connections", 20_000, 100_000, "connections", "connections of one tenant", tenant=True),
    Limit("tenant_modules", 256 * MIB, 64 * GIB, "bytes", "modules that one tenant has stored", tenant=True),
    Limit("tenant_definitions", 1_000, 10_000, "definitions", "definitions of one tenant", tenant=True),
    Limit("tenant_tokens", 1_000, 10_000, "tokens", "tokens of one tenant", tenant=True),
    Limit("tenant_timers", 100_000, 1_000_000, "timers", "outstanding timers of one tenant", tenant=True),
    Limit("tenant_fetches", 6_000, 600_000, "fetches", "fetches of a tenant's actors in a minute", tenant=True),
    Limit("tenant_calls", 10_000, 100_000, "calls", "outstanding calls of one tenant's actors", tenant=True),
    Limit(
        "tenant_call_bytes",
        64 * MIB,
        4 * GIB,
        "bytes",
        "bytes of one tenant's outstanding calls and answers",
        tenant=True,
    ),
)

QUOTAS: tuple[Limit, ...] = tuple(limit for limit in LIMITS if limit.tenant)

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


def quotas_with(over: dict[str, int], base: Limits) -> Limits:
    """`base` with the quotas that an operator set for one tenant; raises `request/invalid` on a bad one."""
    start = base.as_dict()
    for name, value in over.items():
        limit = _BY_NAME.get(name)
        if limit is None or not limit.tenant:
            allowed = ", ".join(entry.name for entry in QUOTAS)
            raise CallerError("request", "invalid", f"{name[:64]!r} is no quota of a tenant; these are: {allowed}")
        if not 1 <= value <= limit.maximum:
            raise CallerError(
                "request", "invalid", f"quota {name!r} is {value}; allowed: 1 to {limit.maximum} {limit.unit}"
            )
        start[name] = value
    return Limits(**start)
