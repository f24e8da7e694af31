"""The codecs: round trips of turns, and replies and calls of hostile guests."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw, Struct

from host.bridge import envelopes as e
from host.bridge.codec import Codec, MalformedCall, call_error
from host.bridge.framing import pack
from host.model.errors import CallerError, GuestFault, InternalError, limit_error
from tests.bridge.support import decode_answer, decode_turn, encode_struct

JSON, FRAMED = Codec("json"), Codec("framed")
CODECS = [pytest.param(JSON, id="json"), pytest.param(FRAMED, id="framed")]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
buffers = st.binary(max_size=40) | st.integers(1000, 1100).map(bytes)
ids = st.integers(0, 2**53 - 1)
raws = st.sampled_from([b"null", b"[]", b'{"$bin":0}', b'["$Set",[1]]', b'"x"']).map(Raw)
pairs = st.lists(st.tuples(text, text), max_size=3)
events = st.one_of(
    st.builds(e.SocketMessageEvent, ids, text, ids, text=text),
    st.builds(e.SocketMessageEvent, ids, text, ids, data=buffers, attempt=st.integers(1, 3)),
    st.builds(e.RequestEvent, ids, text, text, pairs, buffers),
    st.builds(e.ActionEvent, ids, text, raws, st.just(UNSET) | text),
    st.builds(e.AlarmEvent, ids, text, ids, raws),
)
calls = st.one_of(
    st.builds(e.KvGet, st.lists(buffers, max_size=4)),
    st.builds(e.KvPut, st.lists(st.tuples(buffers, buffers), max_size=4)),
    st.builds(e.KvDelete, st.lists(buffers, max_size=4)),
    st.builds(e.KvList, *([st.just(UNSET) | buffers] * 3), st.booleans(), st.just(UNSET) | ids),
    st.builds(e.KvDeleteRange, buffers, buffers),
    st.builds(e.SocketSend, text, data=buffers),
    st.builds(e.SocketSend, text, text=text),
    st.builds(e.StatePut, raws),
    st.builds(e.Log, st.sampled_from(["debug", "error"]), text),
)


def plain(value: Any) -> Any:
    """Raw has no equality: compare what it holds."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Struct):
        return type(value), [plain(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60)
@given(turn=st.builds(e.Turn, ids, ids, st.lists(events, max_size=3)))
def test_a_turn_comes_through(codec: Codec, turn: e.Turn) -> None:
    assert plain(decode_turn(codec.encode_turn(turn), framed=codec.framed)) == plain(turn)


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=150)
@given(call=calls)
def test_a_call_comes_through_with_its_buffers(codec: Codec, call: Struct) -> None:
    assert plain(codec.decode_call(encode_struct(call, framed=codec.framed))) == plain(call)


@pytest.mark.parametrize("codec", CODECS)
@given(found=st.lists(buffers | st.none(), max_size=5), listed=st.lists(st.tuples(buffers, buffers), max_size=4))
def test_answers_come_through(codec: Codec, found: list[bytes | None], listed: list[tuple[bytes, bytes]]) -> None:
    assert decode_answer(codec.encode_ok(found), e.KvGet, framed=codec.framed) == found
    assert decode_answer(codec.encode_ok(listed), e.KvList, framed=codec.framed) == listed


def test_long_buffers_travel_behind_the_header_and_short_ones_stay() -> None:
    long = e.SocketMessageEvent(1, "c", 1, data=bytes(1024))
    short = e.SocketMessageEvent(1, "c", 1, data=bytes(1023))
    assert b'"data":{"$bin":0}' in FRAMED.encode_turn(e.Turn(1, 1, [long]))
    assert b"$bin" not in FRAMED.encode_turn(e.Turn(1, 1, [short]))
    assert b"$bin" not in JSON.encode_turn(e.Turn(1, 1, [long]))


def test_errors_of_the_host_keep_their_metadata_and_internal_ones_are_masked() -> None:
    error = call_error(limit_error("kv_key", 3, 2, "shorter"))
    assert JSON.encode_error(error) == (
        b'{"error":{"group":"limit","code":"exceeded","message":"kv_key: 3 used, 2 allowed; shorter",'
        b'"metadata":{"limit":"kv_key","used":3,"allowed":2}}}'
    )
    assert b"disk" not in JSON.encode_error(call_error(InternalError("the disk is at /dev/sda")))
    assert FRAMED.encode_error(error) == pack(JSON.encode_error(error))
    assert call_error(CallerError("a", "b", "c")).metadata is UNSET


# --- replies ----------------------------------------------------------------------------------------------------------

BAD_REPLIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'{"settled":[]}',
    b'{"pending":0}',
    b'{"settled":[],"pending":0,"more":1}',
    b'{"settled":[],"pending":0}x',
    b'{"settled":[],"pending":-1}',
    b'{"settled":[],"pending":1.5}',
    b'{"settled":[],"pending":1e400}',
    b'{"settled":[],"pending":' + b"9" * 5000 + b"}",
    b'{"settled":[],"pending":NaN}',
    b'{"settled":{},"pending":0}',
    b'{"settled":[1],"pending":0}',
    b'{"settled":[{"event":-1}],"pending":0}',
    b'{"settled":[{"event":9007199254740992}],"pending":0}',
    b'{"settled":[{"event":"1"}],"pending":0}',
    b'{"settled":[{"event":true}],"pending":0}',
    b'{"settled":[{"event":1,"result":nul}],"pending":0}',
    b'{"settled":[{"event":1,"result":"\xff"}],"pending":0}',
    b'{"settled":[{"event":1,"result":"\\ud800"}],"pending":0}',
    b'{"settled":[{"event":1,"result":' + b"[" * 33 + b"]" * 33 + b"}]}",
    b'{"settled":[{"event":1,"result":' + b'{"a":' * 100_000,
    b'{"settled":[{"event":1,"result":1,"error":{"group":"user","code":"a","message":"b"}}],"pending":0}',
    b'{"settled":[{"event":1,"error":{"group":"user"}}],"pending":0}',
    b'{"settled":[{"event":1,"error":"x"}],"pending":0}',
    b"\x00asm",
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", BAD_REPLIES)
def test_a_bad_reply_is_a_fault(codec: Codec, data: bytes) -> None:
    with pytest.raises(GuestFault) as fault:
        codec.decode_reply(pack(data) if codec.framed else data)
    assert fault.value.name == "guest/bad_reply"
    assert fault.value.detail


@given(st.binary(max_size=80))
def test_any_bytes_are_a_reply_or_a_fault(data: bytes) -> None:
    for codec in (JSON, FRAMED):
        with pytest.raises(GuestFault):
            codec.decode_reply(data)
        with pytest.raises(MalformedCall):
            codec.decode_call(data)


def settled(result: bytes, frames: list[bytes] | None = None) -> tuple[Any, e.Settled]:
    data = b'{"settled":[{"event":1,"result":%s}],"pending":0}' % result
    reply = JSON.decode_reply(data) if frames is None else FRAMED.decode_reply(pack(data, frames))
    return reply, reply.settled[0]


def test_an_http_result_has_status_headers_and_body() -> None:
    reply, one = settled(b'{"status":201,"headers":[["a","1"],["a","2"]],"body":"aGk="}')
    assert reply.http(one) == (201, [("a", "1"), ("a", "2")], b"hi")
    reply, one = settled(b'{"body":{"$bin":0}}', [b"long"])
    assert reply.http(one) == (200, [], b"long")
    reply.finish()
    reply, one = settled(b"null")
    assert reply.http(one) == (200, [], b"")
    assert reply.http(e.Settled(1)) == (200, [], b"")


@pytest.mark.parametrize(
    ("result", "frames"),
    [
        (b'{"body":{"$bin":0}}', None),
        (b'{"body":{"$bin":0}}', []),
        (b'{"body":{"$bin":1}}', [b"x"]),
        (b'{"body":{"$bin":-1}}', [b"x"]),
        (b'{"body":{"$bin":"0"}}', [b"x"]),
        (b'{"body":{"$bin":0,"x":1}}', [b"x"]),
        (b'{"body":{"$bin":99999999999999999999999}}', [b"x"]),
        (b'{"body":"A"}', None),
        (b'{"body":"YQ"}', None),
        (b'{"body":[1]}', None),
        (b'{"status":99}', None),
        (b'{"status":101}', None),
        (b'{"status":600}', None),
        (b'{"status":"200"}', None),
        (b'{"headers":[["a"]]}', None),
        (b'{"headers":[["a b","1"]]}', None),
        (b'{"headers":[["","1"]]}', None),
        (b'{"headers":[["a:","1"]]}', None),
        (b'{"headers":[["a","1\\r\\nset-cookie: x"]]}', None),
        (b'{"headers":[["a\\n","1"]]}', None),
        (b'{"headers":[["a","\\u0000"]]}', None),
        (b'{"headers":[["a","\\u20ac"]]}', None),
        (b'{"headers":{"a":"1"}}', None),
        (b"[]", None),
        (b'"x"', None),
    ],
)
def test_a_bad_http_result_is_a_fault(result: bytes, frames: list[bytes] | None) -> None:
    reply, one = settled(result, frames)
    with pytest.raises(GuestFault) as fault:
        reply.http(one)
    assert fault.value.name == "guest/bad_reply"


def test_a_buffer_serves_one_result_only_and_none_is_left_over() -> None:
    data = (
        b'{"settled":[{"event":1,"result":{"body":{"$bin":0}}},{"event":2,"result":{"body":{"$bin":0}}}],"pending":0}'
    )
    reply = FRAMED.decode_reply(pack(data, [b"x"]))
    reply.http(reply.settled[0])
    with pytest.raises(GuestFault):
        reply.http(reply.settled[1])
    unused = FRAMED.decode_reply(pack(b'{"settled":[],"pending":0}', [b"x"]))
    with pytest.raises(GuestFault) as fault:
        unused.finish()
    assert fault.value.name == "guest/bad_reply"


def test_a_placeholder_inside_a_value_is_a_value() -> None:
    reply, one = settled(b'{"$bin":0}', [])
    assert reply.value(one) == b'{"$bin":0}'
    reply.finish()
    assert reply.value(e.Settled(1)) == b"null"


def test_a_value_with_a_bad_tag_is_a_fault() -> None:
    reply, one = settled(b'["$BigInt","x"]')
    with pytest.raises(GuestFault) as fault:
        reply.value(one)
    assert fault.value.name == "guest/bad_reply"


def test_a_start_result_may_be_left_out() -> None:
    reply, one = settled(b'{"actions":["a"],"request":false,"later":1}')
    assert reply.start(one) == e.StartReply(["a"], False)
    for result in (b"null", b"{}"):
        reply, one = settled(result)
        assert reply.start(one) == e.StartReply()
    assert reply.start(e.Settled(1)) == e.StartReply()
    for result in (b"1", b'{"actions":"a"}', b'{"sleep_timeout":"1"}', b'{"request":1}'):
        reply, one = settled(result)
        with pytest.raises(GuestFault):
            reply.start(one)


# --- calls ------------------------------------------------------------------------------------------------------------

KEY = {"$bin": 0}


@pytest.mark.parametrize(
    ("call", "frames"),
    [
        ({"call": "kv_get", "keys": [KEY]}, []),
        ({"call": "kv_get", "keys": [KEY, KEY]}, [b"a"]),
        ({"call": "kv_get", "keys": [KEY]}, [b"a", b"b"]),
        ({"call": "kv_get", "keys": [{"$bin": -1}]}, [b"a"]),
        ({"call": "kv_get", "keys": [{"$bin": 0, "$bim": 0}]}, [b"a"]),
        ({"call": "kv_get", "keys": [{}]}, [b"a"]),
        ({"call": "kv_get", "keys": ["YQ=="]}, [b"a"]),
        ({"call": "kv_put", "entries": [[KEY, KEY]]}, [b"a"]),
        ({"call": "kv_put", "entries": [[KEY]]}, [b"a"]),
        ({"call": "kv_list", "prefix": KEY, "start": KEY}, [b"a"]),
        ({"call": "kv_delete_range", "start": KEY, "end": {"$bin": 2}}, [b"a", b"b"]),
        ({"call": "socket_send", "conn": "c", "data": {"$bin": 1}}, [b"a"]),
        ({"call": "now"}, [b"a"]),
        ({"call": "state_put", "value": KEY}, [b"a"]),
    ],
)
def test_placeholders_and_buffers_must_pair_up(call: Any, frames: list[bytes]) -> None:
    with pytest.raises(MalformedCall) as error:
        FRAMED.decode_call(pack(msgspec.json.encode(call), frames))
    assert error.value.call == call["call"]


def test_placeholders_mean_nothing_in_the_codec_json() -> None:
    for call in ({"call": "kv_get", "keys": [KEY]}, {"call": "socket_send", "conn": "c", "data": KEY}):
        with pytest.raises(MalformedCall):
            JSON.decode_call(msgspec.json.encode(call))


def test_an_escaped_placeholder_is_one_too() -> None:
    with pytest.raises(MalformedCall):
        JSON.decode_call(b'{"call":"kv_get","keys":[{"\\u0024bin":0}]}')
