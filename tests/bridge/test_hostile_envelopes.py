"""Envelopes of hostile guests: whatever the bytes, a host call is answered and a reply is read or is a fault."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.bridge.codec import Codec
from host.bridge.framing import MAX_BUFFERS, pack
from host.bridge.host_calls import HOST_CALLS
from host.model.errors import GuestFault
from tests.bridge.support import Guest, session

CODECS = [pytest.param(False, id="json"), pytest.param(True, id="framed")]
# Nothing that a guest says may name an actor, a tenant or a start: it speaks for the one that its isolate is bound to.
NAMING = {"actor", "actor_id", "tenant", "namespace", "generation", "epoch", "module", "version", "name", "id"}

odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**64, -(2**63), 1e308, 1.5, "", "c", "a" * 3_000, "\x00",
     "\ud7ff", "YQ==", "YR==", "Y", "=", {"$bin": 0}, {"$bin": -1}, {"$bin": 2**40}, {"$bin": "0"}, [], [[]], {},
     [{"$bin": 0}] * 3, ["YQ=="] * 129, [["YQ==", "YQ=="]], [["YQ=="]], [1, 2, 3], {"a": {"b": []}}]
)  # fmt: skip
names = st.sampled_from([row.name for row in HOST_CALLS]) | st.sampled_from(["", "queue_send", "Now", "now "])
known = sorted({field for row in HOST_CALLS for field in row.struct.__struct_fields__})
fields = st.sampled_from([*known, "actor", "$bin"])


# A call to another actor names its target, which is looked for in the caller's tenant; never the caller. The name of an
# event is a word between the actor and its clients.
TARGETS = {"actor_call": {"actor", "name"}, "event_send": {"name"}, "event_broadcast": {"name"}}


def test_no_field_of_a_host_call_names_whom_it_is_for() -> None:
    for row in HOST_CALLS:
        assert row.struct.__struct_config__.forbid_unknown_fields
        assert NAMING & set(row.struct.__struct_encode_fields__) == TARGETS.get(row.name, set()), row.name


def answered(guest: Guest, request: bytes) -> None:
    answer = guest.calls.host_call(request)
    if isinstance(answer, int):
        assert -4 <= answer <= -1
        return
    body = answer if not guest.framed else answer[4 : 4 + int.from_bytes(answer[:4], "little")]
    document: dict[str, Any] = json.loads(body)
    assert list(document) in (["ok"], ["error"])


@pytest.mark.parametrize("framed", CODECS)
@settings(max_examples=400, deadline=None)
@given(
    name=names,
    given_fields=st.dictionaries(fields, odd, max_size=4),
    buffers=st.lists(st.binary(max_size=8), max_size=3),
)
def test_any_call_with_any_fields_is_answered(
    framed: bool, name: str, given_fields: dict[str, Any], buffers: list[bytes]
) -> None:
    guest = session("c", framed=framed)
    body = msgspec.json.encode({"call": name, **given_fields})
    answered(guest, pack(body, buffers) if framed else body)


VALID = [
    b'{"call":"kv_put","entries":[["YQ==","Yg=="]]}',
    b'{"call":"kv_list","prefix":"YQ==","reverse":true,"limit":3}',
    b'{"call":"alarm_set","alarm":"a","after":10,"payload":{"a":[1]}}',
    b'{"call":"socket_send","conn":"c","text":"caf\xc3\xa9"}',
    b'{"call":"socket_close","conn":"c","code":4000,"reason":"x"}',
    b'{"call":"state_put","value":["$Set",[1,2]]}',
    b'{"call":"log","level":"info","message":"a\\nb"}',
]


@pytest.mark.parametrize("framed", CODECS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_call_with_bytes_changed_is_answered(framed: bool, data: st.DataObject) -> None:
    request = bytearray(data.draw(st.sampled_from(VALID)))
    if framed:
        request = bytearray(pack(bytes(request), [b"buffer"]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(request) - 1))
        request[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not request:
            break
    answered(session("c", framed=framed), bytes(request))


REPLY = b'{"settled":[{"event":1,"result":{"status":200,"headers":[["a","b"]],"body":"aGk="}},{"event":2}],"pending":0}'


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_reply_with_bytes_changed_is_a_reply_or_a_fault(data: st.DataObject) -> None:
    reply = bytearray(REPLY)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(reply) - 1))
        reply[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    outcome = "read"
    try:
        decoded = Codec("json").decode_reply(bytes(reply))
        for settled in decoded.settled:
            assert decoded.size(settled) <= len(reply)
            decoded.error(settled)
            decoded.value(settled)
            decoded.http(settled)
        decoded.finish()
    except GuestFault as fault:
        outcome = fault.name
    assert outcome in ("read", "guest/bad_reply")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


CLAIMS = {
    "a header of four gibibytes": u32(2**32 - 1),
    "a buffer of four gibibytes": pack(b"{}") + u32(2**32 - 1),
    "buffers without content and without end": pack(b"{}") + u32(0) * (6 * 2**20 // 4 - 2),
    "as many buffers as there may be": pack(b'{"settled":[],"pending":0}', [b""] * MAX_BUFFERS),
    "arrays without number": pack(b'{"settled":[{"event":1,"result":[' + b"[]," * (2 * 2**20) + b'1]}],"pending":0}'),
    "blocks of depth 32": pack(b'{"settled":[' + (b"[" * 30 + b"]" * 30 + b",") * 100_000),
    "a million settlements": pack(b'{"settled":[' + b'{"event":1},' * 500_000 + b'{"event":1}],"pending":0}'),
}


@pytest.mark.parametrize("data", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_reply_that_claims_much_costs_little(data: bytes) -> None:
    assert len(data) <= 7 * 2**20
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(GuestFault):
        Codec("framed").decode_reply(data).finish()
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2
    assert peak < 20 * 7 * 2**20  # while the strings are taken out; nothing of it stays


def test_metadata_of_an_error_is_looked_into_only_if_it_is_to_be_shown() -> None:
    for group, bad in (("user", True), ("actor", True), ("internal", False)):
        error = {"group": group, "code": "a", "message": "", "metadata": ["$Nope", 1]}
        reply = Codec("json").decode_reply(
            json.dumps({"settled": [{"event": 1, "error": error}], "pending": 0}).encode()
        )
        if bad:
            with pytest.raises(GuestFault):
                reply.error(reply.settled[0])
        else:
            assert reply.error(reply.settled[0]) is not None


def test_an_error_of_the_host_never_quotes_a_request_at_length() -> None:
    guest = session("c", framed=False)
    for text in ("\x1b" * 2_000, "x" * 100_000):
        for call in ({"call": "alarm_cancel", "alarm": text}, {"call": "socket_set_tags", "conn": "c", "tags": [text]}):
            answer = guest.calls.host_call(msgspec.json.encode(call))
            assert isinstance(answer, bytes)
            assert len(answer) < 500
