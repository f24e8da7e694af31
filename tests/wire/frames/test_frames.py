"""Frames of a /connect socket: what is written comes back in every encoding, and hostile bytes end cleanly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError, ErrorInfo
from host.model.tunnel import ActionRequest, Subscription
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.frames.errors import ActorSpecifier
from host.wire.frames.to_client import (
    ActionResponse,
    ClientFrame,
    ErrorFrame,
    EventFrame,
    Init,
    decode_to_client,
    encode_action_response,
    encode_error,
    encode_event,
    encode_init,
)
from host.wire.frames.to_server import decode_to_server, encode_to_server
from host.wire.values import from_python, to_python
from tests.wire.test_values import text, values

encodings = st.sampled_from(ENCODINGS)
uints = st.integers(0, 2**64 - 1) | st.integers(0, 300)
args = st.lists(values, max_size=3)
actors = st.none() | st.builds(ActorSpecifier, text, uints, st.none() | text)
errors = st.builds(
    ErrorInfo, text, text, text, metadata=st.none() | values.filter(lambda value: value is not None).map(from_python)
)


@given(encodings, uints, text, args)
def test_an_action_comes_back_as_it_was(encoding: Encoding, number: int, name: str, given_args: list[Any]) -> None:
    sent = ActionRequest(number, name, from_python(given_args))
    got = decode_to_server(encoding, encode_to_server(encoding, sent))
    assert isinstance(got, ActionRequest)
    assert (got.id, got.name, to_python(got.args)) == (number, name, given_args)


@given(encodings, text, st.booleans())
def test_a_subscription_comes_back_as_it_was(encoding: Encoding, name: str, on: bool) -> None:
    assert decode_to_server(encoding, encode_to_server(encoding, Subscription(name, on))) == Subscription(name, on)


@given(encodings, text, text)
def test_an_init_comes_back_as_it_was(encoding: Encoding, actor_id: str, conn_id: str) -> None:
    assert decode_to_client(encoding, encode_init(encoding, actor_id, conn_id)) == Init(actor_id, conn_id)


@given(encodings, uints, values)
def test_an_answer_comes_back_as_it_was(encoding: Encoding, number: int, output: Any) -> None:
    got = decode_to_client(encoding, encode_action_response(encoding, number, from_python(output)))
    assert isinstance(got, ActionResponse)
    assert (got.id, to_python(got.output)) == (number, output)


@given(encodings, text, args)
def test_an_event_comes_back_as_it_was(encoding: Encoding, name: str, given_args: list[Any]) -> None:
    got = decode_to_client(encoding, encode_event(encoding, name, from_python(given_args)))
    assert isinstance(got, EventFrame)
    assert (got.name, to_python(got.args)) == (name, given_args)


@given(encodings, errors, st.none() | uints, actors)
def test_an_error_comes_back_as_it_was(
    encoding: Encoding, error: ErrorInfo, action_id: int | None, actor: ActorSpecifier | None
) -> None:
    got = decode_to_client(encoding, encode_error(encoding, error, action_id=action_id, actor=actor))
    assert isinstance(got, ErrorFrame)
    assert (got.error.group, got.error.code, got.error.message) == (error.group, error.code, error.message)
    assert (got.action_id, got.actor) == (action_id, actor)
    if error.metadata is None or got.error.metadata is None:
        assert got.error.metadata is None
        assert error.metadata in (None, b'["$Undefined",0]')
    else:
        assert to_python(got.error.metadata) == to_python(error.metadata)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_frames_are_json_and_bytes_are_the_rest(encoding: Encoding) -> None:
    for frame in (
        encode_init(encoding, "a", "c"),
        encode_event(encoding, "n", b"[]"),
        encode_action_response(encoding, 1, b"null"),
        encode_error(encoding, ErrorInfo("g", "c", "m")),
        encode_to_server(encoding, Subscription("n", True)),
        encode_to_server(encoding, ActionRequest(1, "n", b"[]")),
    ):
        assert isinstance(frame, str) == (encoding == "json")


def refusal(decode: Callable[[Encoding, str | bytes], object], encoding: Encoding, data: str | bytes) -> str | None:
    try:
        decode(encoding, data)
    except CallerError as error:
        return error.name
    return None


@given(encodings, st.binary(max_size=80) | st.text(max_size=80))
def test_any_bytes_are_a_frame_or_a_clean_error(encoding: Encoding, data: str | bytes) -> None:
    for decode in (decode_to_server, decode_to_client):
        assert refusal(decode, encoding, data) in (None, "request/invalid")


frames_to_server = st.builds(ActionRequest, uints, text, args.map(from_python)) | st.builds(
    Subscription, text, st.booleans()
)


@given(encodings, frames_to_server, st.data())
def test_a_frame_with_a_byte_changed_is_a_frame_or_a_clean_error(
    encoding: Encoding, frame: ActionRequest | Subscription, data: st.DataObject
) -> None:
    sent = encode_to_server(encoding, frame)
    raw = bytearray(sent.encode() if isinstance(sent, str) else sent)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    assert refusal(decode_to_server, encoding, bytes(raw)) in (None, "request/invalid")


@given(encodings, frames_to_server, st.data())
def test_a_frame_that_was_cut_off_is_refused(
    encoding: Encoding, frame: ActionRequest | Subscription, data: st.DataObject
) -> None:
    sent = encode_to_server(encoding, frame)
    cut = sent[: data.draw(st.integers(0, len(sent) - 1))]
    with pytest.raises(CallerError) as error:
        decode_to_server(encoding, cut)
    assert error.value.name == "request/invalid"


ACTION = {"tag": "ActionRequest", "val": {"id": ["$BigInt", "1"], "name": "n", "args": [1]}}


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("json", ""),
        ("json", "{}"),
        ("json", "[1]"),
        ("json", '{"body":{"tag":"Other","val":{}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"name":"n","args":[]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":-1,"name":"n","args":[]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":true,"name":"n","args":[]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1.5,"name":"n","args":[]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":["$BigInt","18446744073709551616"],"name":"n"}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":["$BigInt","01"],"name":"n"}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1,"name":5,"args":[]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"n","args":{}}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"n","args":["$Set",[1]]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"n","args":[["$Nonsense",1]]}}}'),
        ("json", '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"n","args":' + "[" * 33 + "]" * 33 + "}}}"),
        ("json", '{"body":{"tag":"SubscriptionRequest","val":{"eventName":"e","subscribe":1}}}'),
        ("json", b'{"body":{"tag":"SubscriptionRequest","val":{"eventName":"\xff","subscribe":true}}}'),
        ("cbor", "text"),
        ("cbor", b"\x80"),
        ("cbor", b"\xa1dbody\xa2ctagcFoocval\xa0"),
        ("cbor", b"\xa1dbody\xa2ctagmActionRequestcval\xa3bid\x01dnameandargs\xa0"),
        ("cbor", b"\xa1dbody\xa2ctagmActionRequestcval\xa3bid\x20dnameandargs\x80"),
        ("cbor", b"\xb9\x00\x01dbody\xb9\x00\x02ctagmActionRequestcval\xb9\x00\x03bid\x1b" + bytes(8) + b"dname\x78"),
        ("bare", "text"),
        ("bare", b""),
        ("bare", b"\x04"),
        ("bare", b"\x00\x00\x00\x01\x01n\x01\x80"),  # a version that never was
        ("bare", b"\x05\x00\x00\x01\x01n\x01\x80"),
        ("bare", b"\x04\x00"),
        ("bare", b"\x04\x00\x02\x01\x01n\x01\x80"),  # an unknown tag
        ("bare", b"\x04\x00\x00\x81\x00\x01n\x01\x80"),  # a number longer than it needs to be
        ("bare", b"\x04\x00\x00" + b"\xff" * 9 + b"\x02\x01n\x01\x80"),  # more than 64 bits
        ("bare", b"\x04\x00\x00" + b"\xff" * 40),
        ("bare", b"\x04\x00\x00\x01\xff\xff\xff\xff\x0f"),  # a length that lies
        ("bare", b"\x04\x00\x00\x01\x01\xff\x01\x80"),  # not UTF-8
        ("bare", b"\x04\x00\x00\x01\x01n\x01\x80\x00"),  # bytes left over
        ("bare", b"\x04\x00\x00\x01\x01n\x00"),  # no arguments at all
        ("bare", b"\x04\x00\x00\x01\x01n\x01\xa0"),  # arguments that are no array
        ("bare", b"\x04\x00\x00\x01\x01n\x02\x82\xf6"),
        ("bare", b"\x04\x00\x01\x01n\x02"),  # neither true nor false
        ("bare", b"\x04\x00\x01\x01n"),
    ],
)
def test_a_malformed_frame_of_a_client_is_refused(encoding: Encoding, data: str | bytes) -> None:
    with pytest.raises(CallerError) as error:
        decode_to_server(encoding, data)
    assert error.value.name == "request/invalid"


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_of_bare_is_understood_and_the_fourth_is_spoken(version: int) -> None:
    prefix = version.to_bytes(2, "little")
    assert decode_to_server("bare", prefix + b"\x00\x01\x01n\x02\x81\x05") == ActionRequest(1, "n", b"[5]")
    token = b"\x01t" if version == 1 else b""
    assert decode_to_client("bare", prefix + b"\x00\x01a\x01c" + token) == Init("a", "c")
    actor = b"\x01\x01a\x02\x00" if version == 4 else b""
    expected = ErrorFrame(ErrorInfo("g", "c", "m"), 9, ActorSpecifier("a", 2) if version == 4 else None)
    assert decode_to_client("bare", prefix + b"\x01\x01g\x01c\x01m\x00\x01\x09" + actor) == expected
    assert encode_init("bare", "a", "c") == b"\x04\x00\x00\x01a\x01c"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ids_of_64_bits_are_kept(encoding: Encoding) -> None:
    for number in (0, 127, 128, 2**32, 2**53 + 1, 2**63, 2**64 - 1):
        sent = ActionRequest(number, "n", b"[]")
        assert decode_to_server(encoding, encode_to_server(encoding, sent)) == sent


def test_a_hand_written_client_may_send_its_id_as_a_number_and_leave_the_arguments_out() -> None:
    frame = '{"body": {"tag": "ActionRequest", "val": {"id": 7, "name": "n", "later": [1]}}}'
    assert decode_to_server("json", frame) == ActionRequest(7, "n", b"[]")


def test_two_arguments_of_which_the_first_looks_like_a_tag_stay_two_arguments() -> None:
    sent: ClientFrame = decode_to_client("json", '{"body":{"tag":"Event","val":{"name":"n","args":["$$x",1]}}}')
    assert isinstance(sent, EventFrame)
    assert to_python(sent.args) == ["$x", 1]
