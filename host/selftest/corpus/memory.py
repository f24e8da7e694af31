"""Guests that want all the memory there is, linear or not, in one piece or in many."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.drives import action_fault, refused_upload, start_fault, survived, wasm_answers, wasm_fault
from host.selftest.guests import data, reply, wasm_guest

__all__ = ["CASES"]

MEMORY = "guest/memory"
MIB = 1024 * 1024
SMALL = {"memory": 16 * MIB, "turn_deadline": 5_000}
TAKEN = '{"settled":[{"event":2,"result":"refused"}],"pending":0}'

_bombs = [
    ("memory/js-array", "const kept = []; for (;;) kept.push(new Array(1000).fill(1.5));"),
    ("memory/js-buffers", "const kept = []; for (;;) kept.push(new Uint8Array(1000000));"),
    (
        "memory/js-string",
        "let s = 'x'; const kept = []; for (;;) { s += s + '!'; kept.push(s); if (s.length > 4e6) s = 'x'; }",
    ),
    ("memory/js-closures", "let f = () => 0; for (;;) { const g = f; f = () => g; }"),
    ("memory/js-map", "const m = new Map(); for (let i = 0;; i++) m.set('key' + i, { i });"),
    ("memory/js-bigint", "let n = 3n; for (;;) n *= n;"),
    ("memory/js-json", "let a = [1]; for (;;) { a = [a, a, a, a]; JSON.stringify(a); }"),
]


def _table() -> bytes:
    return wasm_guest(
        "(local.set $r (table.grow $t (ref.null func) (i32.const 9999999)))"
        f"(if (i32.eq (local.get $r) (i32.const -1)) (then {reply(62_000, TAKEN)})) unreachable",
        more="(table $t 1 funcref)" + data(62_000, TAKEN),
    )


CASES: tuple[Case, ...] = (
    *(
        action_fault(
            name, "memory", f"{body}", MEMORY, "guest/deadline", "internal/internal_error", limits=SMALL, keeps=False
        )
        for name, body in _bombs
    ),
    survived(
        "memory/js-huge-typed-array",
        "memory",
        "try { new Uint8Array(2 ** 31); return 'made'; } catch (e) { return e.constructor.name; }",
        lambda result: result in ("RangeError", "InternalError"),
        limits=SMALL,
    ),
    wasm_fault(
        "memory/wasm-grow",
        "memory",
        lambda: wasm_guest("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"),
        MEMORY,
        limits=SMALL,
        limit="memory",
    ),
    wasm_fault(
        "memory/wasm-load-outside",
        "memory",
        lambda: wasm_guest("(drop (i32.load (i32.const -4)))"),
        "guest/trap",
    ),
    start_fault(
        "memory/wasm-data-outside",
        "memory",
        lambda: wasm_guest("", more='(data (i32.const 0x7ffffff0) "outside")'),
        "guest/trap",
    ),
    refused_upload(
        "memory/wasm-4-gib-at-once",
        "memory",
        lambda: wasm_guest("", pages="65536 65536"),
        "module/bad_export",
        limit="memory",
    ),
    refused_upload(
        "memory/js-bomb-at-top-level",
        "memory",
        "const a = []; for (;;) a.push(new Uint8Array(1e6));",
        "module/js_threw",
    ),
    wasm_answers("memory/wasm-table-grow", "table_elements", _table, "refused"),
)
