"""Values: every tag both ways, and nothing malformed gets through."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError
from host.wire.values import (
    UNDEFINED,
    ArrayBuffer,
    BigInt,
    ValueSet,
    check_value,
    from_python,
    to_python,
)

SAFE = 2**53 - 1
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.integers(2**53, 2**300)
    | st.integers().map(BigInt)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | text.map(lambda tail: "$" + tail)
    | st.binary(max_size=20)
    | st.binary(max_size=20).map(ArrayBuffer)
    | st.just(UNDEFINED)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(text, inner, max_size=3)
        | st.lists(inner, max_size=2).map(lambda items: ValueSet(tuple(items)))
        | st.tuples(st.sampled_from(["$", "$$", "$Set", "$$BigInt", "a"]), inner).map(list)
    ),
    max_leaves=12,
)


@given(values)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    raw = from_python(value)
    check_value(raw)
    again = to_python(raw)
    assert again == value
    assert from_python(again) == raw


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'["$BigInt","-12"]', BigInt(-12)),
        (b'["$Uint8Array","AQI="]', b"\x01\x02"),
        (b'["$ArrayBuffer","AQI="]', ArrayBuffer(b"\x01\x02")),
        (b'["$Undefined",0]', UNDEFINED),
        (b'["$Set",[1,["$BigInt","1"]]]', ValueSet((1, BigInt(1)))),
        (b'["$$BigInt","1"]', ["$BigInt", "1"]),
        (b'["$$$x",["$Undefined",0]]', ["$$x", UNDEFINED]),
        (b'["$$",0]', ["$", 0]),
        (b'["$x","y","z"]', ["$x", "y", "z"]),
        (b'["$x"]', ["$x"]),
        (b'{"$BigInt":"1"}', {"$BigInt": "1"}),
        (b'["\\u0024BigInt","1"]', BigInt(1)),
    ],
)
def test_tags_and_escapes_mean_what_the_protocol_says(raw: bytes, value: Any) -> None:
    found = to_python(raw)
    assert found == value
    assert type(found) is type(value)


def test_kinds_are_kept_apart() -> None:
    assert type(to_python(from_python(BigInt(1)))) is BigInt
    assert type(to_python(from_python(1))) is int
    assert from_python(2**53) == b'["$BigInt","9007199254740992"]'
    assert from_python(True) == b"true"
    assert from_python({"b", "a"}) == b'["$Set",["a","b"]]'
    assert from_python(bytearray(b"\x01")) == b'["$Uint8Array","AQ=="]'
    assert from_python(["$x", b""]) == b'["$$x",["$Uint8Array",""]]'


@pytest.mark.parametrize(
    "raw",
    [
        b'["$BigInt","01"]',
        b'["$BigInt","1.0"]',
        b'["$BigInt",1]',
        b'["$BigInt","-0"]',
        b'["$BigInt","\xd9\xa1"]',
        b'["$BigInt","' + b"1" * 4001 + b'"]',
        b'["$Uint8Array","AQI"]',
        b'["$Uint8Array","AR=="]',
        b'["$Uint8Array","A-_="]',
        b'["$ArrayBuffer",[1]]',
        b'["$Undefined",1]',
        b'["$Undefined",false]',
        b'["$Set",{}]',
        b'["$Set",[["$BigInt","x"]]]',
        b'{"a":[["$Nope",0]]}',
        b'["$",0]',
        b'["\\u0024Nope",0]',
        b"[" * 33 + b"]" * 33,
        b'"\xff"',
        b'"\\ud800"',
        b"1e999",
        b"",
        b"nul",
        b"[1,]",
    ],
)
def test_a_malformed_value_is_refused(raw: bytes) -> None:
    for reader in (check_value, to_python):
        with pytest.raises(CallerError) as error:
            reader(raw)
        assert error.value.name == "request/invalid"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "\ud800", {"\udfff": 1}, {1: 2}, object(), deep(34), [1 << 20_000], 1j, [print]],
)
def test_what_a_value_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(CallerError):
        from_python(value)


def test_thirty_two_levels_can_be_carried() -> None:
    assert to_python(from_python(deep(32))) == deep(32)
