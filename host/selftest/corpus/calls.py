"""Guests against the host calls: too many, too large, with pointers that lie, and replies that make no sense."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from host.selftest.case import Case
from host.selftest.drives import (
    action_fault,
    limit_thrown,
    script,
    seen_error,
    seen_limit,
    start_fault,
    survived,
    wasm_answers,
    wasm_fault,
)
from host.selftest.escaped import check
from host.selftest.guests import HOST_CALL, data, js_guest, reply, wasm_guest
from host.selftest.lab import Lab, error_of

__all__ = ["CASES", "write_flood"]

BUDGET, POINTER, REPLY = "guest/budget", "guest/bad_pointer", "guest/bad_reply"
LONG = {"turn_deadline": 10_000}
FD_WRITE = '(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
RANDOM = '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))'
EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
READ = '(import "isolate" "host_read" (func $host_read (param i32 i32) (result i32)))'
TRIED = '{"settled":[{"event":2,"result":"refused"}],"pending":0}'


def _says(text: str) -> bytes:
    """A guest whose reply to `!` is this text."""
    return wasm_guest(reply(62_000, text), more=data(62_000, text))


def _calls(request: str, refused_with: int) -> bytes:
    """A guest that answers `refused` when the host call comes back with that number."""
    return wasm_guest(
        f"(local.set $r (call $host_call (i32.const 63000) (i32.const {len(request.encode())})"
        f" (i32.const 70000) (i32.const 1000)))"
        f"(if (i32.eq (local.get $r) (i32.const {refused_with})) (then {reply(62_000, TRIED)})) unreachable",
        more=data(62_000, TRIED) + data(63_000, request),
    )


_pointers = [
    ("calls/pointer-negative", "(i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)"),
    ("calls/length-negative", "(i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)"),
    ("calls/pointer-behind-the-end", "(i32.const 131072) (i32.const 1) (i32.const 0) (i32.const 0)"),
    ("calls/pointer-that-wraps", "(i32.const -8) (i32.const 16) (i32.const 0) (i32.const 0)"),
    ("calls/room-outside", "(i32.const 0) (i32.const 1) (i32.const -8) (i32.const 16)"),
    ("calls/room-of-4-gib", "(i32.const 0) (i32.const 1) (i32.const 0) (i32.const -1)"),
]
_places = [
    ("calls/reply-outside", "(i64.const 0xfffffff000000040)"),
    ("calls/reply-of-4-gib", "(i64.const 0x00000000ffffffff)"),
    ("calls/reply-that-wraps", "(i64.const 0xffffffffffffffff)"),
]
_replies = [
    ("calls/reply-that-is-no-json", "not json"),
    ("calls/reply-that-is-not-utf-8", '{"settled":[],"pending":0,"\udcff":1}'),
    ("calls/reply-nested", '{"settled":' + "[" * 1_000 + "]" * 1_000 + ',"pending":0}'),
    ("calls/reply-settles-twice", '{"settled":[{"event":2},{"event":2}],"pending":0}'),
    ("calls/reply-settles-a-foreign-event", '{"settled":[{"event":77}],"pending":1}'),
    ("calls/reply-settles-a-negative-event", '{"settled":[{"event":-1}],"pending":1}'),
    ("calls/reply-settles-a-huge-event", '{"settled":[{"event":99999999999999999999999}],"pending":1}'),
    ("calls/reply-pending-negative", '{"settled":[{"event":2}],"pending":-1}'),
    ("calls/reply-pending-huge", '{"settled":[{"event":2}],"pending":9007199254740993}'),
    ("calls/reply-with-unknown-fields", '{"settled":[{"event":2}],"pending":0,"admin":true}'),
    ("calls/reply-with-an-array", "[]"),
    ("calls/reply-with-bad-tags", '{"settled":[{"event":2,"result":["$BigInt","x"]}],"pending":0}'),
    ("calls/reply-empty", ""),
]
_requests = [
    ("calls/call-that-is-no-json", "nonsense", -1),
    ("calls/call-unknown", '{"call":"root_shell","cmd":"id"}', -2),
    ("calls/call-with-an-actor-id", '{"call":"kv_get","keys":["aw=="],"actor":"00000000000000000000000000000000"}', -1),
    ("calls/call-with-bad-base64", '{"call":"kv_put","entries":[["!!!!","AAAA"]]}', -1),
    ("calls/call-nested", '{"call":"state_put","value":' + "[" * 500 + "]" * 500 + "}", -1),
    ("calls/call-with-wrong-types", '{"call":"kv_list","prefix":5,"limit":"all"}', -1),
]


def _ungranted() -> bytes:
    request = '{"call":"kv_get","keys":["aw=="]}'
    return wasm_guest(
        f"(local.set $r (call $host_call (i32.const 63000) (i32.const {len(request)})"
        " (i32.const 70000) (i32.const 100)))"
        f"(if (i32.eq (local.get $r) (i32.const -2)) (then {reply(62_000, TRIED)})) unreachable",
        more=data(62_000, TRIED) + data(63_000, request),
        manifest=b'{"abi":1,"capabilities":[]}',
    )


def _large_reply() -> bytes:
    return wasm_guest("(return (call $pack (i32.const 65536) (i32.const 6291457)))", pages="128 256")


def write_flood() -> bytes:
    """Lines to standard error without end, with control sequences, through vectors that overlap."""
    text = '\u001b[31mforged\n{"event":"admin logged in","level":"info"}\r\n' + "x" * 900
    vectors = "".join(f"\\{n:02x}" for n in [*(63_000).to_bytes(4, "little"), *len(text).to_bytes(4, "little")] * 8)
    return wasm_guest(
        "(loop $l (drop (call $fd_write (i32.const 2) (i32.const 62100) (i32.const 8) (i32.const 62000)))"
        "(local.set $r (i32.add (local.get $r) (i32.const 1))) (br_if $l (i32.lt_u (local.get $r) (i32.const 200))))"
        + reply(62_500, TRIED),
        imports=HOST_CALL + FD_WRITE,
        more=f'(data (i32.const 62100) "{vectors}")' + data(62_500, TRIED) + data(63_000, text),
    )


@script("calls/log-injection", "logs are escaped", "log", "one line a line, no control characters")
async def _log_injection(lab: Lab) -> str:
    mark = "forged-by-a-guest"
    body = f"""c.log.info('a\\n{{"event":"{mark}","level":"error"}}\\u001b[2J\\u0000\\u2028b');
      console.error('\\r\\n{mark} \\u001b]0;owned\\u0007');"""
    await lab.deploy(js_guest(body))
    actor = await lab.actor()
    await lab.output(actor, "go")
    await lab.output(actor, "ok")
    text = lab.host.log_tail(400)
    check(mark in text, "the guest's line is not in the log")
    check("\x1b" not in text and "\x07" not in text and "\0" not in text, "control characters are in the log")
    for line in text.split("\n")[:-1]:  # the last one may still be on its way to the file
        if mark in line:
            check(
                line.startswith("{") and json.loads(line).get("event") == "guest log",
                f"a line is the guest's own: {line}",
            )
    return "escaped"


@script("calls/log-minute", "log_minute", "log", "what is too much is dropped and counted", ("log_lines_dropped",))
async def _log_minute(lab: Lab) -> str:
    await lab.deploy(js_guest("for (let i = 0; i < 4; i++) c.log.info('y'.repeat(16000));"))
    actor = await lab.actor()
    for _ in range(20):
        await lab.output(actor, "go")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return "dropped"


def _sizes(name: str, limit: str, answers: list[tuple[str, str]], error: str, body: str) -> Case:
    """What is too large on its way out is told to who asked for it."""

    @script(name, limit, "answer", error, ("events_failed", "errors"), limits=(limit,))
    async def run(lab: Lab) -> str:
        await lab.deploy(
            js_guest(body, more="onRequest() { return new Response('x'.repeat(5000000)); },"),
            limits={"turn_deadline": 5_000},
        )
        actor = await lab.actor()
        for method, path in answers:
            answer = await lab.http.request(method, f"/gateway/{actor}/{path}")
            told = seen_error(answer, error, limit=limit)
            seen_limit(error_of(answer)["metadata"], limit)
        check(await lab.output(actor, "ok") == 1, "the actor did not go on")
        return f"{told} ({limit})"

    return run


@script(
    "calls/forged-error-groups",
    "guests raise the group user only",
    "wasm action",
    "masked: a guest cannot forge the host's errors",
    ("events_failed", "errors"),
)
async def _forged(lab: Lab) -> str:
    def forging(group: str, code: str) -> bytes:
        error = json.dumps({"group": group, "code": code, "message": "forged"})
        return _says(f'{{"settled":[{{"event":2,"error":{error}}}],"pending":0}}')

    seen: list[Any] = []
    for number, (group, code) in enumerate(
        [("auth", "forbidden"), ("node", "draining"), ("storage", "unavailable"), ("actor", "not_found"), ("", "")]
    ):
        await lab.deploy(forging(group, code), name=f"forger{number}")
        actor = await lab.actor(name=f"forger{number}")
        answer = await lab.call(actor, "go", "!")
        error = error_of(answer)
        check(error["name"] not in (f"{group}/{code}",) and "forged" not in answer.text, f"forged: {answer.text[:200]}")
        seen.append(error["name"])
    return ", ".join(sorted(set(seen)))


CASES: tuple[Case, ...] = (
    action_fault(
        "calls/flood", "host_calls", "for (;;) c.kv.get('k').catch(() => {});", BUDGET, limit="host_calls", limits=LONG
    ),
    wasm_fault(
        "calls/wasm-flood",
        "host_calls",
        lambda: wasm_guest(
            "(loop $l (drop (call $host_call (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))) (br $l))"
        ),
        BUDGET,
        limits=LONG,
        limit="host_calls",
    ),
    action_fault(
        "calls/bytes",
        "host_call_bytes",
        "for (;;) c.kv.put('k', 'v'.repeat(100000)).catch(() => {});",
        BUDGET,
        limit="host_call_bytes",
        limits=LONG,
    ),
    action_fault(
        "calls/effects",
        "effects",
        "for (let i = 0; i < 100; i++) await c.kv.put('k' + i, 'v'.repeat(100000));",
        BUDGET,
        "limit/exceeded",
        limit="effects",
        limits={**LONG, "host_call_bytes": 64 * 1024 * 1024},
    ),
    action_fault(
        "calls/state",
        "state",
        "c.state.blob = 'x'.repeat(1100000);",
        BUDGET,
        "limit/exceeded",
        limit="state",
        limits=LONG,
    ),
    *(
        wasm_fault(name, "pointers are checked", partial(wasm_guest, f"(drop (call $host_call {arguments}))"), POINTER)
        for name, arguments in _pointers
    ),
    *(
        wasm_fault(name, "pointers are checked", partial(wasm_guest, f"(return {place})"), POINTER, REPLY)
        for name, place in _places
    ),
    start_fault("calls/alloc-outside", "pointers are checked", lambda: wasm_guest("", alloc="i32.const -16"), POINTER),
    *(wasm_fault(name, "replies are checked", partial(_says, text), REPLY) for name, text in _replies),
    wasm_fault("calls/reply-too-large", "reply", _large_reply, REPLY, limit="reply"),
    *(
        wasm_answers(name, "calls are checked", partial(_calls, request, number), "refused")
        for name, request, number in _requests
    ),
    wasm_answers("calls/not-granted", "the manifest grants", _ungranted, "refused"),
    wasm_fault(
        "calls/host-read-4-gib",
        "pointers are checked",
        lambda: wasm_guest("(drop (call $host_read (i32.const 16) (i32.const -1)))", imports=HOST_CALL + READ),
        POINTER,
    ),
    wasm_fault(
        "calls/random-4-gib",
        "pointers are checked",
        lambda: wasm_guest("(drop (call $random (i32.const 0) (i32.const -1)))", imports=HOST_CALL + RANDOM),
        POINTER,
        BUDGET,
    ),
    wasm_fault(
        "calls/random-flood",
        "host_call_bytes",
        lambda: wasm_guest(
            "(loop $l (drop (call $random (i32.const 65536) (i32.const 16000000))) (br $l))",
            imports=HOST_CALL + RANDOM,
            pages="256 512",
        ),
        BUDGET,
        limits=LONG,
    ),
    wasm_answers(
        "calls/fd-write-bad-vectors",
        "pointers are checked",
        lambda: wasm_guest(
            "(drop (call $fd_write (i32.const 1) (i32.const 131070) (i32.const 1000000) (i32.const 0)))",
            imports=HOST_CALL + FD_WRITE,
        ),
        "well",
    ),
    wasm_answers(
        "calls/fd-write-flood",
        "log_turn",
        write_flood,
        "refused",
        counter=("log_lines_dropped",),
        must="lines are cut, dropped and counted",
    ),
    wasm_fault(
        "calls/proc-exit",
        "there is no process to end",
        lambda: wasm_guest("(call $exit (i32.const 0))", imports=HOST_CALL + EXIT),
        "guest/trap",
    ),
    survived(
        "calls/log-flood",
        "log_turn",
        "for (let i = 0; i < 3000; i++) c.log.info('x'.repeat(1000)); return 1;",
        limits={**LONG, "host_call_bytes": 16 * 1024 * 1024},
        counter=("log_lines_dropped",),
        must="lines are dropped and counted",
    ),
    _log_injection,
    _log_minute,
    limit_thrown("calls/kv-key", "kv_key", "await c.kv.put('k'.repeat(2049), 'v');"),
    limit_thrown("calls/kv-value", "kv_value", "await c.kv.put('k', 'v'.repeat(131073));"),
    limit_thrown(
        "calls/kv-batch", "kv_batch", "await c.kv.put(Array.from({ length: 129 }, (_, i) => ['k' + i, 'v']));"
    ),
    limit_thrown("calls/kv-list", "kv_list", "await c.kv.list('', { limit: 1001 });"),
    limit_thrown(
        "calls/kv-fill",
        "kv_actor",
        "for (let i = 0; i < 100; i++) await c.kv.put('k' + i, 'v'.repeat(10000));",
        limits={"kv_actor": 200_000},
    ),
    survived(
        "calls/kv-list-bytes",
        "kv_list_bytes",
        "for (let i = 0; i < 20; i++) await c.kv.put('k' + i, 'v'.repeat(100000));"
        "return (await c.kv.list('k')).reduce((n, [k, v]) => n + k.length + v.length, 0);",
        lambda result: 0 < result <= 1_048_576 + 131_072,
        limits={**LONG, "host_call_bytes": 16 * 1024 * 1024},
        must="the list is cut at the limit",
    ),
    limit_thrown(
        "calls/alarms-flood",
        "alarms",
        "for (let i = 0; i < 20; i++) await c.alarms.set('a' + i, { after: 86400000 });",
        limits={"alarms": 10},
    ),
    limit_thrown("calls/alarm-id", "alarm_id", "await c.alarms.set('a'.repeat(129), { after: 86400000 });"),
    limit_thrown(
        "calls/alarm-payload",
        "alarm_payload",
        "await c.alarms.set('a', { after: 86400000, payload: 'x'.repeat(65537) });",
    ),
    limit_thrown(
        "calls/crons-flood",
        "crons",
        "for (let i = 0; i < 20; i++) await c.cron.every({ name: 'c' + i, interval: 86400000, action: 'go' });",
        limits={"crons": 10},
    ),
    limit_thrown(
        "calls/cron-settings",
        "cron_sets",
        # The dearest expressions that there are: days that come once in decades, in zones that change their clocks.
        "for (let i = 0; i < 101; i++) await c.cron.set({ name: 'c' + i % 50, expression: '0 0 * 2 1#5', "
        "timezone: ['Australia/Lord_Howe', 'America/New_York'][i % 2], action: 'go' });",
        limits=LONG,
    ),
    limit_thrown(
        "calls/cron-name",
        "cron_name",
        "await c.cron.every({ name: 'c'.repeat(121), interval: 86400000, action: 'go' });",
    ),
    limit_thrown(
        "calls/cron-args",
        "cron_args",
        "await c.cron.every({ name: 'c', interval: 86400000, action: 'go', args: ['x'.repeat(16384)] });",
    ),
    limit_thrown(
        "calls/cron-interval", "cron_interval", "await c.cron.every({ name: 'c', interval: 1, action: 'go' });"
    ),
    limit_thrown(
        "calls/cron-history",
        "cron_history",
        "await c.cron.every({ name: 'c', interval: 86400000, action: 'go', maxHistory: 101 });",
    ),
    limit_thrown("calls/timers-flood", "timers", "for (let i = 0; i < 1001; i++) setTimeout(() => {}, 86400000);"),
    _sizes(
        "calls/action-result",
        "action",
        [("POST", "action/go")],
        "message/outgoing_too_long",
        "return 'x'.repeat(1100000);",
    ),
    _sizes("calls/response-body", "body", [("GET", "request/")], "message/outgoing_too_long", ""),
    _forged,
)
