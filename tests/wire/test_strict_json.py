"""Strict JSON: what no decoder may see, and what the control plane refuses besides."""

from __future__ import annotations

import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError
from host.wire.strict_json import MAX_CONTAINERS, MalformedJson, check, decode_strict, loads_strict


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


def depth_of(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@pytest.mark.parametrize("data", [nested(32), b'{"a":' * 32 + b"1" + b"}" * 32, b"[" + b"[]," * 500 + b"[]]"])
def test_thirty_two_levels_are_fine(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize(
    "data",
    [
        nested(33),
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'[{"a":' * 17 + b"1" + b"}]" * 17,
        b"[[]," * 40 + b"]" * 40,
        b'["]"' + b",[" * 33,
        b'["\\"]",' * 33 + b"]" * 33,
        nested(100_000),
    ],
)
def test_deeper_than_thirty_two_levels_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        check(data)


@pytest.mark.parametrize("text", ["[" * 100, '\\"[' * 50, "\\\\" + "{" * 40 + "]" * 99])
def test_brackets_inside_strings_are_not_nesting(text: str) -> None:
    check(msgspec.json.encode({"a": [text, text]}))


@pytest.mark.parametrize("data", [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xe2\x82"', b'"\xf5\x80\x80\x80"'])
def test_bytes_that_are_not_utf8_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedJson, match="UTF-8"):
        check(data)


@pytest.mark.parametrize("data", [b'"\\' * 500_000, b'"' * 1_000_001, b"[" * 500_000 + b'"' + b"\\" * 500_000])
def test_hostile_texts_do_not_cost_more_than_a_scan(data: bytes) -> None:
    began = time.process_time()
    try:
        check(data)
    except MalformedJson:
        assert data.count(b"[") > 32
    assert time.process_time() - began < 1


@given(st.recursive(st.text('[]{}"\\a', max_size=4), lambda inner: st.lists(inner, max_size=2), max_leaves=60))
def test_check_agrees_with_the_depth_of_the_parsed_value(value: object) -> None:
    data = msgspec.json.encode(value)
    for limit in range(1, 6):
        if depth_of(value) <= limit:
            check(data, max_depth=limit)
        elif data.count(b"[") > limit:
            with pytest.raises(MalformedJson):
                check(data, max_depth=limit)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"x":{"a":1,"b":2,"\\u0061":2}}', "twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1e999", "range"),
        (b"9007199254740992", "2\\*\\*53"),
        (b"1" * 5000, "2\\*\\*53"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\uDC00x":1}', "surrogate"),
        (b"\xef\xbb\xbf{}", "not valid"),
        (b'"\xff"', "UTF-8"),
        (b"", "not valid"),
        (b"{} {}", "not valid"),
        (b"[1,]", "not valid"),
        (nested(33), "deeper"),
    ],
)
def test_the_control_plane_refuses_what_two_readers_could_read_differently(data: bytes, reason: str) -> None:
    with pytest.raises(CallerError, match=reason) as error:
        loads_strict(data)
    assert error.value.name == "request/invalid"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_ordinary_json_is_read_as_it_is(value: object) -> None:
    assert loads_strict(msgspec.json.encode(value)) == value


def test_surrogate_pairs_in_escapes_are_one_character() -> None:
    assert loads_strict(b'"\\ud83d\\ude00"') == "\U0001f600"


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0


def test_a_typed_body_names_the_field_that_is_wrong() -> None:
    assert decode_strict(b'{"name":"a","size":2}', Body) == Body("a", 2)
    with pytest.raises(CallerError, match="size"):
        decode_strict(b'{"name":"a","size":"2"}', Body)
    with pytest.raises(CallerError, match="twice"):
        decode_strict(b'{"name":"a","name":"b"}', Body)


@pytest.mark.parametrize("empty", [b"[]", b"{}", b"[[[]]]", b'{"a":"["}'])
def test_a_text_has_a_bounded_number_of_arrays_and_objects(empty: bytes) -> None:
    each = empty.count(b"]") + empty.count(b"}")
    check(b"[" + b",".join([empty] * ((MAX_CONTAINERS - 1) // each)) + b"]")
    with pytest.raises(MalformedJson, match="131072 arrays"):
        check(b"[" + b",".join([empty] * (MAX_CONTAINERS // each + 1)) + b"]")


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"[" * 31 + b"]" * 31, b'"","["', b'{"a":1}'])
def test_no_text_of_the_largest_size_holds_the_interpreter_for_long(unit: bytes) -> None:
    data = b"[" + b",".join([unit] * (6 * 2**20 // (len(unit) + 1))) + b"]"
    began = time.process_time()
    with contextlib.suppress(MalformedJson):
        check(data)
    assert time.process_time() - began < 2


@given(st.binary(max_size=60) | st.text('[]{}",:0\\ue', max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_clean_error(data: bytes) -> None:
    name = "request/invalid"
    try:
        loads_strict(data)
    except CallerError as error:
        name = error.name
    assert name == "request/invalid"
