"""What is no limit: the frame, the ABI on the bytes, the manifest, and the proposals that are off."""

from __future__ import annotations

import pytest

from host.isolate.wasmbin import Section, join, sections
from host.model.limits import Limits
from host.modules.admission import precheck, survey
from host.modules.admission.refusals import OFF
from tests.modules.admission.build import (
    CODE,
    DATA,
    DATA_COUNT,
    ELEMENT,
    EXPORT,
    FUNCTION,
    GLOBAL,
    GOOD,
    IMPORT,
    MEMORY,
    RICH,
    START,
    TABLE,
    TAG,
    TYPE,
    body_of,
    changed,
    compiles,
    refused,
    with_bodies,
    with_code,
)
from tests.modules.guests import guest, wat, with_manifest

TYPES = body_of(GOOD, TYPE)[1:]


@pytest.mark.parametrize(
    ("proposal", "module"),
    [
        ("custom-page-sizes", changed(GOOD, {MEMORY: b"\x01\x08\x01\0"})),
        ("threads", changed(GOOD, {MEMORY: b"\x01\x03\x01\x01"})),
        ("threads", with_code(b"\xfe\x03\x00")),
        ("memory64", changed(GOOD, {MEMORY: b"\x01\x04\x01"})),
        ("memory64", changed(GOOD, {TABLE: b"\x01\x70\x04\x01"})),
        ("multi-memory", changed(GOOD, {MEMORY: b"\x02\0\x01\0\x01"})),
        ("multi-memory", changed(GOOD, {DATA: b"\x01\x02\x01\x41\0\x0b\0"})),
        ("exceptions", changed(GOOD, {TAG: b"\x01\0\0"})),
        ("exceptions", changed(GOOD, {IMPORT: b"\x01\x01a\x01b\x04\0\0"})),
        ("exceptions", changed(GOOD, {EXPORT: b"\x01\x01a\x04\0"})),
        ("exceptions", with_code(b"\x1f\x40\0\x0b")),
        ("exceptions", with_code(b"\x06\x40\x19\x0b")),
        ("exceptions", with_bodies(b"\x01\x01\x69\x0b")),
        ("extended-const", changed(GOOD, {GLOBAL: b"\x01\x7f\0\x41\x01\x41\x02\x6a\x0b"})),
        ("function-references", changed(GOOD, {TYPE: b"\x03" + TYPES + b"\x60\x01\x64\x70\0"})),
        ("function-references", changed(GOOD, {TABLE: b"\x01\x40\0\x70\0\x01\xd0\x70\x0b"})),
        ("function-references", with_code(b"\x14\0")),
        ("gc", changed(GOOD, {TYPE: b"\x03" + TYPES + b"\x5f\0"})),
        ("gc", changed(GOOD, {TYPE: b"\x03" + TYPES + b"\x4e\x01\x60\0\0"})),
        ("gc", changed(GOOD, {GLOBAL: b"\x01\x6e\0\xd0\x6e\x0b"})),
        ("gc", changed(GOOD, {GLOBAL: b"\x01\x6f\0\xfb\x1c\x0b"})),
        ("gc", with_code(b"\xfb\x1c")),
        ("gc", with_code(b"\x02\x6d\x0b")),
        ("memory-control", with_code(b"\xfc\x12\0")),
        ("relaxed-simd", with_code(b"\xfd\x80\x02")),
        ("shared-everything", changed(GOOD, {GLOBAL: b"\x01\x7f\x02\x41\0\x0b"})),
        ("stack-switching", with_code(b"\xe0\0")),
        ("stack-switching", changed(GOOD, {TYPE: b"\x03" + TYPES + b"\x5d\0"})),
        ("tail-call", with_code(b"\x12\0")),
        ("tail-call", with_code(b"\x13\0\0")),
        ("wide-arithmetic", with_code(b"\xfc\x13")),
    ],
)
def test_a_proposal_that_is_off_is_refused_by_its_name(proposal: str, module: bytes) -> None:
    assert proposal in OFF
    error = refused(module)
    assert error.code == "malformed"
    assert error.metadata == b'{"proposal":"%s"}' % proposal.encode()
    assert f"the proposal {proposal!r} is not offered" in error.message
    if proposal != "extended-const":  # the only one of them that the compiler cannot be told to refuse
        assert not compiles(module)


def _swapped(base: bytes, first: int, second: int) -> bytes:
    parts = sections(base)
    at = {section.number: index for index, section in enumerate(parts)}
    parts[at[first]], parts[at[second]] = parts[at[second]], parts[at[first]]
    return join(parts)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (_swapped(RICH, TABLE, MEMORY), "out of order"),
        (_swapped(GOOD, TYPE, FUNCTION), "no type 0"),
        (_swapped(RICH, DATA_COUNT, CODE), "out of order"),
        (join([*sections(GOOD)[:2], *sections(GOOD)[1:]]), "twice"),
        (join([*sections(GOOD), Section(14, b"")]), "no section 14"),
        (changed(GOOD, {MEMORY: b"\x01\0\x01\0"}), "left over"),
        (changed(GOOD, {START: b"\x07"}), "start function"),
        (changed(GOOD, {START: b"\x00"}), "start function"),
        (changed(GOOD, {DATA_COUNT: b"\x01"}), "announced"),
        (changed(GOOD, {FUNCTION: b"\x03\0\x01\0"}), "have a body"),
        (changed(GOOD, {FUNCTION: b"\x02\0\x09"}), "no type 9"),
        (changed(GOOD, {CODE: None}), "have a body"),
        (changed(GOOD, {CODE: body_of(GOOD, CODE) + b"\0"}), "follow the last body"),
        (changed(GOOD, {MEMORY: b"\x01\x01\x02\x01"}), "below its minimum"),
        (changed(GOOD, {MEMORY: b"\x01\0\x81\x80\x04"}), "65536 pages"),
        (changed(GOOD, {TABLE: b"\x01\x70\x01\0\x80\x80\x80\x80\x10"}), "elements"),
        (changed(GOOD, {EXPORT: body_of(GOOD, EXPORT)[:-1] + b"\x63"}), "names a function 99"),
        (changed(GOOD, {EXPORT: b"\x02\x01a\0\0\x01a\0\0"}), "two exports are called 'a'"),
        (with_bodies(b"\0\x41\0\x0b\x0b"), "follow the end"),
        (with_bodies(b"\0\x02\x40\x41\0\x0b"), "without `end`"),
        (with_bodies(b"\0"), "without `end`"),
        (with_bodies(b"\x01", b"\x7f"), "among its locals"),
        (with_bodies(b""), "in the middle of a section"),
        (with_code(b"\x41\xff\xff\xff\xff\x4f"), "immediates"),
        (with_code(b"\x42" + b"\x80" * 9 + b"\x01"), "immediates"),
        (with_code(b"\x20\x80\x80\x80\x80\x10"), "immediates"),
        (with_code(b"\x28\x20\0"), "immediates"),
        (with_code(b"\x3f\x01"), "immediates"),
        (with_code(b"\x27"), "no instruction 0x27"),
        (with_code(b"\xfd\xff\x03"), "no instruction 0xfd 511"),
        (with_code(b"\x02\x80\x7f\x0b"), "a type that is none"),
        (with_code(b"\x0e\xff\x01\0"), "br_table"),
        (changed(GOOD, {ELEMENT: b"\x01\x08\0"}), "flags"),
        (changed(GOOD, {DATA: b"\x01\x03\0"}), "flags"),
        (changed(GOOD, {DATA: b"\x01\x01\x7f"}), "announced"),
    ],
)
def test_bytes_that_do_not_add_up_are_malformed(module: bytes, says: str) -> None:
    error = refused(module)
    assert (error.code, error.metadata) == ("malformed", None)
    assert says in error.message
    assert not compiles(module)


def test_padding_within_the_width_of_a_number_is_what_linkers_write() -> None:
    module = with_code(b"\x41\x80\x80\x80\x80\x00\x1a\x20\x80\x80\x80\x80\x00\x28\x82\x80\x80\x80\x00\x80\x80\x00")
    assert compiles(module)
    assert survey(module, Limits()).functions == 3


def test_a_flaw_in_a_body_is_told_with_its_function() -> None:
    assert "(function 3)" in refused(with_bodies(b"\0\x41\0\x0b", b"\0\x27\x0b")).message


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('(import "env" "f" (func))', "bad_import", "'env.f': found a function () -> (), expected none"),
        ('(import "isolate" "host_call" (func))', "bad_import", "expected a function (i32, i32, i32, i32) -> (i32)"),
        ('(import "isolate" "host_call" (func (param v128)))', "bad_import", "found a function (v128) -> ()"),
        ('(import "isolate" "host_call" (global i32))', "bad_import", "found a global"),
        ('(import "env" "memory" (memory 1))', "bad_import", "found a memory"),
        ('(import "env" "t" (table 1 funcref))', "bad_import", "found a table"),
    ],
)
def test_an_import_is_one_of_ours_with_exactly_its_type(text: str, code: str, says: str) -> None:
    module = with_manifest(wat(f"(module {text})"))
    error = refused(module, by=precheck)
    assert error.code == code
    assert says in error.message


MEMORY_TEXT = '(memory (export "memory") 1)'
ALLOC = '(func (export "isolate_alloc") (param i32) (result i32) i32.const 0)'
DELIVER = '(func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)'


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((), "'isolate_alloc': found nothing"),
        ((ALLOC, DELIVER), "'memory': found nothing"),
        ((MEMORY_TEXT, DELIVER), "'isolate_alloc': found nothing"),
        ((MEMORY_TEXT, ALLOC), "'isolate_deliver': found nothing"),
        ((MEMORY_TEXT, DELIVER, '(func (export "isolate_alloc") (param v128))'), "found a function (v128) -> ()"),
        ((MEMORY_TEXT, DELIVER, '(func (export "isolate_alloc") (param i64) (result i32) i32.const 0)'), "(i64)"),
        ((MEMORY_TEXT, ALLOC, '(global (export "isolate_deliver") i32 (i32.const 0))'), "found a global"),
        ((ALLOC, DELIVER, '(table (export "memory") 1 funcref)'), "'memory': found a table"),
        ((MEMORY_TEXT, ALLOC, DELIVER, '(func (export "_initialize") (param i32))'), "'_initialize'"),
    ],
)
def test_an_export_of_the_abi_is_there_with_exactly_its_type(parts: tuple[str, ...], says: str) -> None:
    error = refused(with_manifest(wat(f"(module {' '.join(parts)})")), by=precheck)
    assert error.code == "bad_export"
    assert says in error.message


def test_other_exports_may_have_any_type() -> None:
    more = """(global (export "g") (mut f64) (f64.const 0)) (table (export "t") 1 externref)
        (func (export "f") (param v128)) (func (export "_initialize"))"""
    shown = {each.name: each.type for each in survey(with_manifest(guest(more=more)), Limits()).exports}
    assert (shown["g"], shown["t"], shown["f"]) == ("mut f64", "externref 1..", "(v128) -> ()")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (guest(), "no custom section"),
        (with_manifest(GOOD), "two sections"),
        (with_manifest(guest(), b'{"abi":1,"abi":1}'), "twice"),
        (with_manifest(guest(), b'{"abi":1,"capabilities":["kv"],"x":{"a":1,"a":2}}'), "twice"),
        (with_manifest(guest(), b'{"abi":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"), "not a manifest"),
        (with_manifest(guest(), b'{"abi":1,"memory_pages":0}'), "1 to 1024"),
    ],
)
def test_a_manifest_is_there_once_and_can_be_read_in_one_way(module: bytes, says: str) -> None:
    error = refused(module, by=precheck)
    assert error.code == "bad_manifest"
    assert says in error.message
