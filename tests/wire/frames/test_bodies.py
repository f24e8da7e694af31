"""Bodies over HTTP: what is written comes back in every encoding, and hostile bytes end cleanly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError, ErrorInfo
from host.wire.frames.bodies import (
    QueueSend,
    QueueSent,
    decode_action_request,
    decode_action_result,
    decode_http_error,
    decode_queue_send,
    decode_queue_sent,
    encode_action_request,
    encode_action_result,
    encode_http_error,
    encode_queue_send,
    encode_queue_sent,
)
from host.wire.frames.encoding import ENCODINGS, Encoding, content_type, parse_encoding
from host.wire.frames.errors import ActorSpecifier
from host.wire.values import from_python, to_python
from tests.wire.frames.test_frames import actors, args, encodings
from tests.wire.test_values import text, values


@given(encodings, args)
def test_arguments_come_back_as_they_were(encoding: Encoding, given_args: list[Any]) -> None:
    body = encode_action_request(encoding, from_python(given_args))
    assert to_python(decode_action_request(encoding, body)) == given_args


@given(encodings, values)
def test_a_result_comes_back_as_it_was(encoding: Encoding, output: Any) -> None:
    assert to_python(decode_action_result(encoding, encode_action_result(encoding, from_python(output)))) == output


@given(encodings, values, st.none() | text, st.booleans(), st.none() | st.integers(0, 2**53 - 1))
def test_a_message_for_a_queue_comes_back_as_it_was(
    encoding: Encoding, body: Any, name: str | None, wait: bool, timeout: int | None
) -> None:
    got = decode_queue_send(encoding, encode_queue_send(encoding, QueueSend(from_python(body), name, wait, timeout)))
    assert (to_python(got.body), got.name, got.wait, got.timeout) == (body, name, wait, timeout)


@given(encodings, text, values)
def test_the_answer_of_a_queue_comes_back_as_it_was(encoding: Encoding, status: str, response: Any) -> None:
    got = decode_queue_sent(encoding, encode_queue_sent(encoding, QueueSent(status, from_python(response))))
    assert got.response is not None
    assert (got.status, to_python(got.response)) == (status, response)
    assert decode_queue_sent(encoding, encode_queue_sent(encoding, QueueSent(status))) == QueueSent(status)


@given(encodings, text, text, text, actors)
def test_an_error_comes_back_as_it_was(
    encoding: Encoding, group: str, code: str, message: str, actor: ActorSpecifier | None
) -> None:
    for metadata in (None, b'{"max":8}'):
        error = ErrorInfo(group, code, message, metadata=metadata)
        assert decode_http_error(encoding, encode_http_error(encoding, error, actor)) == (error, actor)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_body_is_a_call_without_arguments(encoding: Encoding) -> None:
    assert decode_action_request(encoding, b"") == b"[]"


DECODERS: list[Callable[[Encoding, bytes], object]] = [
    decode_action_request,
    decode_action_result,
    decode_queue_send,
    decode_queue_sent,
    decode_http_error,
]


@given(encodings, st.sampled_from(DECODERS), st.binary(max_size=60))
def test_any_bytes_are_a_body_or_a_clean_error(
    encoding: Encoding, decode: Callable[[Encoding, bytes], object], body: bytes
) -> None:
    try:
        decode(encoding, body)
        name = "request/invalid"
    except CallerError as error:
        name = error.name
    assert name == "request/invalid"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("json", b"[]"),
        ("json", b'{"args":{}}'),
        ("json", b'{"args":["$BigInt","1"]}'),
        ("json", b'{"args":[]}x'),
        ("json", b'{"args":' + b"[" * 40 + b"]" * 40 + b"}"),
        ("json", b"\xa1dargs\x80"),
        ("cbor", b'{"args":[]}'),
        ("cbor", b"\xa1dargs\x01"),
        ("cbor", b"\xa1dargs\x80\x00"),
        ("bare", b'{"args":[]}'),
        ("bare", b"\x04\x00\x01\x01"),
        ("bare", b"\x04\x00\x02\x80"),
        ("bare", b"\x04\x00\x01\x80\x00"),
        ("bare", b"\x09\x00\x01\x80"),
    ],
)
def test_malformed_arguments_are_refused(encoding: Encoding, body: bytes) -> None:
    with pytest.raises(CallerError) as error:
        decode_action_request(encoding, body)
    assert error.value.name == "request/invalid"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("json", b'{"body":1,"timeout":-1}'),
        ("json", b'{"body":1,"timeout":18446744073709551616}'),
        ("json", b'{"body":1,"wait":"yes"}'),
        ("bare", b"\x02\x00\x01\x01\x00\x00\x00"),  # there were no queues in the second version
        ("bare", b"\x04\x00\x01\x01\x00\x00\x01\x00"),  # its time-out is cut off
    ],
)
def test_a_malformed_message_for_a_queue_is_refused(encoding: Encoding, body: bytes) -> None:
    with pytest.raises(CallerError) as error:
        decode_queue_send(encoding, body)
    assert error.value.name == "request/invalid"


def test_an_encoding_has_a_name_and_a_content_type() -> None:
    assert [content_type(parse_encoding(name)) for name in ENCODINGS] == [
        "application/json",
        "application/octet-stream",
        "application/octet-stream",
    ]
    with pytest.raises(CallerError, match="json, cbor and bare"):
        parse_encoding("xml")
