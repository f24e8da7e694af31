"""What a client sends over a /connect socket: actions, and which events it wants."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from host.model.tunnel import ActionRequest, Subscription
from host.wire.cbor import value_to_cbor
from host.wire.frames.args import args_of_cbor, args_of_json
from host.wire.frames.bare import (
    PREFIX,
    Malformed,
    check_end,
    read_bool,
    read_data,
    read_text,
    read_uint,
    read_version,
    write_data,
    write_text,
    write_uint,
)
from host.wire.frames.cbor_items import text_item
from host.wire.frames.encoding import Encoding, invalid
from host.wire.frames.json_parts import BROKEN, body_of, uint_of

__all__ = ["decode_to_server", "encode_to_server"]

# How the client that most people use lays out the CBOR of an action, up to the id: maps with lengths of two bytes.
_CBOR_ACTION = b"\xb9\x00\x01dbody\xb9\x00\x02ctagmActionRequestcval\xb9\x00\x03bid\x1b"
_CBOR_NAME = b"dname"
_CBOR_ARGS = b"dargs"


class _Action(Struct):
    id: Any
    name: str
    args: Raw = Raw(b"[]")


class _Subscription(Struct):
    event: str = msgspec.field(name="eventName")
    on: bool = msgspec.field(name="subscribe")


_action = msgspec.json.Decoder(_Action)
_subscription = msgspec.json.Decoder(_Subscription)
_json = msgspec.json.Encoder()


def decode_to_server(encoding: Encoding, data: str | bytes) -> ActionRequest | Subscription:
    """One frame of a client; raises `request/invalid`. How long names may be is for the caller to say."""
    if encoding == "bare":
        if isinstance(data, str):
            raise invalid("bare", "frame", "it is text")
        try:
            return _from_bare(data)
        except Malformed as error:
            raise invalid("bare", "frame", str(error)) from None
    if encoding == "cbor" and isinstance(data, bytes) and data.startswith(_CBOR_ACTION):
        message = _from_usual_cbor(data)
        if message is not None:
            return message
    tag, val = body_of(encoding, data)
    try:
        if tag == "ActionRequest":
            action = _action.decode(val)
            return ActionRequest(uint_of(action.id), action.name, args_of_json(bytes(action.args)))
        if tag == "SubscriptionRequest":
            wanted = _subscription.decode(val)
            return Subscription(wanted.event, wanted.on)
    except BROKEN as error:
        raise invalid(encoding, "frame", str(error)) from None
    raise invalid(encoding, "frame", f"the tag {tag[:40]!r} is unknown")


def encode_to_server(encoding: Encoding, message: ActionRequest | Subscription) -> str | bytes:
    """A frame for a host: text in JSON, else bytes. The arguments are a Value that has been checked."""
    if isinstance(message, ActionRequest):
        return _action_frame(encoding, message)
    if encoding == "bare":
        return PREFIX + b"\x01" + write_text(message.event) + (b"\x01" if message.on else b"\x00")
    raw = _json.encode(
        {"body": {"tag": "SubscriptionRequest", "val": {"eventName": message.event, "subscribe": message.on}}}
    )
    return raw.decode() if encoding == "json" else value_to_cbor(raw, checked=True)


def _action_frame(encoding: Encoding, action: ActionRequest) -> str | bytes:
    if encoding == "json":
        name = _json.encode(action.name).decode()
        return (
            f'{{"body":{{"tag":"ActionRequest","val":{{"id":["$BigInt","{action.id}"],"name":{name},'
            f'"args":{action.args.decode()}}}}}}}'
        )
    args = value_to_cbor(action.args, checked=True)
    if encoding == "bare":
        return b"".join((PREFIX, b"\x00", write_uint(action.id), write_text(action.name), write_data(args)))
    number = action.id.to_bytes(8, "big")
    return b"".join((_CBOR_ACTION, number, _CBOR_NAME, text_item(action.name), _CBOR_ARGS, args))


def _from_bare(data: bytes) -> ActionRequest | Subscription:
    read_version(data)  # what a client sends is the same in all of them
    tag = data[2:3]
    if tag == b"\x00":
        number, at = read_uint(data, 3)
        name, at = read_text(data, at)
        args, at = read_data(data, at)
        check_end(data, at)
        return ActionRequest(number, name, args_of_cbor(args))
    if tag == b"\x01":
        name, at = read_text(data, 3)
        on, at = read_bool(data, at)
        check_end(data, at)
        return Subscription(name, on)
    raise Malformed("the tag is neither 0 nor 1, or missing")


def _from_usual_cbor(data: bytes) -> ActionRequest | None:
    """The frame, if it goes on as it began; None leaves it to the long way, which says what is wrong with it."""
    at = len(_CBOR_ACTION)
    number = int.from_bytes(data[at : at + 8], "big")
    at += 8
    if data[at : at + 5] != _CBOR_NAME:
        return None
    head = data[at + 5 : at + 6]
    at += 6
    if b"\x60" <= head < b"\x78":
        size = head[0] - 0x60
    elif head == b"\x78":
        size = data[at] if at < len(data) else 0
        at += 1
    else:
        return None
    end = at + size
    if data[end : end + 5] != _CBOR_ARGS:
        return None
    try:
        name = data[at:end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return ActionRequest(number, name, args_of_cbor(data[end + 5 :]))
