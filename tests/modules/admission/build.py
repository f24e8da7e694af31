"""Modules for the tests of admission, made section by section, so that they can be wrong in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import wasmtime

from host.isolate.config import build_config
from host.isolate.wasmbin import Section, join, sections, unsigned
from host.model.errors import TenantError
from host.model.limits import Limits
from host.modules.admission import survey
from tests.modules.guests import guest, wat, with_manifest

__all__ = ["GOOD", "RICH", "body_of", "changed", "compiles", "refused", "with_bodies", "with_code"]

TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG = range(1, 14)
ORDER = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, TAG, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)

GOOD = with_manifest(guest())

# A guest with every section and every proposal that is on.
RICH = with_manifest(
    wat("""(module
  (import "isolate" "host_call" (func $h (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "isolate_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)
  (table $t 3 funcref) (table $x 1 externref) (elem (table $t) (i32.const 0) func $a $b) (elem declare func $a)
  (elem $e func $b) (elem funcref (ref.func $a) (ref.null func))
  (global $g (export "g") (mut i32) (i32.const 5)) (global i64 (i64.const -7)) (global v128 (v128.const i64x2 0 0))
  (global f32 (f32.const 1)) (global f64 (f64.const 1)) (global funcref (ref.func $a))
  (data (i32.const 8) "abc") (data $p "passive")
  (func $a (param i32) (result i32) (local i64 f32 f32)
    (block (loop (if (local.get 0) (then (br 1)) (else (br_table 0 1 2 (i32.const 3))))))
    (memory.init $p (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $p)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)) (memory.copy (i32.const 0) (i32.const 0) (i32.const 1))
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
    (table.copy (i32.const 0) (i32.const 0) (i32.const 1)) (table.set $t (i32.const 0) (table.get $t (i32.const 1)))
    (drop (table.grow $t (ref.func $a) (i32.const 1))) (drop (table.size $t))
    (table.fill $t (i32.const 0) (ref.null func) (i32.const 1))
    (drop (i32.trunc_sat_f32_s (f32.const 1.5))) (drop (i32.extend8_s (i32.const -200000)))
    (drop (i64.load offset=70000 align=4 (i32.const 4))) (drop (v128.const i32x4 1 2 3 4))
    (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 1 2) (v128.const i64x2 3 4)))
    (drop (i32x4.extract_lane 2 (f32x4.sqrt (v128.load (i32.const 0)))))
    (drop (v128.load8_lane 3 (i32.const 0) (v128.const i64x2 0 0))) (drop (f64x2.abs (v128.const i64x2 0 0)))
    (drop (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 1)))
    (drop (ref.is_null (select (result funcref) (ref.null func) (ref.func $a) (i32.const 1))))
    (drop (memory.grow (memory.size))) (drop (f64.const 2)) (drop (i64.const 0x7fffffffffffffff))
    (call $h (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
  (func $b (result i32 i32) (block (result i32 i32) (i32.const 1) (i32.const 2)))
  (func $s) (start $s))""")
)

_engine = wasmtime.Engine(build_config("default"))


def compiles(wasm: bytes) -> bool:
    """What the compiler says of bytes that begin as a module."""
    try:
        wasmtime.Module.validate(_engine, wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


def refused(wasm: bytes, limits: Limits | None = None, by: Callable[[bytes, Limits], object] = survey) -> TenantError:
    with pytest.raises(TenantError) as caught:
        by(wasm, limits or Limits())
    assert caught.value.group == "module"
    return caught.value


def changed(base: bytes, parts: Mapping[int, bytes | None]) -> bytes:
    """`base` with the bodies of these sections, in their order; None leaves one out."""
    bodies: dict[int, bytes | None] = {number: body for number, body in sections(base) if number}
    bodies |= parts
    custom = [section for section in sections(base) if section.number == 0]
    made = [Section(number, body) for number in ORDER if (body := bodies.get(number)) is not None]
    return join(made + custom)


def body_of(base: bytes, number: int) -> bytes:
    return next(section.body for section in sections(base) if section.number == number)


def with_bodies(*bodies: bytes) -> bytes:
    """`GOOD` and more functions of the type of `isolate_alloc`, with these bodies."""
    count = unsigned(2 + len(bodies))
    functions = count + body_of(GOOD, FUNCTION)[1:] + bytes(len(bodies))
    code = count + body_of(GOOD, CODE)[1:] + b"".join(unsigned(len(body)) + body for body in bodies)
    return changed(GOOD, {FUNCTION: functions, CODE: code})


def with_code(code: bytes, locals_: bytes = b"\0") -> bytes:
    """`GOOD` and a function of these instructions, its `end` added."""
    return with_bodies(locals_ + code + b"\x0b")
