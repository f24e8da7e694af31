"""Envelopes to bytes and back, for the codecs `json` and `framed`.

Guarantees about what comes from a guest: before a decoder sees it, it is strict UTF-8 and at most 32 levels deep; after
it, every placeholder has been replaced by the one buffer it names and no buffer is left over; whatever else is wrong
ends as `guest/bad_reply` for a reply and as `MalformedCall` for a host call, never as another exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct

from host.bridge.envelopes import (
    Bin,
    Call,
    CallError,
    CompletionEvent,
    Event,
    Fetch,
    KvDelete,
    KvDeleteRange,
    KvGet,
    KvList,
    KvPut,
    RequestEvent,
    SocketMessageEvent,
    SocketSend,
    Turn,
    TurnReply,
)
from host.bridge.framing import INLINE_BELOW, Buffers, MalformedFrame, pack, unpack
from host.bridge.reply import Reply, bad_reply
from host.model.errors import DormiceError
from host.wire.strict_json import MalformedJson, check

__all__ = ["Codec", "MalformedCall", "call_error"]

MAX_ID = 2**53 - 1


class MalformedCall(ValueError):
    """A request that is no envelope. `call` is the name it gives, if it has one."""

    def __init__(self, reason: str, call: str | None = None) -> None:
        super().__init__(reason)
        self.call = call


class _Ok(Struct):
    ok: Any


class _Error(Struct):
    error: CallError


class _Named(Struct):
    call: str


# Encoders and decoders keep no state between calls, so one of each serves every thread.
_encoder = msgspec.json.Encoder()
_reply = msgspec.json.Decoder(TurnReply)
_call: msgspec.json.Decoder[Call] = msgspec.json.Decoder(Call)
_named = msgspec.json.Decoder(_Named)

_OK_NULL = b'{"ok":null}'
_OK_NULL_FRAMED = pack(_OK_NULL)
_BROKEN = (MalformedFrame, MalformedJson, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_BUFFERS = Buffers([])


class Codec:
    """One of the two codecs of ABI 1. Holds nothing but which one it is."""

    __slots__ = ("framed",)

    def __init__(self, kind: Literal["json", "framed"]) -> None:
        self.framed = kind == "framed"

    def encode_turn(self, turn: Turn) -> bytes:
        if not self.framed:
            return _encoder.encode(turn)
        buffers: list[bytes] = []
        events = [_lift_event(event, buffers) for event in turn.events]
        if not buffers:
            return pack(_encoder.encode(turn))
        return pack(_encoder.encode(Turn(turn.turn, turn.now, events)), buffers)

    def decode_reply(self, data: bytes) -> Reply:
        """Raises `guest/bad_reply`. The results are looked at when the actor asks for them."""
        try:
            header, buffers = unpack(data) if self.framed else (data, _NONE)
            check(header)
            reply = _reply.decode(header)
        except _BROKEN as error:
            raise bad_reply(str(error)) from None
        if not 0 <= reply.pending <= MAX_ID:
            raise bad_reply(f"pending is {reply.pending}")
        for settled in reply.settled:
            if not 0 <= settled.event <= MAX_ID:
                raise bad_reply(f"the event id {settled.event} was never given out")
            if settled.result is not UNSET and settled.error is not UNSET:
                raise bad_reply(f"event {settled.event} settled with a result and an error")
        return Reply(reply, buffers)

    def decode_call(self, data: bytes) -> Call:
        """A host call with its buffers as bytes; raises `MalformedCall`."""
        try:
            header, buffers = unpack(data) if self.framed else (data, _NONE)
            check(header)
        except _BROKEN as error:
            raise MalformedCall(str(error)) from None
        try:
            call = _call.decode(header)
            resolve = _RESOLVE.get(type(call))
            if buffers:
                source = Buffers(buffers)
                call = call if resolve is None else resolve(call, source)
                source.finish()
            elif resolve is not None:
                call = resolve(call, _NO_BUFFERS)
        except _BROKEN as error:
            raise MalformedCall(str(error), _name_of(header)) from None
        return call

    def encode_ok(self, value: Any) -> bytes:
        """`{"ok": value}`: None, numbers, text, bytes, Raw, Structs, and lists or pairs of bytes."""
        if value is None:
            return _OK_NULL_FRAMED if self.framed else _OK_NULL
        if not self.framed:
            return _encoder.encode(_Ok(value))
        buffers: list[bytes] = []
        return pack(_encoder.encode(_Ok(_lift(value, buffers))), buffers)

    def encode_error(self, error: CallError) -> bytes:
        data = _encoder.encode(_Error(error))
        return pack(data) if self.framed else data


def call_error(error: DormiceError) -> CallError:
    """An error of the host as the guest sees it; an internal one is masked by its class."""
    return CallError(error.group, error.code, error.message, UNSET if error.metadata is None else Raw(error.metadata))


_NONE: list[bytes] = []


def _name_of(header: bytes) -> str | None:
    try:
        return _named.decode(header).call
    except _BROKEN:
        return None  # there is no name to tell: the caller reports the first error


def _lift(value: Any, buffers: list[bytes]) -> Any:
    """Moves long buffers behind the header; only bytes, and lists and pairs of them, can hold one."""
    kind = type(value)
    if kind is bytes:
        if len(value) < INLINE_BELOW:
            return value
        buffers.append(value)
        return Bin(len(buffers) - 1)
    if (kind is list or kind is tuple) and value and type(value[0]) in (bytes, tuple, type(None)):
        return [_lift(item, buffers) for item in value]
    return value


def _lift_event(event: Event, buffers: list[bytes]) -> Event:
    kind = type(event)
    if kind is SocketMessageEvent:
        data = event.data  # type: ignore[union-attr]
        if type(data) is bytes and len(data) >= INLINE_BELOW:
            return msgspec.structs.replace(event, data=_lift(data, buffers))
    elif kind is RequestEvent or kind is CompletionEvent:
        body = event.body  # type: ignore[union-attr]
        if type(body) is bytes and len(body) >= INLINE_BELOW:
            return msgspec.structs.replace(event, body=_lift(body, buffers))
    return event


# --- placeholders: one function per call that has buffers; each returns the call itself when it has none ------------


def _resolve_keys(call: Any, source: Buffers) -> Any:
    for key in call.keys:
        if type(key) is Bin:
            return type(call)([source.take(key) for key in call.keys])
    return call


def _resolve_put(call: Any, source: Buffers) -> Any:
    for key, value in call.entries:
        if type(value) is Bin or type(key) is Bin:
            return KvPut([(source.take(key), source.take(value)) for key, value in call.entries])
    return call


def _resolve_bounds(call: Any, source: Buffers) -> Any:
    found: dict[str, bytes] = {}
    for name in ("prefix", "start", "end"):
        bound = getattr(call, name, None)
        if type(bound) is Bin:
            found[name] = source.take(bound)
    return msgspec.structs.replace(call, **found) if found else call


def _resolve_data(call: Any, source: Buffers) -> Any:
    return SocketSend(call.conn, call.text, source.take(call.data)) if type(call.data) is Bin else call


def _resolve_body(call: Any, source: Buffers) -> Any:
    return msgspec.structs.replace(call, body=source.take(call.body)) if type(call.body) is Bin else call


_RESOLVE: dict[type, Callable[[Any, Buffers], Any]] = {
    KvGet: _resolve_keys,
    KvDelete: _resolve_keys,
    KvPut: _resolve_put,
    KvList: _resolve_bounds,
    KvDeleteRange: _resolve_bounds,
    SocketSend: _resolve_data,
    Fetch: _resolve_body,
}
