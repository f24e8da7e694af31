"""Admission by type: only what matches isolate ABI 1 exactly may ever be instantiated."""

from __future__ import annotations

import pytest

from host.isolate.engine import Engine
from host.isolate.isolate import Isolate
from host.model.errors import TenantError
from host.model.limits import Limits
from tests.isolate.guests import ECHO, Host, guest, wasm

MEMORY = '(memory (export "memory") 1)'
ALLOC = '(func (export "isolate_alloc") (param i32) (result i32) i32.const 0)'
DELIVER = '(func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)'


def refused(engine: Engine, *parts: str) -> TenantError:
    code = engine.compile(wasm(f"(module {' '.join(parts)})"))
    with pytest.raises(TenantError) as caught:
        code.check_abi()
    with pytest.raises(TenantError):
        Isolate(code, Limits(), Host())
    return caught.value


@pytest.mark.parametrize(
    ("parts", "named", "found"),
    [
        ((ALLOC, DELIVER), "memory", "nothing"),
        ((MEMORY, DELIVER), "isolate_alloc", "nothing"),
        ((MEMORY, ALLOC), "isolate_deliver", "nothing"),
        ((MEMORY, DELIVER, '(func (export "isolate_alloc") (result i32) i32.const 0)'), "isolate_alloc", "() -> (i32)"),
        (
            (MEMORY, DELIVER, '(func (export "isolate_alloc") (param i64) (result i32) i32.const 0)'),
            "isolate_alloc",
            "(i64) -> (i32)",
        ),
        (
            (MEMORY, ALLOC, '(func (export "isolate_deliver") (param i32 i32) (result i32) i32.const 0)'),
            "isolate_deliver",
            "(i32, i32) -> (i32)",
        ),
        ((MEMORY, ALLOC, '(global (export "isolate_deliver") i32 (i32.const 0))'), "isolate_deliver", "a global"),
        ((ALLOC, DELIVER, '(table (export "memory") 1 funcref)'), "memory", "a table"),
        (
            (MEMORY, ALLOC, DELIVER, '(func (export "_initialize") (param i32))'),
            "_initialize",
            "(i32) -> ()",
        ),
    ],
)
def test_rule_8_a_missing_or_mistyped_export_is_refused(
    one_engine: Engine, parts: tuple[str, ...], named: str, found: str
) -> None:
    error = refused(one_engine, *parts)
    assert error.name == "module/bad_export"
    assert repr(named) in error.message
    assert found in error.message
    assert "expected" in error.message


@pytest.mark.parametrize(
    ("imported", "shown"),
    [
        ('(import "env" "abort" (func))', "env.abort"),
        ('(import "isolate" "host_fork" (func))', "isolate.host_fork"),
        ('(import "wasi_snapshot_preview1" "path_open" (func))', "wasi_snapshot_preview1.path_open"),
        ('(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))', "wasi_unstable.fd_write"),
        ('(import "isolate" "host_call" (memory 1))', "isolate.host_call"),
        ('(import "env" "g" (global i32))', "env.g"),
        ('(import "" "" (func))', "."),
        ('(import "isolate" "host_call" (func (param i32 i32 i32) (result i32)))', "isolate.host_call"),
        ('(import "isolate" "interrupted" (func (result i64)))', "isolate.interrupted"),
        ('(import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i32 i32 i32) (result i32)))', "fd_seek"),
    ],
)
def test_rule_8_an_import_that_is_not_offered_or_mistyped_is_refused(
    one_engine: Engine, imported: str, shown: str
) -> None:
    local = "" if "(memory 1)" in imported else MEMORY
    exported = '(export "memory" (memory 0))' if not local else ""
    error = refused(one_engine, imported, local, exported, ALLOC, DELIVER)
    assert error.name == "module/bad_import"
    assert shown in error.message


def test_the_engines_extra_exports_are_required_for_kind_js_only(one_engine: Engine) -> None:
    code = one_engine.compile(ECHO)
    code.check_abi()
    assert code.kind == "wasm"
    with pytest.raises(TenantError) as caught:
        code.check_abi("js")
    assert "'boot'" in caught.value.message
    assert code.kind == "wasm"


def test_a_tenants_export_by_the_name_of_an_extra_is_never_called(one_engine: Engine) -> None:
    module = guest("i64.const 0", more='(func (export "load") (param f64 f64) (result f64) (f64.const 0))')
    isolate = Isolate(one_engine.compile(module), Limits(), Host())
    with pytest.raises(TenantError):
        isolate.load(b"")
    isolate.close()


def test_other_exports_of_any_type_are_fine(one_engine: Engine) -> None:
    more = """(global (export "g") (mut f64) (f64.const 0)) (table (export "t") 1 externref)
        (func (export "f") (param v128))"""
    one_engine.compile(guest("i64.const 0", more=more)).check_abi()
