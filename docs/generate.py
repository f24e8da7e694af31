"""Writes the parts of the documentation that come from code: `python docs/generate.py`.

* docs/limits.md, from `host.model.limits.LIMITS`;
* the table of errors in docs/operations.md, from `host.model.errors.HTTP_STATUS`;
* the table of host calls in docs/wasm.md, from `host.bridge.host_calls.HOST_CALLS`;
* the diagram and the table in docs/lifecycle.md, from `host.actor.lifecycle.TABLE`.

A test renders them again and fails when a file and the code have drifted apart.
"""

from __future__ import annotations

import re
from pathlib import Path

from host.actor.lifecycle import TABLE, State, Step
from host.bridge.host_calls import HOST_CALLS
from host.model.errors import HTTP_STATUS
from host.model.limits import LIMITS, Limit

__all__ = ["main", "render"]

DOCS = Path(__file__).resolve().parent

LIMITS_HEAD = """\
# Limits

Every limit of the host, from `host/model/limits.py`; `GET /limits` gives the same with the values in force. This page
is generated: `python docs/generate.py`.

Sizes are of raw bytes, before base64. A definition may set those that are marked *adjustable*, to anything from 1 to
the maximum: `PUT /definitions/{name}` with `{"module": "sha256:…", "limits": {"memory": 134217728}}`. Those marked *by
tenant* are quotas of all actors of a namespace together; an operator sets them with `PUT /tenants/{namespace}/quotas`.
An error that a limit causes names the limit, what was used, what is allowed, and what to do;
`dormice_limits_total{reason="<limit>"}` counts them.

"""

# What a code means, for whoever reads it in a log. A code without a line here does not render.
MEANINGS = {
    "module/not_wasm": "the bytes do not begin as a core Wasm module; Wasm text is not taken",
    "module/malformed": "the module is cut off or does not validate",
    "module/bad_export": "an export that the ABI needs is missing or has another type",
    "module/bad_import": "the module imports something that the host does not offer",
    "module/bad_manifest": "the custom section `isolate.manifest` is missing or wrong",
    "module/js_syntax": "the source does not parse; line and column are in `metadata`",
    "module/js_threw": "the top level of the source threw, or did not end in time",
    "module/no_actor": "the source has no default export that is an actor",
    "module/hash_mismatch": "the bytes behind the URL do not have the given sha256",
    "module/not_in_turn": "top-level code made a host call; inside the guest only",
    "module/too_large": "the module is larger than `module`",
    "module/unsupported_type": "the content type is neither `application/wasm` nor `text/javascript`",
    "module/not_found": "the namespace has no module of this digest",
    "module/fetch_refused": "the URL may not be fetched: its scheme, its address, or too many redirects",
    "module/fetch_failed": "the server at the URL did not answer with the bytes",
    "module/fetch_timeout": "the server at the URL was too slow",
    "module/compile_budget": "compiling the module took more CPU time or memory than it may",
    "module/compile_failed": "the compiler crashed on the module; the log has what it said",
    "definition/not_found": "the namespace has no definition of this name",
    "definition/invalid_name": "a definition cannot have this name",
    "definition/unknown_name": "the module names several actors, and none of them is called that",
    "definition/invalid_options": "an option or limit of a definition is unknown or out of range",
    "definition/in_use": "the program that runs the host registered this name itself; deploy under another",
    "definition/deploy_failed": "the newest version has failed, so that no more actors can be given it",
    "definition/no_older_version": "there is no older version that is live and differs from the newest",
    "actor/not_found": "there is no such actor, or it was destroyed",
    "actor/validation_error": "an argument, a parameter or an event does not fit the schema that the actor declares",
    "actor/action_not_found": "the actor has no such action, or takes no requests",
    "actor/duplicate_key": "an actor of this name and key exists",
    "actor/invalid_request": "the creation input or key cannot be read",
    "actor/key_too_large": "the key is larger than `key` or `key_part`",
    "actor/empty_name": "a name is missing",
    "actor/input_too_large": "the creation input is larger than `input`",
    "actor/method_not_allowed": "another HTTP method is needed here",
    "actor/call_too_deep": "calls from actor to actor go deeper than `call_depth`: a cycle without an end, most often",
    "actor/call_timed_out": "the actor that was called did not answer within `call_timeout`; it may still have acted",
    "actor/action_timed_out": "the handler did not settle within `handler_timeout`",
    "actor/aborted": "the actor restarted while this was in work; it may have taken effect in part",
    "actor/starting": "the actor is starting",
    "actor/stopping": "the actor is stopping",
    "actor/restarting": "the actor is restarting",
    "actor/load_failed": "the loader that names an actor's module failed, or named none; in logs and counters only",
    "actor/start_failed": "the last start failed; `Retry-After` says when the next is made",
    "actor/destroyed": "the actor was destroyed meanwhile",
    "actor/restarted": "the actor restarted and this connection cannot hibernate",
    "actor/poison_message": "a message faulted on each of its attempts and was given up",
    "fetch/refused": "a request to the outside that is not allowed; in the guest only",
    "fetch/failed": "the server of a request to the outside did not answer as it should; in the guest only",
    "fetch/too_large": "the answer to a request to the outside is larger than it may be; in the guest only",
    "fetch/timeout": "the server of a request to the outside was too slow; in the guest only",
    "message/incoming_too_long": "a client's message is larger than `message`",
    "message/outgoing_too_long": "what the guest sends is larger than `message` or `action`",
    "storage/unavailable": "storage cannot be written or read for now; try again",
    "node/full": "as many actors are awake as `actors` allows; try again",
    "node/compiler_down": "the process that compiles was taken away, or the machine is too busy for it; try again",
    "node/draining": "the host is shutting down; try again at its successor",
    "limit/exceeded": "a limit, named in `metadata`",
    "auth/forbidden": "this token, host or origin does not allow it",
    "auth/unauthenticated": "a token is needed",
    "request/invalid": "the request cannot be understood; the message says what to change",
    "request/too_large": "the body or a part of it is larger than it may be",
    "session/not_found": "there is no such session of this actor: unknown, expired, or another actor's",
    "request/not_found": "there is nothing at this path",
    "request/method_not_allowed": "another HTTP method is needed at this path",
    "guard/query_duplicate_param": "a parameter of the gateway (`rvt-*`, `dm-*`) is there twice",
    "guard/query_invalid_param": "a parameter of the gateway (`rvt-*`, `dm-*`) has a value that is none",
    "guard/query_missing_param": "a parameter of the gateway (`rvt-*`, `dm-*`) is missing",
}

# The host calls that the table of HOST_CALLS names, told in a line.
CALLS = {
    "kv_get": "up to 128 keys; a value or null for each",
    "kv_put": "up to 128 pairs, all or none",
    "kv_delete": "up to 128 keys",
    "kv_list": "by prefix or range, in byte order, either way",
    "kv_delete_range": "from `start` up to but not including `end`",
    "state_get": "the state document, or null",
    "state_put": "replaces the state document",
    "alarm_set": "sets or replaces an alarm by its id, `at` a time or `after` a delay",
    "alarm_cancel": "whether there was one",
    "alarm_list": "all alarms but the crons, the earliest first",
    "cron_set": "sets or replaces a cron by its name, by `expression` or `interval`",
    "cron_delete": "whether there was one",
    "cron_list": "all crons, by name",
    "cron_history": "the latest runs of a cron",
    "socket_send": "a text or binary frame; it leaves after the commit",
    "socket_close": "after the frames that were sent before",
    "event_send": "an event to one /connect connection; it leaves after the commit",
    "event_broadcast": "an event to every /connect connection that is subscribed to it; how many they are",
    "socket_set_state": "a Value kept with the connection",
    "socket_set_tags": "up to 10 tags of a connection",
    "socket_list": "open connections, by pages and by tag",
    "log": "a line of the actor's log",
    "now": "the frozen time of the turn",
    "random": "bytes of the actor's random stream",
    "sleep": "asks for sleep once everything has settled",
    "destroy": "asks for the end of the actor, for good",
    "keep_awake": "how many promises hold the actor awake, and its stop up",
    "timer": "deferred: answered by a `completion` event",
    "timer_cancel": "whether the timer was outstanding; it counts no longer",
    "fetch": "deferred: an HTTP request to the outside, if the definition allows it",
    "actor_call": "deferred: an action of another actor of the namespace",
    "call_cancel": "no completion of a `fetch` or `actor_call` comes any more",
}

# When each step of the lifecycle is taken.
STEPS = {
    Step.CAUSE: "there is something to deliver: a request, a message, a close, a due alarm; if failed, at `retry_at`",
    Step.STARTED: "the start has settled with a result",
    Step.START_FAILED: "loading, `createState`, `onCreate`, `onUpgrade` or `onWake` threw, faulted or took too long",
    Step.FAULT: "the isolate is gone: a trap, a deadline, a budget",
    Step.STOP: "idle, `c.sleep()`, an eviction, an upgrade or a reload; `onSleep` runs",
    Step.STOPPED: "everything in work has settled, or the grace is over",
    Step.LOST: "storage does not answer, or the actor is started elsewhere; nothing was learnt about the actor",
    Step.DESTROY: "the actor is destroyed",
    Step.UPGRADE: "stopped for another version or a reload: it starts again at once, its sockets stay open",
    Step.FALL_BACK: "it could not start on a new version: it starts on the one before, at once",
    Step.GIVE_UP: "faults of three different events within a minute",
    Step.RELOAD: "an operator wants it tried now",
    Step.RECALL: "its row says that its last start failed, and `retry_at` has not come",
}


def render() -> dict[Path, str]:
    """The generated files as they should be."""
    return {
        DOCS / "limits.md": LIMITS_HEAD + _limits(),
        DOCS / "operations.md": _with_table(DOCS / "operations.md", "errors", _errors()),
        DOCS / "wasm.md": _with_table(DOCS / "wasm.md", "host calls", _calls()),
        DOCS / "lifecycle.md": _with_table(DOCS / "lifecycle.md", "lifecycle", _lifecycle()),
    }


def main() -> None:
    for path, text in render().items():
        path.write_text(text, encoding="utf-8")


def _limits() -> str:
    lines = ["| limit | default | maximum | adjustable | what it bounds |", "|---|---:|---:|---|---|"]
    for limit in LIMITS:
        adjustable = "yes" if limit.adjustable else "by tenant" if limit.tenant else ""
        lines.append(
            f"| `{limit.name}` | {_amount(limit, limit.default)} | {_amount(limit, limit.maximum)} | {adjustable} "
            f"| {limit.meaning} |"
        )
    return "\n".join(lines) + "\n"


def _amount(limit: Limit, value: int) -> str:
    if limit.unit == "bytes":
        for size, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
            if value % size == 0:
                return f"{value // size:,} {name}"
    if limit.unit == "ms" and value % 1_000 == 0:
        return f"{value // 1_000:,} s"
    return f"{value:,} {limit.unit}"


def _errors() -> str:
    lines = ["| error | status | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {status} | {MEANINGS[name]} |" for name, status in HTTP_STATUS.items()]
    return "\n".join(lines) + "\n"


def _calls() -> str:
    lines = ["| call | capability | what it does |", "|---|---|---|"]
    lines += [
        f"| `{row.name}` | {f'`{row.capability}`' if row.capability else 'always there'} | {CALLS[row.name]} |"
        for row in HOST_CALLS
    ]
    return "\n".join(lines) + "\n"


def _lifecycle() -> str:
    """A drawing without the destroys, which lead out of every state, and every row in words."""
    drawn = [f"    {before} --> {after}: {step}" for (before, step), after in TABLE.items() if step is not Step.DESTROY]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.ABSENT}", *drawn, "```", ""]
    lines += ["| from | step | to | when |", "|---|---|---|---|"]
    for (before, step), after in TABLE.items():
        if step is not Step.DESTROY:
            lines.append(f"| {before} | {step} | {after} | {STEPS[step]} |")
    lines.append(f"| every state | {Step.DESTROY} | {State.DESTROYED} | {STEPS[Step.DESTROY]} |")
    return "\n".join(lines) + "\n"


def _with_table(path: Path, name: str, table: str) -> str:
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name}: generated by docs/generate.py -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    made, found = pattern.subn(lambda match: f"{match[1]}\n{table}\n{match[2]}", text)
    if found != 1:
        raise ValueError(f"{path.name} has {found} places for the table of {name}, not 1")
    return made


if __name__ == "__main__":
    main()
