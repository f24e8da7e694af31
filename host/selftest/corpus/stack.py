"""Guests that go deep: in calls, in data, in source text and in patterns."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.drives import action_fault, refused_upload, script, seen_error, start_fault, survived, wasm_fault
from host.selftest.escaped import check
from host.selftest.guests import js_guest, wasm_guest
from host.selftest.lab import Lab

__all__ = ["CASES"]

STACK = "guest/stack"
LONG = {"turn_deadline": 5_000}
# The interpreter notices plain recursion itself: then it is an error of the handler's, which is masked.
EITHER = (STACK, "internal/internal_error", "guest/trap")

_deep = [
    ("stack/js-recursion", "const f = () => f() + 1; f();"),
    ("stack/js-getter-recursion", "const o = { get x() { return this.x; } }; return o.x;"),
    ("stack/js-proxy-chain", "let p = {}; for (let i = 0; i < 200000; i++) p = new Proxy(p, {}); return p.x;"),
    ("stack/js-tostring-recursion", "const o = { toString() { return `${o}`; } }; return `${o}`;"),
    ("stack/js-json-nesting", "return JSON.parse('['.repeat(200000) + ']'.repeat(200000));"),
    ("stack/js-deep-result", "let v = 1; for (let i = 0; i < 200000; i++) v = [v]; return v;"),
    ("stack/js-cyclic-result", "const o = {}; o.o = o; return o;"),
    ("stack/js-regexp-nesting", "new RegExp('('.repeat(100000) + ')'.repeat(100000)).test('a');"),
    ("stack/js-eval-nesting", "return (0, eval)('('.repeat(200000) + '1' + ')'.repeat(200000));"),
    ("stack/js-bound-functions", "let f = () => 1; for (let i = 0; i < 200000; i++) f = f.bind(null); return f();"),
    (
        "stack/js-class-chain",
        "let K = class {}; for (let i = 0; i < 50000; i++) K = class extends K {}; new K(); for (;;) new K();",
    ),
    (
        "stack/js-spread",
        "return Math.max(...new Array(5000000).fill(1)) + String.fromCharCode(...new Array(3e6).fill(65));",
    ),
]


@script(
    "stack/js-deep-state",
    "stack",
    "action",
    "the state is refused; the actor is as it was when it wakes",
    ("events_failed", "errors"),
)
async def _deep_state(lab: Lab) -> str:
    """What was thrown is not undone within the isolate: the guest has spoilt its own state, and only that, until it
    sleeps."""
    body = "let v = 1; for (let i = 0; i < 200000; i++) v = { v }; c.state.v = v;"
    await lab.deploy(js_guest(body), limits=LONG)
    actor = await lab.actor()
    told = seen_error(await lab.call(actor, "go"), *EITHER)
    answer = await lab.sleep(actor)
    check(answer.status_code == 200, f"sleep was answered {answer.text}")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on as it was")
    return told


CASES: tuple[Case, ...] = (
    _deep_state,
    *(
        action_fault(
            name, "stack", body, *EITHER, "guest/deadline", "guest/memory", "guest/budget", limits=LONG, keeps=False
        )
        for name, body in _deep
    ),
    wasm_fault(
        "stack/wasm-recursion",
        "stack",
        lambda: wasm_guest("(return (call $deliver (local.get $p) (local.get $n)))"),
        STACK,
        limit="stack",
    ),
    wasm_fault(
        "stack/wasm-recursion-through-the-host",
        "stack",
        lambda: wasm_guest(
            "(drop (call $host_call (local.get $p) (local.get $n) (i32.const 0) (i32.const 0)))"
            "(return (call $deliver (local.get $p) (local.get $n)))"
        ),
        STACK,
        "guest/budget",
    ),
    wasm_fault(
        "stack/wasm-large-frames",
        "stack",
        lambda: wasm_guest(
            "(call $big (i32.const 0))",
            more="(func $big (param i32) (local "
            + "i64 " * 900
            + ")"
            + " ".join(f"(local.set {n} (i64.extend_i32_u (memory.grow (i32.const 0))))" for n in range(1, 900))
            + "(call $big (local.get 0))"
            + " ".join(f"(i64.store (i32.const 0) (local.get {n}))" for n in range(1, 900))
            + ")",
        ),
        STACK,
        limits=LONG,
    ),
    start_fault(
        "stack/wasm-recursion-in-start", "stack", lambda: wasm_guest("", more="(func $s (call $s)) (start $s)"), STACK
    ),
    refused_upload("stack/js-recursion-at-top-level", "stack", "(function f() { f(); f(); })();", "module/js_threw"),
    refused_upload(
        "stack/js-nested-source", "stack", "(" * 100_000 + "1" + ")" * 100_000, "module/js_syntax", "module/js_threw"
    ),
    refused_upload(
        "stack/js-nested-braces", "stack", "{" * 100_000 + "}" * 100_000, "module/js_syntax", "module/js_threw"
    ),
    refused_upload(
        "stack/js-nested-functions",
        "stack",
        "()=>" * 200_000 + "1",
        "module/js_syntax",
        "module/js_threw",
        "module/no_actor",
    ),
    survived(
        "stack/js-catches-its-overflow",
        "stack",
        "const f = () => { try { return f(); } catch { return 1; } }; return f();",
        lambda result: result == 1,
        limits=LONG,
    ),
)
