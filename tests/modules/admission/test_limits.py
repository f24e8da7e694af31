"""Every limit on a module: at it a module is admitted, just above it the refusal names limit, used and allowed."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from host.isolate.wasmbin import Section, join, sections, unsigned
from host.model.limits import LIMITS, Limits
from host.modules.admission import precheck, survey
from tests.modules.admission.build import (
    CODE,
    DATA,
    ELEMENT,
    EXPORT,
    FUNCTION,
    GLOBAL,
    GOOD,
    IMPORT,
    MEMORY,
    TABLE,
    TYPE,
    body_of,
    changed,
    compiles,
    refused,
    with_bodies,
    with_code,
)
from tests.modules.guests import guest, wat, with_manifest


def vector(number: int, count: int, entry: bytes) -> bytes:
    """`GOOD` with entries appended to the vector of a section, `count` in all."""
    body = body_of(GOOD, number) if number in {section.number for section in sections(GOOD)} else b"\0"
    return changed(GOOD, {number: unsigned(count) + body[1:] + entry * (count - body[0])})


def custom(count: int) -> bytes:
    return join([*sections(GOOD), *[Section(0, b"\x01x")] * (count - len(sections(GOOD)))])


def imports(count: int) -> bytes:
    entry = b"\x07isolate\x0binterrupted\0\0"
    types = b"\x01\x60\0\x01\x7f"
    base = wat('(module (import "isolate" "interrupted" (func (result i32))))')
    assert body_of(base, TYPE) == types
    many = changed(base, {IMPORT: unsigned(count) + entry * count})
    # the guest's own part behind: type 1 and 2, functions counted on from the imports
    alloc, deliver = unsigned(count), unsigned(count + 1)
    return with_manifest(
        changed(
            many,
            {
                TYPE: b"\x03\x60\0\x01\x7f\x60\x01\x7f\x01\x7f\x60\x02\x7f\x7f\x01\x7e",
                FUNCTION: b"\x02\x01\x02",
                MEMORY: b"\x01\0\x01",
                EXPORT: b"\x03\x06memory\x02\0\x0disolate_alloc\0" + alloc + b"\x0fisolate_deliver\0" + deliver,
                CODE: b"\x02\x04\0\x41\0\x0b\x04\0\x42\0\x0b",
            },
        )
    )


def exports(count: int) -> bytes:
    extra = b"".join(b"\x03%03d\0\0" % number for number in range(count - 3))
    return changed(GOOD, {EXPORT: unsigned(count) + body_of(GOOD, EXPORT)[1:] + extra})


def names(size: int) -> bytes:
    own = len("memory" + "isolate_alloc" + "isolate_deliver")
    return join([*sections(GOOD), Section(0, b"\x04name" + bytes(size - own))])


def manifest(size: int) -> bytes:
    return with_manifest(guest(), b'{"abi":1}'.ljust(size))


def values(count: int) -> bytes:
    entry = b"\x60\0" + unsigned(count) + b"\x7f" * count
    return changed(GOOD, {TYPE: b"\x03" + body_of(GOOD, TYPE)[1:] + entry})


def body(size: int) -> bytes:
    return with_bodies(b"\0\x41\0" + b"\x01" * (size - 4) + b"\x0b")


def elements(count: int) -> bytes:
    return changed(GOOD, {TABLE: b"\x01\x70\0\0", ELEMENT: b"\x01\x01\0" + unsigned(count) + bytes(count)})


def br_table(count: int) -> bytes:
    return with_code(b"\x41\0\x41\0\x0e" + unsigned(count) + bytes(count + 1))


def nested(depth: int) -> bytes:
    return with_code(b"\x03\x40" * depth + b"\x0b" * depth + b"\x41\0")


# limit -> (a module that uses exactly as much as it is told, whether the cheap half sees it)
CASES: dict[str, tuple[Callable[[int], bytes], bool]] = {
    "module": (lambda size: join([*sections(GOOD), Section(0, bytes(size - len(GOOD) - 5))]), True),
    "module_manifest": (manifest, True),
    "module_names": (names, True),
    "module_sections": (custom, True),
    "module_imports": (imports, True),
    "module_exports": (exports, True),
    "module_types": (lambda count: vector(TYPE, count, b"\x60\0\0"), True),
    "module_values": (values, True),
    "module_functions": (lambda count: with_bodies(*[b"\0\x41\0\x0b"] * (count - 2)), True),
    "module_globals": (lambda count: vector(GLOBAL, count, b"\x7f\0\x41\0\x0b"), True),
    "module_tables": (lambda count: vector(TABLE, count, b"\x70\0\0"), True),
    "table_elements": (lambda count: vector(TABLE, 1, b"\x70\0" + unsigned(count)), True),
    "memory": (lambda size: changed(GOOD, {MEMORY: b"\x01\0" + unsigned(-(-size // 65_536))}), True),
    "module_body": (body, False),
    "module_locals": (lambda count: with_code(b"\x41\0", b"\x01" + unsigned(count - 1) + b"\x7f"), False),
    "module_nesting": (nested, False),
    "module_br_table": (br_table, False),
    "module_elements": (elements, False),
    "module_segments": (lambda count: vector(DATA, count, b"\0\x41\0\x0b\0"), False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_module_at_the_limit_is_admitted_and_one_above_it_is_told_the_limit(name: str) -> None:
    make, cheap = CASES[name]
    allowed = Limits().as_dict()[name]
    module = make(allowed)
    survey(module, Limits())
    assert compiles(module)
    error = refused(make(allowed + 1))
    assert error.code == ("bad_export" if name == "memory" else "too_large")
    told = msgspec.json.decode(error.metadata or b"")
    used = allowed + 65_536 if name == "memory" else allowed + 1
    assert told == {"limit": name, "used": used, "allowed": allowed}
    assert error.message.startswith(f"{name}: {used} used, {allowed} allowed; ")
    if cheap:
        assert refused(make(allowed + 1), by=precheck).message == error.message


def test_every_limit_on_modules_has_a_case() -> None:
    named = {limit.name for limit in LIMITS if limit.name.startswith("module")}
    assert named <= CASES.keys()


def test_parameters_and_all_groups_of_locals_count_together() -> None:
    module = with_code(b"\x41\0", b"\x03\x02\x7f\0\x7e\x01\x7d")
    assert survey(module, Limits(module_locals=4)).most_locals == 4
    assert b'"used":4,"allowed":3' in (refused(module, Limits(module_locals=3)).metadata or b"")
    huge = with_code(b"\x41\0", b"\x02\xff\xff\xff\xff\x0f\x7f\xff\xff\xff\xff\x0f\x7f")
    assert b'"used":4294967296' in (refused(huge).metadata or b"")


def test_a_counts_vector_is_not_read_before_the_count_is_judged() -> None:
    for number, limit in ((TYPE, "module_types"), (FUNCTION, "module_functions"), (ELEMENT, "module_segments")):
        module = changed(GOOD, {number: b"\xff\xff\xff\xff\x0f"})
        assert limit.encode() in (refused(module).metadata or b"")


@pytest.mark.parametrize(
    ("bomb", "limit"),
    [
        (lambda: with_bodies(*[b"\0\x41\0\x0b"] * 100_000), "module_functions"),
        (lambda: with_code(b"\x03\x40\x0b" * 100_000 + b"\x41\0"), "module_body"),
        (lambda: with_code(b"\x03\x40" * 100_000 + b"\x0b" * 100_000 + b"\x41\0"), "module_body"),
        (lambda: with_code(b"\x03\x40" * 40_000 + b"\x0b" * 40_000 + b"\x41\0"), "module_nesting"),
        (lambda: join([*sections(GOOD), *[Section(0, b"\0")] * 1_000_000]), "module_sections"),
    ],
    ids=["functions", "loops", "nested loops", "deep", "sections"],
)
def test_a_bomb_is_refused_at_its_first_numbers(bomb: Callable[[], bytes], limit: str) -> None:
    module = bomb()
    began = time.process_time()
    error = refused(module)
    assert time.process_time() - began < 0.1
    assert f'"limit":"{limit}"'.encode() in (error.metadata or b"")


@pytest.mark.parametrize(
    "instructions",
    [b"\x02\x40\x0b", b"\xc0\x01", b"\xfd\x8e\x00", b"\x0e\x00\x00", b"\x20\x00\x1a", b"\xfc\x80\x80\x00"],
    ids=["blocks", "sign extension", "padded vectors", "br_table", "locals", "padded conversions"],
)
def test_four_mebibytes_of_code_take_a_bounded_time(instructions: bytes) -> None:
    size = 131_000
    module = with_bodies(*[b"\0" + instructions * (size // len(instructions)) + b"\x0b"] * 31)
    assert len(module) > 3_900_000
    began = time.process_time()
    survey(module, Limits())
    assert time.process_time() - began < 4


def test_the_cheap_half_is_quick_on_an_ordinary_module() -> None:
    module = with_bodies(*[b"\0\x41\0\x0b"] * 2_000)
    began = time.process_time()
    precheck(module, Limits())
    assert time.process_time() - began < 0.05
