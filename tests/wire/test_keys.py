"""Actor keys as text: one text per key, one key per text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError
from host.wire.keys import check_key, decode_key, decode_query_key, encode_key, encode_query_key

parts = st.lists(st.text("a/\\0,\u00e9", max_size=5) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10))


@given(parts)
def test_every_key_comes_back_from_its_manager_text(key: list[str]) -> None:
    assert decode_key(encode_key(key)) == tuple(key)


@given(st.text("a/\\0", max_size=8))
def test_a_text_that_is_accepted_is_the_only_text_of_its_key(text: str) -> None:
    try:
        again = encode_key(decode_key(text))
    except CallerError as error:
        again = error.name
    assert again in (text or "/", "actor/invalid_request")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), "/"),
        (("",), "\\0"),
        (("", ""), "\\0/\\0"),
        (("a", "b"), "a/b"),
        (("a/b",), "a\\/b"),
        (("\\",), "\\\\"),
        (("\\0",), "\\\\0"),
        (("0",), "0"),
    ],
)
def test_the_manager_form_is_the_protocols(key: tuple[str, ...], text: str) -> None:
    assert encode_key(key) == text
    assert decode_key(text) == key


@pytest.mark.parametrize("text", ["a//b", "a/", "/a", "\\", "a\\", "\\x", "\\0a", "a\\0", "\\0\\0", "\ud800"])
def test_a_text_that_no_key_has_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as error:
        decode_key(text)
    assert error.value.name == "actor/invalid_request"


@given(st.lists(st.text("ab/\\", max_size=4)))
def test_query_keys_come_back(key: list[str]) -> None:
    assert decode_query_key(encode_query_key(key)) == tuple(key)


def test_the_query_route_has_no_escape_for_a_comma() -> None:
    assert encode_query_key(["a", "b"]) == "a,b"
    assert encode_query_key([]) is None
    assert decode_query_key("") == ("",)
    with pytest.raises(CallerError, match="comma"):
        encode_query_key(["a,b"])


@pytest.mark.parametrize(
    ("key", "limit"), [(("é" * 65,), "key_part"), (("x" * 128,) * 8, "key"), (("/" * 128,) * 4, "key")]
)
def test_a_key_over_a_limit_names_it(key: tuple[str, ...], limit: str) -> None:
    with pytest.raises(CallerError, match=f"^actor/key_too_large: {limit}:"):
        check_key(key)


def test_keys_at_the_limits_are_fine() -> None:
    assert check_key(["é" * 64]) == ("é" * 64,)
    assert decode_key(encode_key(["x" * 127] * 8)) == ("x" * 127,) * 8
    with pytest.raises(CallerError, match="key_too_large"):
        decode_key("x" * 2000)
    with pytest.raises(CallerError, match="key_too_large"):
        decode_query_key("a," * 600)
