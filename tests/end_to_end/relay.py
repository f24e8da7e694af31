"""A guest that does what its caller writes: raw host calls and raw replies, which no SDK would send.

In an action's argument, a message or a path, `<<{'call':'now'}>>` makes that host call and settles with its answer (or
its number), `<|'error':{…}|>` settles with exactly that. `'` stands for a quote and `^` for a backslash, which could
not be written inside JSON text.
"""

from __future__ import annotations

from tests.isolate.guests import IMPORTS, wasm
from tests.modules.guests import with_manifest

__all__ = ["RELAY", "call", "reply"]


def call(text: str) -> str:
    return f"<<{_marked(text)}>>"


def reply(text: str) -> str:
    return f"<|{_marked(text)}|>"


def _marked(text: str) -> str:
    return text.replace('"', "'").replace("\\", "^")


def _data(at: int, text: str) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{escaped}")'


HEAD, RESULT, TAIL = '{"settled":[{"event":', ',"result":', '}],"pending":0}'

RELAY = with_manifest(
    wasm(f"""(module {IMPORTS}
  (memory (export "memory") 16)
  {_data(16, HEAD)} {_data(64, RESULT)} {_data(96, TAIL)}
  (global $out (mut i32) (i32.const 0))
  (func (export "isolate_alloc") (param i32) (result i32) (i32.const 1024))
  (func $put (param $at i32) (param $n i32)
    (memory.copy (global.get $out) (local.get $at) (local.get $n))
    (global.set $out (i32.add (global.get $out) (local.get $n))))
  (func $put1 (param $char i32)
    (i32.store8 (global.get $out) (local.get $char))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))
  ;; the place behind the first pair of these characters, or 0
  (func $find (param $at i32) (param $end i32) (param $a i32) (param $b i32) (result i32)
    (block $none (loop $next
      (br_if $none (i32.ge_u (i32.add (local.get $at) (i32.const 1)) (local.get $end)))
      (if (i32.and (i32.eq (i32.load8_u (local.get $at)) (local.get $a))
                   (i32.eq (i32.load8_u offset=1 (local.get $at)) (local.get $b)))
        (then (return (i32.add (local.get $at) (i32.const 2)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.const 0))
  ;; what stands there, with quotes and backslashes put back
  (func $unmark (param $at i32) (param $end i32)
    (local $char i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $char (i32.load8_u (local.get $at)))
      (if (i32.eq (local.get $char) (i32.const {ord("'")})) (then (local.set $char (i32.const {ord('"')}))))
      (if (i32.eq (local.get $char) (i32.const {ord("^")})) (then (local.set $char (i32.const 92))))
      (call $put1 (local.get $char))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))))
  (func (export "isolate_deliver") (param $p i32) (param $n i32) (result i64)
    (local $end i32) (local $at i32) (local $stop i32) (local $r i32)
    (local.set $end (i32.add (local.get $p) (local.get $n)))
    (global.set $out (i32.const 400000))
    (call $put (i32.const 16) (i32.const {len(HEAD)}))
    (local.set $at (i32.add (i32.const 2)
      (call $find (local.get $p) (local.get $end) (i32.const {ord("i")}) (i32.const {ord("d")}))))
    (block $digits (loop $next
      (br_if $digits (i32.gt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)) (i32.const 9)))
      (call $put1 (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.set $stop
      (call $find (local.get $at) (local.get $end) (i32.const {ord("<")}) (i32.const {ord("|")})))
    (if (local.get $stop) (then
      (call $put1 (i32.const {ord(",")}))
      (call $unmark (local.get $stop) (i32.sub
        (call $find (local.get $stop) (local.get $end) (i32.const {ord("|")}) (i32.const {ord(">")}))
        (i32.const 2)))))
    (local.set $stop
      (call $find (local.get $at) (local.get $end) (i32.const {ord("<")}) (i32.const {ord("<")})))
    (if (local.get $stop) (then
      (call $put (i32.const 64) (i32.const {len(RESULT)}))
      (local.set $at (global.get $out))
      (global.set $out (i32.const 200000))
      (call $unmark (local.get $stop) (i32.sub
        (call $find (local.get $stop) (local.get $end) (i32.const {ord(">")}) (i32.const {ord(">")}))
        (i32.const 2)))
      (local.set $r (call $host_call (i32.const 200000) (i32.sub (global.get $out) (i32.const 200000))
        (local.get $at) (i32.const 500000)))
      (global.set $out (local.get $at))
      (if (i32.lt_s (local.get $r) (i32.const 0))
        (then
          (call $put1 (i32.const {ord("-")}))
          (call $put1 (i32.sub (i32.const 48) (local.get $r))))
        (else (global.set $out (i32.add (local.get $at) (local.get $r)))))))
    (call $put (i32.const 96) (i32.const {len(TAIL)}))
    (i64.or (i64.shl (i64.const 400000) (i64.const 32))
            (i64.extend_i32_u (i32.sub (global.get $out) (i32.const 400000))))))"""),
    b'{"abi":1,"codec":"json","capabilities":["kv","state","alarm","socket","timer","sleep"]}',
)
