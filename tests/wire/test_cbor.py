"""CBOR: Values both ways, generous to other writers, hard on claims and references."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError
from host.wire.cbor import MAX_ITEMS, cbor_to_value, dumps, value_to_cbor
from host.wire.values import BigInt, check_value, from_python, to_python
from tests.wire.test_values import values


@given(values)
def test_every_value_survives_cbor(value: Any) -> None:
    raw = from_python(value)
    assert to_python(cbor_to_value(value_to_cbor(raw))) == value


@pytest.mark.parametrize(
    ("item", "raw"),
    [
        (b"\x01\x02", b'["$Uint8Array","AQI="]'),
        (cbor2.CBORTag(64, b"\x01"), b'["$Uint8Array","AQ=="]'),
        (2**60, b'["$BigInt","1152921504606846976"]'),
        (-(2**70), b'["$BigInt","-1180591620717411303424"]'),
        (cbor2.undefined, b'["$Undefined",0]'),
        (cbor2.CBORTag(258, [3, [1]]), b'["$Set",[3,[1]]]'),
        ({"a": [1, 2.5, None, True]}, b'{"a":[1,2.5,null,true]}'),
        (["$BigInt", "7"], b'["$BigInt","7"]'),
        (["$$x", 1], b'["$$x",1]'),
        (cbor2.CBORTag(55799, {"a": [1]}), b'{"a":[1]}'),
        # a date is the text that JSON has for it
        (cbor2.CBORTag(1, 86_400), b'"1970-01-02T00:00:00.000Z"'),
        (cbor2.CBORTag(1, -0.5), b'"1969-12-31T23:59:59.500Z"'),
        (cbor2.CBORTag(1, 253_402_300_799.999), b'"9999-12-31T23:59:59.999Z"'),
        (cbor2.CBORTag(0, "2024-06-05T04:03:02Z"), b'"2024-06-05T04:03:02Z"'),
    ],
)
def test_native_forms_become_tags(item: Any, raw: bytes) -> None:
    assert cbor_to_value(cbor2.dumps(item)) == raw


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        ("1b0000000000000001", b'["$BigInt","1"]'),  # eight bytes are a BigInt, whatever they hold
        ("3b0000000000000000", b'["$BigInt","-1"]'),
        ("a16161" + "1b00000000ffffffff", b'{"a":["$BigInt","4294967295"]}'),
        ("c24101", b'["$BigInt","1"]'),
        ("1affffffff", b"4294967295"),
        ("3affffffff", b"-4294967296"),
        ("fb4278bcfe56800000", b"1700000000000"),  # a whole number that no four bytes hold
        ("fb4000000000000000", b"2.0"),
        ("fb4340000000000000", b"9007199254740992.0"),
        ("491b00000000000001ff", b'["$Uint8Array","GwAAAAAAAAH/"]'),
    ],
)
def test_numbers_are_read_as_javascript_writes_them(data: str, raw: bytes) -> None:
    assert cbor_to_value(bytes.fromhex(data)) == raw


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"4294967295", "1affffffff"),
        (b"4294967296", "fb41f0000000000000"),
        (b"[-4294967296,-4294967297]", "823affffffff" + "fbc1f0000000100000"),
        (b'{"a":1700000000000}', "a16161fb4278bcfe56800000"),
    ],
)
def test_numbers_are_written_so_that_javascript_reads_numbers(raw: bytes, data: str) -> None:
    assert value_to_cbor(raw).hex() == data


def test_a_number_that_no_float_holds_is_written_all_the_same() -> None:
    assert value_to_cbor(b"1" + b"0" * 400).startswith(b"\xc2")


def test_indefinite_lengths_are_read() -> None:
    assert cbor_to_value(bytes.fromhex("9f01bf616102ff5f41014102ffff")) == b'[1,{"a":2},["$Uint8Array","AQI="]]'


def test_documents_of_our_own_use_the_same_tags() -> None:
    assert cbor2.loads(dumps({"n": BigInt(1), "b": b"\x01"})) == {
        "n": ["$BigInt", "1"],
        "b": ["$Uint8Array", "AQ=="],
    }


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0102",  # bytes left over
        "81",  # cut off
        "9b7fffffffffffffff",  # lengths that lie
        "9affffffff",
        "5b7fffffffffffffff",
        "7b00000000ffffffff",
        "bb7fffffffffffffff",
        "81" * 33 + "01",  # too deep
        "d90102" * 40 + "01",
        "c2" * 40 + "4101",
        "9f" * 40,
        "d81c81d81d00",  # references: cyclic ones, and ones that expand
        "d9010082d81900d81900",
        "82d81c6161d81d00",
        "c1f5",  # a date that is none
        "c16161",
        "c001",
        "c1fb7ff8000000000000",
        "c1fb43abc16d674ec800",  # one in the year 31,688,738,506
        "c11bffffffffffffffff",
        "c482200a",  # no Value is a fraction, an expression
        "d82363612e62",
        "d83763616161",
        "d9ffff00",  # an unknown tag
        "a10102",  # keys that are no text
        "a1816100",
        "a2616101616102",  # one key twice
        "61ff",  # not UTF-8
        "63eda080",
        "fb7ff8000000000000",  # NaN
        "f97c00",
        "f0",  # an unassigned simple value
        "82642462616400",  # an unknown tag of ours
        "826724426967496e746178",
        "d84001",  # a typed array that is none
        "d9010201",  # a set that is none
    ],
)
def test_what_could_hurt_is_refused(data: str) -> None:
    with pytest.raises(CallerError) as error:
        cbor_to_value(bytes.fromhex(data))
    assert error.value.name == "request/invalid"


@pytest.mark.parametrize("inner", ["05", "80", "4101", "f7", "1b0000000000000001", "d9010280"])
def test_what_is_let_through_is_no_deeper_than_json_may_be(inner: str) -> None:
    for depth in range(29, 34):
        try:
            raw = cbor_to_value(b"\x81" * depth + bytes.fromhex(inner))
        except CallerError:
            continue
        check_value(raw)
    with pytest.raises(CallerError):
        cbor_to_value(b"\x81" * 33 + bytes.fromhex(inner))


def test_a_number_of_a_million_bits_is_refused() -> None:
    with pytest.raises(CallerError):
        cbor_to_value(b"\xc2\x5a" + (125_000).to_bytes(4, "big") + b"\xff" * 125_000)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_clean_error(data: bytes) -> None:
    try:
        to_python(cbor_to_value(data))
        name = "request/invalid"
    except CallerError as error:
        name = error.name
    assert name == "request/invalid"


def array(unit: bytes, count: int) -> bytes:
    return b"\x9a" + count.to_bytes(4, "big") + unit * count


@pytest.mark.parametrize("unit", [b"\x80", b"\xa0", b"\x00", b"\x60", b"\x41\x80", b"\x18\x80", b"\xf9\x3c\x00"])
def test_the_number_of_items_is_bounded(unit: bytes) -> None:
    within, beyond = array(unit, MAX_ITEMS - 1), array(unit, MAX_ITEMS)
    cbor_to_value(within)
    with pytest.raises(CallerError, match="262144 items"):
        cbor_to_value(beyond)


def test_what_strings_hold_is_no_item() -> None:
    assert cbor_to_value(b"\x5a" + (2**20).to_bytes(4, "big") + b"\x80" * 2**20).startswith(b'["$Uint8Array","gICA')
    assert len(cbor_to_value(b"\x5f" + (b"\x59\x80\x00" + b"\x80" * 2**15) * 32 + b"\xff")) > 2**20


HOSTILE = {
    "an array of four billion": b"\x9a\xff\xff\xff\xff",
    "arrays of millions within each other": b"\x9a\x00\xff\xff\xff" * 30,
    "a map of four billion": b"\xba\xff\xff\xff\xff",
    "bytes of two gibibytes": b"\x5a\x7f\xff\xff\xff",
    "text of half the address space": b"\x7b\x0f\xff\xff\xff\xff\xff\xff\xff",
    "two million chunks": b"\x5f" + b"\x41a" * 2**17 + b"\xff",
    "keys that collide": b"\xb9\x1f\x40"
    + b"".join(b"\xc2\x4a" + ((2**61 - 1) * (2**18 + i)).to_bytes(10, "big") + b"\x00" for i in range(8_000)),
    "a number of a megabyte": b"\xc2\x5a\x00\x10\x00\x00" + b"\xff" * 2**20,
    "four million empty arrays": array(b"\x80", 2**22 - 5),
    "four million empty maps in an endless array": b"\x9f" + b"\xa0" * (2**22 - 2),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_claim_costs_neither_time_nor_memory(data: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()
    with contextlib.suppress(CallerError):
        cbor_to_value(data)
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2
    assert peak < 64 * 2**20
