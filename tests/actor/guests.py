"""Guests for these tests: a script of raw replies in WebAssembly, for what no honest SDK would say.

Turn n of a start plays step n (the last one again and again). Event ids count from 1 and every turn has one event, so
step n settles event n.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wasmtime import wat2wasm

__all__ = ["Step", "error", "raw", "scripted", "settle", "trap"]

_TABLE, _DATA, _IN, _OUT = 4_096, 8_192, 131_072, 196_608


@dataclass(frozen=True)
class Step:
    """What one turn does: perhaps a host call, whose answer goes between `head` and `tail`; then the reply or a
    trap."""

    head: bytes = b""
    call: bytes = b""
    tail: bytes = b""
    traps: bool = False


def raw(text: str) -> Step:
    return Step(text.encode())


def settle(event: int, *, call: dict[str, Any] | None = None, pending: int = 0) -> Step:
    """Settles an event; with a host call, its answer is the result."""
    end = f'}}],"pending":{pending}}}'.encode()
    if call is None:
        return Step(b'{"settled":[{"event":%d' % event + end)
    return Step(b'{"settled":[{"event":%d,"result":' % event, json.dumps(call).encode(), end)


def error(event: int, group: str, code: str, message: str = "no") -> Step:
    body = json.dumps({"group": group, "code": code, "message": message})
    return Step(b'{"settled":[{"event":%d,"error":%s}],"pending":0}' % (event, body.encode()))


trap = Step(traps=True)


def scripted(*steps: Step) -> bytes:
    """A module of kind wasm, codec json."""
    data, rows = b"", b""
    for step in steps:
        for part in (step.call, step.head, step.tail):
            rows += (_DATA + len(data)).to_bytes(4, "little")
            rows += (0xFFFF_FFFF if step.traps else len(part)).to_bytes(4, "little")
            data += part
    assert _DATA + len(data) < _IN
    return bytes(
        wat2wasm(f"""(module
  (import "isolate" "host_call" (func $host_call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 5)
  (data (i32.const {_TABLE}) "{_escaped(rows)}")
  (data (i32.const {_DATA}) "{_escaped(data)}")
  (global $turn (mut i32) (i32.const 0))
  (func (export "isolate_alloc") (param i32) (result i32) (i32.const {_IN}))
  (func (export "isolate_deliver") (param i32 i32) (result i64)
    (local $row i32) (local $n i32) (local $at i32)
    (local.set $row (i32.add (i32.const {_TABLE}) (i32.mul (global.get $turn) (i32.const 24))))
    (if (i32.lt_u (global.get $turn) (i32.const {len(steps) - 1}))
      (then (global.set $turn (i32.add (global.get $turn) (i32.const 1)))))
    (if (i32.eq (i32.load offset=4 (local.get $row)) (i32.const -1)) (then (unreachable)))
    (local.set $n (i32.load offset=12 (local.get $row)))
    (local.set $at (i32.add (i32.const {_OUT}) (local.get $n)))
    (memory.copy (i32.const {_OUT}) (i32.load offset=8 (local.get $row)) (local.get $n))
    (if (i32.load offset=4 (local.get $row))
      (then
        (local.set $n (call $host_call (i32.load (local.get $row)) (i32.load offset=4 (local.get $row))
          (local.get $at) (i32.const 60000)))
        (if (i32.lt_s (local.get $n) (i32.const 0)) (then (unreachable)))
        (local.set $at (i32.add (local.get $at) (local.get $n)))))
    (local.set $n (i32.load offset=20 (local.get $row)))
    (memory.copy (local.get $at) (i32.load offset=16 (local.get $row)) (local.get $n))
    (i64.or (i64.const {_OUT << 32})
      (i64.extend_i32_u (i32.sub (i32.add (local.get $at) (local.get $n)) (i32.const {_OUT}))))))""")
    )


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)
