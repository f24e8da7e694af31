"""Pre-initialisation: an instance of the image begins where the booted one stopped."""

from __future__ import annotations

import pytest

from host.isolate.engine import Engine
from host.isolate.image import build_js_image
from host.isolate.isolate import Isolate
from host.isolate.preinit import bake, export_globals
from host.isolate.wasmbin import sections
from host.model.errors import InternalError, TenantError
from host.model.limits import Limits
from tests.isolate.guests import Host, wasm

# An "engine" of forty lines: boot remembers its stack size, the prelude is kept in memory, every turn answers with it.
ENGINE = """(module
  (import "isolate" "host_call" (func $host_call (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (global $started (mut i32) (i32.const 0))
  (global $stack (mut i64) (i64.const -1))
  (global $half (mut f32) (f32.const 1))
  (global $double (mut f64) (f64.const 1))
  (global $length (mut i32) (i32.const 0))
  (global $constant i32 (i32.const 4096))
  (data (i32.const 8) "{\\22ok\\22:null}")
  (data (i32.const 64) "{\\22error\\22:\\22no\\22}")
  (func $begin (global.set $started (i32.add (global.get $started) (i32.const 1))))
  (start $begin)
  (func (export "_initialize") (global.set $started (i32.add (global.get $started) (i32.const 100))))
  (func $pack (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (func (export "isolate_alloc") (param i32) (result i32) (i32.const 70000))
  (func (export "boot") (param $stack i32) (param $heap i32) (result i32)
    (if (i32.lt_s (memory.grow (i32.const 2)) (i32.const 0)) (then (return (i32.const 1))))
    (global.set $stack (i64.extend_i32_u (local.get $stack)))
    (global.set $half (f32.const 0.5)) (global.set $double (f64.const -2.25))
    (drop (call $random (i32.const 2048) (i32.const 8)))
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 2056)))
    (i32.ne (call $host_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const -2)))
  (func (export "prelude") (param $p i32) (param $n i32) (result i64)
    (if (i32.eqz (local.get $n)) (then (return (call $pack (i32.const 64) (i32.const 14)))))
    (if (i32.eq (local.get $n) (i32.const 1)) (then (unreachable)))
    (memory.copy (i32.const 140000) (local.get $p) (local.get $n))
    (global.set $length (local.get $n))
    (call $pack (i32.const 8) (i32.const 11)))
  (func (export "load") (param i32 i32) (result i64) (i64.const 0))
  (func (export "reseed") (param i64))
  (func (export "heap_used") (result i32) (i32.const 0))
  (func (export "gc"))
  (func (export "isolate_deliver") (param $p i32) (param $n i32) (result i64)
    (i32.store (i32.const 3000) (global.get $started))
    (i64.store (i32.const 3004) (global.get $stack))
    (f32.store (i32.const 3012) (global.get $half))
    (f64.store (i32.const 3016) (global.get $double))
    (memory.copy (i32.const 3024) (i32.const 140000) (global.get $length))
    (call $pack (i32.const 3000) (i32.add (i32.const 24) (global.get $length)))))"""

BOOTED = (
    (101).to_bytes(4, "little")
    + (512 * 1024).to_bytes(8, "little")
    + b"\0\0\0\x3f"
    + b"\0\0\0\0\0\0\x02\xc0"
    + b"var sdk = 1;"
)


def test_an_image_begins_booted_with_its_prelude_and_its_globals(one_engine: Engine) -> None:
    image = build_js_image(one_engine, wasm(ENGINE), b"var sdk = 1;")
    code = one_engine.compile(image)
    code.check_abi("js")
    isolate = Isolate(code, Limits(), Host())
    try:
        assert isolate.deliver(b"") == BOOTED
        assert isolate.memory_bytes == 3 * 65_536
    finally:
        isolate.close()


def test_an_image_is_a_function_of_its_inputs(one_engine: Engine, dense_engine: Engine) -> None:
    engine_wasm = wasm(ENGINE)
    image = build_js_image(one_engine, engine_wasm, b"prelude")
    assert build_js_image(dense_engine, engine_wasm, b"prelude") == image
    assert build_js_image(one_engine, engine_wasm, b"another") != image
    assert build_js_image(one_engine, engine_wasm, b"prelude", stack=1024) != image


def test_what_ran_once_is_left_out_of_the_image(one_engine: Engine) -> None:
    image = build_js_image(one_engine, wasm(ENGINE), b"prelude")
    assert 8 not in [number for number, _ in sections(image)]
    assert "_initialize" not in {export.name for export in one_engine.compile(image).module.exports}
    assert b"isolate.global." not in image


@pytest.mark.parametrize("prelude", [b"", b"x"])
def test_a_prelude_that_fails_or_traps_is_an_internal_error(one_engine: Engine, prelude: bytes) -> None:
    with pytest.raises(InternalError) as caught:
        build_js_image(one_engine, wasm(ENGINE), prelude)
    assert "no" in (caught.value.detail or "") or "unreachable" in (caught.value.detail or "")


def test_an_engine_that_does_not_boot_is_an_internal_error(one_engine: Engine) -> None:
    broken = ENGINE.replace("(i32.const -2)))", "(i32.const -1)))")
    with pytest.raises(InternalError) as caught:
        build_js_image(one_engine, wasm(broken), b"prelude")
    assert "did not boot" in (caught.value.detail or "")


def test_a_module_that_is_no_engine_is_an_internal_error(one_engine: Engine) -> None:
    with pytest.raises(InternalError):
        build_js_image(one_engine, wasm("(module)"), b"prelude")


@pytest.mark.parametrize(
    "module",
    [
        '(module (import "a" "b" (global (mut i32))) (memory 1))',
        '(module (import "a" "b" (memory 1)))',
        "(module (memory 1) (global (mut externref) (ref.null extern)))",
        '(module (memory 1) (data "passive"))',
    ],
)
def test_what_cannot_be_captured_is_refused(module: str) -> None:
    binary = wasm(module)
    with pytest.raises(TenantError) as caught:
        bake(export_globals(binary)[0], bytes(65_536), {})
    assert caught.value.name == "module/malformed"


def test_only_pages_that_are_not_zero_become_data(one_engine: Engine) -> None:
    memory = bytearray(4 * 65_536)
    memory[5_000] = memory[200_000] = 7
    baked = bake(wasm('(module (memory (export "memory") 1))'), bytes(memory), {})
    assert len(baked) < 3 * 4_096
    one_engine.compile(baked)
