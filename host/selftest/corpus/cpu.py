"""Guests that will not stop: loops in every place where code of a tenant runs, and work that one instruction hides."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.drives import (
    SHORT,
    action_fault,
    refused_upload,
    script,
    seen_error,
    start_fault,
    survived,
    wasm_fault,
)
from host.selftest.escaped import check
from host.selftest.guests import HOST_CALL, js_guest, wasm_guest
from host.selftest.lab import Lab

__all__ = ["CASES"]

DEADLINE = "guest/deadline"
CLOCK = '(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
LOOP = "(loop $l (br $l))"

_endless = [
    ("cpu/js-loop", "for (;;) {}"),
    ("cpu/js-microtasks", "const again = () => Promise.resolve().then(again); await again();"),
    ("cpu/js-await-loop", "for (;;) await null;"),
    ("cpu/js-tojson", "return { toJSON() { for (;;) {} }, get x() { for (;;) {} } };"),
    ("cpu/js-proxy-trap", "return new Proxy({}, { ownKeys() { for (;;) {} }, get() { for (;;) {} } });"),
    ("cpu/js-getter-of-thrown", "throw { get message() { for (;;) {} }, get name() { for (;;) {} } };"),
    (
        "cpu/js-tostring-of-argument",
        "c.kv.put({ toString() { for (;;) {} }, get byteLength() { for (;;) {} } }, 'v'); for (;;) {}",
    ),
    ("cpu/js-finally", "for (;;) { try { throw 1; } catch { continue; } finally { for (;;) {} } }"),
    ("cpu/js-swallows-the-interrupt", "const f = () => { try { for (;;) {} } catch { f(); } finally { f(); } }; f();"),
    ("cpu/js-generator", "function* g() { for (;;) yield 1; } for (const _ of g()) {}"),
    ("cpu/js-clock-spam", "for (;;) Date.now() + performance.now();"),
    ("cpu/js-sort", "const a = Array.from({ length: 500000 }, (_, i) => i % 977); for (;;) a.sort((x, y) => y - x);"),
    ("cpu/js-regexp", "/^(a+)+$/.test('a'.repeat(64) + 'b');"),
    (
        "cpu/js-regexp-lookahead",
        "/(?=(a*)*b)(x+x+)+y/.test('x'.repeat(5000)); /(.*)*$^/.test('a'.repeat(5000)); for (;;) {}",
    ),
]

_start_loops = [
    ("cpu/js-loop-in-onWake", js_guest(more="onWake() { for (;;) {} },")),
    ("cpu/js-loop-in-createVars", js_guest(more="createVars() { for (;;) {} },")),
    ("cpu/js-loop-in-onCreate", js_guest(more="onCreate() { for (;;) {} },")),
]


def _fill() -> bytes:
    """Bulk memory instructions do not look at the clock: the size of the memory bounds each."""
    size = 256 * 65_536
    return wasm_guest(
        f"(loop $l (memory.fill (i32.const 65536) (i32.const 1) (i32.const {size - 65_536}))"
        f"(memory.copy (i32.const 65537) (i32.const 65536) (i32.const {size - 65_537})) (br $l))",
        pages="256 1024",
    )


@script(
    "cpu/js-loop-in-onSleep",
    "stop of an actor",
    "stop",
    "the actor sleeps all the same, and wakes",
    ("guest_faults",),
)
async def _sleep_loop(lab: Lab) -> str:
    await lab.deploy(js_guest(more="onSleep() { for (;;) {} },"), limits={"turn_deadline": SHORT})
    actor = await lab.actor()
    check(await lab.output(actor, "ok") == 1, "the actor was wrong before the attack")
    answer = await lab.sleep(actor)
    check(answer.status_code == 200, f"sleep was answered {answer.status_code} {answer.text}")
    check(await lab.output(actor, "ok") == 2, "the actor did not go on as it was")
    return "asleep, and awake again"


@script(
    "cpu/handler-that-waits-for-ever",
    "handler_timeout",
    "action",
    "actor/action_timed_out",
    ("events_failed", "guest_faults", "errors"),
)
async def _waits(lab: Lab) -> str:
    body = "for (;;) await new Promise((done) => setTimeout(done, 20));"
    await lab.deploy(js_guest(body), limits={"handler_timeout": 300})
    actor = await lab.actor()
    await lab.output(actor, "ok")
    told = seen_error(await lab.call(actor, "go"), "actor/action_timed_out")
    check(await lab.output(actor, "ok") == 2, "the actor did not go on as it was")
    return told


@script("cpu/poison-message", "attempts", "message", "tried thrice, then 1011 actor.poison_message", ("dead_letters",))
async def _poison(lab: Lab) -> str:
    hook = 'onWebSocket(c, s) { s.onmessage = (e) => { if (e.data === "!") for (;;) {} s.send(e.data); }; },'
    await lab.deploy(js_guest(more=hook), limits={"turn_deadline": 100})
    actor = await lab.actor()
    async with await lab.socket(actor) as bad, await lab.socket(actor) as good:
        await bad.send("!")
        await bad.wait_closed()
        told = f"{bad.close_code} {(bad.close_reason or '').partition('#')[0]}"
        check(told == "1011 actor.poison_message", f"closed with {told}")
        await good.send("still here")
        check(await good.recv() == "still here", "the other connection was not served")
    letters = (await lab.snapshot(actor))["dead_letters"]
    check([row["attempts"] for row in letters] == [3], f"dead letters: {letters}")
    return told


@script("cpu/alarm-chain", "alarm_spacing", "alarm", "an alarm that sets itself does not spin")
async def _chain(lab: Lab) -> str:
    hook = "async onAlarm(c, a) { c.state.n += 1; await c.alarms.set(a.id, { after: 0 }); },"
    await lab.deploy(js_guest("await c.alarms.set('chain', { after: 0 });", more=hook))
    actor = await lab.actor()
    await lab.output(actor, "go")
    began = lab.clock.monotonic()
    await lab.clock.sleep_until(began + 1.0)
    fired = await lab.output(actor, "ok")
    seconds = lab.clock.monotonic() - began
    check(0 < fired <= 110 * seconds + 2, f"{fired} alarms in {seconds:.1f} s")
    return f"{fired / seconds:.0f} alarms a second"


CASES: tuple[Case, ...] = (
    *(action_fault(name, "turn_deadline", body, DEADLINE, limit="turn_deadline") for name, body in _endless),
    *(start_fault(name, "turn_deadline", code, DEADLINE, limit="turn_deadline") for name, code in _start_loops),
    wasm_fault("cpu/wasm-loop", "turn_deadline", lambda: wasm_guest(LOOP), DEADLINE, limit="turn_deadline"),
    wasm_fault("cpu/wasm-bulk-memory", "turn_deadline", _fill, DEADLINE, limit="turn_deadline"),
    wasm_fault(
        "cpu/wasm-clock-spam",
        "host_calls",
        lambda: wasm_guest(
            "(loop $l (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 8))) (br $l))",
            imports=HOST_CALL + CLOCK,
        ),
        "guest/budget",
        limits={"turn_deadline": 1_000},
    ),
    start_fault(
        "cpu/wasm-loop-in-start",
        "turn_deadline",
        lambda: wasm_guest("", more=f"(func $s {LOOP}) (start $s)"),
        DEADLINE,
        limit="turn_deadline",
    ),
    start_fault(
        "cpu/wasm-loop-in-initialize",
        "turn_deadline",
        lambda: wasm_guest("", more=f'(func (export "_initialize") {LOOP})'),
        DEADLINE,
        limit="turn_deadline",
    ),
    start_fault(
        "cpu/wasm-loop-in-alloc",
        "turn_deadline",
        lambda: wasm_guest("", alloc=f"{LOOP} (i32.const 0)"),
        DEADLINE,
        limit="turn_deadline",
    ),
    refused_upload("cpu/js-loop-at-top-level", "turn_deadline", "for (;;) {}", "module/js_threw"),
    refused_upload(
        "cpu/js-microtasks-at-top-level",
        "turn_deadline",
        "const again = () => Promise.resolve().then(again); again();",
        "module/js_threw",
    ),
    refused_upload(
        "cpu/js-top-level-await-for-ever",
        "top-level code ends",
        "await new Promise(() => {}); export default { actions: {} };",
        "module/js_threw",
        "module/no_actor",
    ),
    action_fault(
        "cpu/handler-that-never-settles",
        "every event settles",
        "await new Promise(() => {});",
        "guest/stuck",
        limits={"handler_timeout": 300},
    ),
    survived(
        "cpu/rejections-flood",
        "log_turn",
        "for (let i = 0; i < 20000; i++) Promise.reject(new Error('flood ' + i)); return 'done';",
        lambda result: result == "done",
        limits={"turn_deadline": 10_000, "host_calls": 100_000, "host_call_bytes": 64 * 1024 * 1024},
        counter=("log_lines_dropped",),
    ),
    _sleep_loop,
    _waits,
    _poison,
    _chain,
)
