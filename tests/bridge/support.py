"""The guest's side of the codecs, for tests: what the host decodes is encoded here, and the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from host.bridge.codec import Codec
from host.bridge.envelopes import Bin, Turn, TurnReply
from host.bridge.framing import INLINE_BELOW, Buffers, pack, unpack
from host.bridge.host_calls import HOST_CALLS
from host.bridge.session import HostCalls
from host.capabilities.random import RandomStream
from host.model.definitions import JS_MANIFEST, Manifest
from host.model.limits import Limits
from tests.capabilities.support import FakeReader, state_with

__all__ = ["ANSWERS", "Guest", "decode_answer", "decode_turn", "encode_struct", "session"]

ANSWERS = {row.struct: row.ok for row in HOST_CALLS}


def encode_struct(value: Struct, *, framed: bool) -> bytes:
    """A request or a reply as a guest sends it."""
    if not framed:
        return msgspec.json.encode(value)
    buffers: list[bytes] = []
    fields = {name: _lift(getattr(value, name), buffers) for name in value.__struct_fields__}
    return pack(msgspec.json.encode(msgspec.structs.replace(value, **fields)), buffers)


def encode_reply(reply: TurnReply, buffers: Sequence[bytes] = (), *, framed: bool) -> bytes:
    data = msgspec.json.encode(reply)
    return pack(data, buffers) if framed else data


def decode_turn(data: bytes, *, framed: bool) -> Turn:
    header, buffers = unpack(data) if framed else (data, [])
    turn = msgspec.json.decode(header, type=Turn)
    source = Buffers(buffers)
    events: list[Any] = [_resolve(event, source) for event in turn.events]
    source.finish()
    return Turn(turn.turn, turn.now, events)


def decode_answer(data: bytes, call: type[Struct], *, framed: bool) -> Any:
    """The `ok` of an answer, typed by the table, with its buffers as bytes."""
    header, buffers = unpack(data) if framed else (data, [])
    fields = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
    assert list(fields) == ["ok"], header
    source = Buffers(buffers)
    value = _take(msgspec.json.decode(bytes(fields["ok"]), type=ANSWERS[call]), source)
    source.finish()
    return value


class Guest:
    """Makes host calls the way an isolate does and reads the answers."""

    def __init__(self, calls: HostCalls, *, framed: bool) -> None:
        self.calls = calls
        self.framed = framed

    def raw(self, call: Struct) -> bytes | int:
        return self.calls.host_call(encode_struct(call, framed=self.framed))

    def ok(self, call: Struct) -> Any:
        answer = self.raw(call)
        assert isinstance(answer, bytes), answer
        return decode_answer(answer, type(call), framed=self.framed)

    def error(self, call: Struct) -> dict[str, Any]:
        answer = self.raw(call)
        assert isinstance(answer, bytes), answer
        document = msgspec.json.decode(answer[4:] if self.framed else answer)
        assert list(document) == ["error"], document
        error = document["error"]
        assert isinstance(error, dict)
        return error


def session(
    *connections: str,
    framed: bool = True,
    reader: FakeReader | None = None,
    manifest: Manifest = JS_MANIFEST,
    now_ms: int = 1_700_000_000_000,
    **limits: int,
) -> Guest:
    """A session in its first turn."""
    reader = reader or FakeReader()
    state = state_with(reader, *connections)
    codec = Codec("framed" if framed else "json")
    calls = HostCalls(codec, state, reader, Limits(**limits), manifest, RandomStream(b"seed"))
    calls.begin_hop()
    calls.begin_turn(now_ms)
    return Guest(calls, framed=framed)


def _lift(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, bytes) and len(value) >= INLINE_BELOW:
        buffers.append(value)
        return Bin(len(buffers) - 1)
    if isinstance(value, list | tuple):
        return type(value)(_lift(item, buffers) for item in value)
    return value


def _take(value: Any, source: Buffers) -> Any:
    if isinstance(value, Bin):
        return source.take(value)
    if isinstance(value, list | tuple):
        return type(value)(_take(item, source) for item in value)
    return value


def _resolve(value: Struct, source: Buffers) -> Struct:
    fields = {name: _take(getattr(value, name), source) for name in value.__struct_fields__}
    return msgspec.structs.replace(value, **fields)
