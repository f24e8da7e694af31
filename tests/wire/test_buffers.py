"""Base64 with one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.wire.buffers import decode_base64, decode_base64url, encode_base64, encode_base64url


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data
    assert decode_base64url(encode_base64url(data)) == data


@given(st.text("AB+/=-_ \n", max_size=8))
def test_what_is_accepted_is_the_only_spelling(text: str) -> None:
    try:
        data = decode_base64(text)
    except ValueError:
        return
    assert encode_base64(data) == text


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AB==", "AAB=", "AA=", "AA==AAAA", "A A=", "AA-_", "====", "é==="])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)


@pytest.mark.parametrize("text", ["A", "AB", "AA=", "AA===", "AA+/", "AAAA=", "AAAA===="])
def test_the_url_form_is_as_strict(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64url(text)


def test_the_url_form_may_be_padded() -> None:
    assert decode_base64url("-_8=") == decode_base64url("-_8") == b"\xfb\xff"
