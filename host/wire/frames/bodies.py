"""What client and host say over HTTP: an action's arguments and result, a queue's message, an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from host.model.errors import ErrorInfo
from host.wire.cbor import cbor_to_value, value_to_cbor
from host.wire.frames.args import args_of_cbor, args_of_json
from host.wire.frames.bare import (
    MAX_UINT,
    PREFIX,
    Malformed,
    check_end,
    read_bool,
    read_data,
    read_optional_data,
    read_optional_text,
    read_text,
    read_u64,
    read_version,
    write_data,
    write_optional_data,
    write_optional_text,
    write_text,
)
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
from host.wire.frames.json_parts import BROKEN, document
from host.wire.values import check_value

__all__ = [
    "QueueSend",
    "QueueSent",
    "decode_action_request",
    "decode_action_result",
    "decode_http_error",
    "decode_queue_send",
    "decode_queue_sent",
    "encode_action_request",
    "encode_action_result",
    "encode_http_error",
    "encode_queue_send",
    "encode_queue_sent",
]

T = TypeVar("T")

QUEUES_SINCE = 3  # the first version that has them

_UNDEFINED = b'["$Undefined",0]'


class QueueSend(Struct, frozen=True):
    """A message for a queue. `body` is a Value; `timeout` is in milliseconds, for a sender who waits."""

    body: bytes
    name: str | None = None
    wait: bool = False
    timeout: int | None = None


class QueueSent(Struct, frozen=True):
    """What became of it: "completed" or "timedOut". `response` is a Value."""

    status: str
    response: bytes | None = None


class _Args(Struct):
    args: Raw = Raw(b"[]")


class _Output(Struct):
    output: Raw


class _Send(Struct, omit_defaults=True):
    body: Raw = Raw(_UNDEFINED)
    name: str | None = None
    wait: bool | None = None
    timeout: int | None = None


class _Sent(Struct, omit_defaults=True):
    status: str
    response: Raw | UnsetType = UNSET


_args = msgspec.json.Decoder(_Args)
_output = msgspec.json.Decoder(_Output)
_send = msgspec.json.Decoder(_Send)
_sent = msgspec.json.Decoder(_Sent)
_error = msgspec.json.Decoder(ErrorDocument)
_json = msgspec.json.Encoder()


def decode_action_request(encoding: Encoding, body: bytes) -> bytes:
    """The arguments, a Value; an empty body is a call without any. Raises `request/invalid`."""
    if not body:
        return b"[]"
    if encoding != "bare":
        return args_of_json(bytes(_document(encoding, body, _args, 'body of an action ({"args": […]})').args))
    return _from_bare(body, _bare_args, "body of an action")


def encode_action_request(encoding: Encoding, args: bytes) -> bytes:
    """`args` is a Value that has been checked: a JSON array."""
    if encoding == "json":
        return b'{"args":%b}' % args
    items = value_to_cbor(args, checked=True)
    return b"\xa1dargs" + items if encoding == "cbor" else PREFIX + write_data(items)


def decode_action_result(encoding: Encoding, body: bytes) -> bytes:
    """The result, a Value; raises `request/invalid`."""
    if encoding != "bare":
        return _checked(_document(encoding, body, _output, "answer of an action").output)
    return _from_bare(body, _bare_value, "answer of an action")


def encode_action_result(encoding: Encoding, output: bytes) -> bytes:
    """`output` is a Value that has been checked."""
    if encoding == "json":
        return b'{"output":%b}' % output
    item = value_to_cbor(output, checked=True)
    return b"\xa1foutput" + item if encoding == "cbor" else PREFIX + write_data(item)


def decode_queue_send(encoding: Encoding, body: bytes) -> QueueSend:
    """Raises `request/invalid`."""
    if encoding == "bare":
        return _from_bare(body, _bare_send, "message for a queue")
    sent = _document(encoding, body, _send, "message for a queue")
    if sent.timeout is not None and not 0 <= sent.timeout <= MAX_UINT:
        raise invalid(encoding, "message for a queue", "its timeout is no number of milliseconds")
    return QueueSend(_checked(sent.body), sent.name, bool(sent.wait), sent.timeout)


def encode_queue_send(encoding: Encoding, message: QueueSend) -> bytes:
    if encoding != "bare":
        raw = _json.encode(_Send(Raw(message.body), message.name, message.wait or None, message.timeout))
        return raw if encoding == "json" else value_to_cbor(raw, checked=True)
    timeout = b"\x00" if message.timeout is None else b"\x01" + message.timeout.to_bytes(8, "little")
    return b"".join(
        (
            PREFIX,
            write_data(value_to_cbor(message.body, checked=True)),
            write_optional_text(message.name),
            b"\x01\x01" if message.wait else b"\x01\x00",
            timeout,
        )
    )


def decode_queue_sent(encoding: Encoding, body: bytes) -> QueueSent:
    """Raises `request/invalid`."""
    if encoding == "bare":
        return _from_bare(body, _bare_sent, "answer of a queue")
    sent = _document(encoding, body, _sent, "answer of a queue")
    return QueueSent(sent.status, None if sent.response is UNSET else _checked(sent.response))


def encode_queue_sent(encoding: Encoding, sent: QueueSent) -> bytes:
    if encoding != "bare":
        raw = _json.encode(_Sent(sent.status, UNSET if sent.response is None else Raw(sent.response)))
        return raw if encoding == "json" else value_to_cbor(raw, checked=True)
    response = None if sent.response is None else value_to_cbor(sent.response, checked=True)
    return b"".join((PREFIX, write_text(sent.status), write_optional_data(response)))


def decode_http_error(encoding: Encoding, body: bytes) -> tuple[ErrorInfo, ActorSpecifier | None]:
    """Raises `request/invalid`."""
    if encoding == "bare":
        return _from_bare(body, _bare_error, "error")
    document = _document(encoding, body, _error, "error")
    return info_of(document), actor_of(document)


def encode_http_error(encoding: Encoding, error: ErrorInfo, actor: ActorSpecifier | None = None) -> bytes:
    if encoding == "bare":
        return b"".join((PREFIX, write_error(error), write_actor(actor)))
    if encoding == "cbor":
        pairs = error_items(error, actor)
        return b"".join((bytes((0xA0 + len(pairs),)), *pairs))
    return _json.encode(fields_of(error, actor))


# inside --------------------------------------------------------------------------------------------------------------


def _document(encoding: Encoding, body: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    raw = document(encoding, body, what)
    try:
        return decoder.decode(raw)
    except BROKEN as error:
        raise invalid(encoding, what, str(error)) from None


def _checked(raw: Raw) -> bytes:
    value = bytes(raw)
    check_value(value)
    return value


def _from_bare(body: bytes, read: Callable[[bytes, int, int], tuple[T, int]], what: str) -> T:
    """`read` gets the data, the version, and the position behind it."""
    try:
        found, at = read(body, read_version(body), 2)
        check_end(body, at)
    except Malformed as error:
        raise invalid("bare", what, str(error)) from None
    return found


def _bare_args(body: bytes, version: int, at: int) -> tuple[bytes, int]:
    data, at = read_data(body, at)
    return args_of_cbor(data), at


def _bare_value(body: bytes, version: int, at: int) -> tuple[bytes, int]:
    data, at = read_data(body, at)
    return cbor_to_value(data), at


def _bare_send(body: bytes, version: int, at: int) -> tuple[QueueSend, int]:
    if version < QUEUES_SINCE:
        raise Malformed(f"version {version} had no queues")
    data, at = read_data(body, at)
    name, at = read_optional_text(body, at)
    there, at = read_bool(body, at)
    wait, at = read_bool(body, at) if there else (False, at)
    there, at = read_bool(body, at)
    timeout: int | None = None
    if there:
        timeout, at = read_u64(body, at)
    return QueueSend(cbor_to_value(data), name, wait, timeout), at


def _bare_sent(body: bytes, version: int, at: int) -> tuple[QueueSent, int]:
    if version < QUEUES_SINCE:
        raise Malformed(f"version {version} had no queues")
    status, at = read_text(body, at)
    data, at = read_optional_data(body, at)
    return QueueSent(status, None if data is None else cbor_to_value(data)), at


def _bare_error(body: bytes, version: int, at: int) -> tuple[tuple[ErrorInfo, ActorSpecifier | None], int]:
    error, at = read_error(body, at)
    actor, at = read_actor(body, at) if version >= ACTOR_SINCE else (None, at)
    return (error, actor), at
