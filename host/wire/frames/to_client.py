"""What a client gets over a /connect socket: that it is connected, answers, errors, events.

Values that are encoded here have been checked where they came from, so encoding does not fail.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from host.model.errors import ErrorInfo
from host.wire.cbor import cbor_to_value, value_to_cbor
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
from host.wire.frames.cbor_items import text_item, uint_item
from host.wire.frames.encoding import Encoding, invalid
from host.wire.frames.errors import (
    ACTOR_SINCE,
    ActorSpecifier,
    ErrorDocument,
    actor_of,
    error_items,
    fields_of,
    info_of,
    read_actor,
    read_error,
    write_actor,
    write_error,
)
from host.wire.frames.json_parts import BROKEN, body_of, uint_of
from host.wire.values import check_value

__all__ = [
    "ActionResponse",
    "ClientFrame",
    "ErrorFrame",
    "EventFrame",
    "Init",
    "decode_to_client",
    "encode_action_response",
    "encode_error",
    "encode_event",
    "encode_init",
]


class Init(Struct, frozen=True):
    """The first frame of a connection."""

    actor_id: str
    conn_id: str


class ErrorFrame(Struct, frozen=True):
    """The error of one action, or of the connection where `action_id` is None."""

    error: ErrorInfo
    action_id: int | None = None
    actor: ActorSpecifier | None = None


class ActionResponse(Struct, frozen=True):
    """`output` is a Value."""

    id: int
    output: bytes


class EventFrame(Struct, frozen=True):
    """`args` is a Value: a JSON array."""

    name: str
    args: bytes


ClientFrame = Init | ErrorFrame | ActionResponse | EventFrame


class _Init(Struct):
    actor_id: str = msgspec.field(name="actorId")
    conn_id: str = msgspec.field(name="connectionId")


class _Response(Struct):
    id: Any
    output: Raw = Raw(b'["$Undefined",0]')


class _Event(Struct):
    name: str
    args: Raw = Raw(b"[]")


class _Error(ErrorDocument):
    action_id: Any = msgspec.field(name="actionId", default=None)


_init = msgspec.json.Decoder(_Init)
_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)
_error = msgspec.json.Decoder(_Error)
_json = msgspec.json.Encoder()

_BARE_INIT, _BARE_ERROR, _BARE_RESPONSE, _BARE_EVENT = (PREFIX + bytes((tag,)) for tag in range(4))
# The CBOR of {"body": {"tag": …, "val": {…}}} up to the first thing that differs between two frames.
_CBOR_RESPONSE = b"\xa1dbody\xa2ctagnActionResponsecval\xa2bid\x1b"
_CBOR_EVENT = b"\xa1dbody\xa2ctageEventcval\xa2dname"
_CBOR_ERROR = b"\xa1dbody\xa2ctageErrorcval"
_CBOR_OUTPUT = b"foutput"


def encode_init(encoding: Encoding, actor_id: str, conn_id: str) -> str | bytes:
    if encoding == "bare":
        return b"".join((_BARE_INIT, write_text(actor_id), write_text(conn_id)))
    return _document(encoding, "Init", {"actorId": actor_id, "connectionId": conn_id})


def encode_action_response(encoding: Encoding, number: int, output: bytes) -> str | bytes:
    """`output` is a Value."""
    if encoding == "json":
        return f'{{"body":{{"tag":"ActionResponse","val":{{"id":["$BigInt","{number}"],"output":{output.decode()}}}}}}}'
    result = value_to_cbor(output, checked=True)
    if encoding == "bare":
        return b"".join((_BARE_RESPONSE, write_uint(number), write_data(result)))
    return b"".join((_CBOR_RESPONSE, number.to_bytes(8, "big"), _CBOR_OUTPUT, result))


def encode_event(encoding: Encoding, name: str, args: bytes) -> str | bytes:
    """`args` is a Value: a JSON array. The frame is the same for every connection of an encoding."""
    if encoding == "json":
        return f'{{"body":{{"tag":"Event","val":{{"name":{_json.encode(name).decode()},"args":{args.decode()}}}}}}}'
    items = value_to_cbor(args, checked=True)
    if encoding == "bare":
        return b"".join((_BARE_EVENT, write_text(name), write_data(items)))
    return b"".join((_CBOR_EVENT, text_item(name), b"dargs", items))


def encode_error(
    encoding: Encoding, error: ErrorInfo, *, action_id: int | None = None, actor: ActorSpecifier | None = None
) -> str | bytes:
    """Without `action_id` it is the connection's error."""
    if encoding == "bare":
        which = b"\x00" if action_id is None else b"\x01" + write_uint(action_id)
        return b"".join((_BARE_ERROR, write_error(error), which, write_actor(actor)))
    if encoding == "cbor":
        pairs = error_items(error, actor)
        pairs.append(b"hactionId" + (b"\xf6" if action_id is None else uint_item(action_id)))
        return b"".join((_CBOR_ERROR, bytes((0xA0 + len(pairs),)), *pairs))
    number = b"null" if action_id is None else b'["$BigInt","%d"]' % action_id
    fields = _json.encode(fields_of(error, actor))
    return (b'{"body":{"tag":"Error","val":{"actionId":%b,%b}}' % (number, fields[1:])).decode()


def decode_to_client(encoding: Encoding, data: str | bytes) -> ClientFrame:
    """One frame of a host; raises `request/invalid`."""
    if encoding == "bare":
        if isinstance(data, str):
            raise invalid("bare", "frame", "it is text")
        try:
            return _from_bare(data)
        except Malformed as error:
            raise invalid("bare", "frame", str(error)) from None
    if encoding == "cbor" and isinstance(data, bytes) and data.startswith(_CBOR_RESPONSE):
        at = len(_CBOR_RESPONSE) + 8
        if data[at : at + 7] == _CBOR_OUTPUT:
            number = int.from_bytes(data[at - 8 : at], "big")
            return ActionResponse(number, cbor_to_value(data[at + 7 :]))
    tag, val = body_of(encoding, data)
    try:
        return _from_json(encoding, tag, val)
    except BROKEN as error:
        raise invalid(encoding, "frame", str(error)) from None


def _from_json(encoding: Encoding, tag: str, val: bytes) -> ClientFrame:
    if tag == "ActionResponse":
        response = _response.decode(val)
        output = bytes(response.output)
        check_value(output)
        return ActionResponse(uint_of(response.id), output)
    if tag == "Event":
        event = _event.decode(val)
        return EventFrame(event.name, args_of_json(bytes(event.args)))
    if tag == "Error":
        error = _error.decode(val)
        number = None if error.action_id is None else uint_of(error.action_id)
        return ErrorFrame(info_of(error), number, actor_of(error))
    if tag == "Init":
        init = _init.decode(val)
        return Init(init.actor_id, init.conn_id)
    raise invalid(encoding, "frame", f"the tag {tag[:40]!r} is unknown")


def _from_bare(data: bytes) -> ClientFrame:
    version = read_version(data)
    tag, at = data[2:3], 3
    frame: ClientFrame
    if tag == b"\x02":
        number, at = read_uint(data, at)
        output, at = read_data(data, at)
        frame = ActionResponse(number, cbor_to_value(output))
    elif tag == b"\x03":
        name, at = read_text(data, at)
        args, at = read_data(data, at)
        frame = EventFrame(name, args_of_cbor(args))
    elif tag == b"\x01":
        error, at = read_error(data, at)
        there, at = read_bool(data, at)
        action_id: int | None = None
        if there:
            action_id, at = read_uint(data, at)
        actor, at = read_actor(data, at) if version >= ACTOR_SINCE else (None, at)
        frame = ErrorFrame(error, action_id, actor)
    elif tag == b"\x00":
        actor_id, at = read_text(data, at)
        conn_id, at = read_text(data, at)
        if version == 1:  # had a token for the connection
            _, at = read_text(data, at)
        frame = Init(actor_id, conn_id)
    else:
        raise Malformed("the tag is none of 0 to 3, or missing")
    check_end(data, at)
    return frame


def _document(encoding: Encoding, tag: str, val: dict[str, str]) -> str | bytes:
    raw = _json.encode({"body": {"tag": tag, "val": val}})
    return raw.decode() if encoding == "json" else value_to_cbor(raw, checked=True)
