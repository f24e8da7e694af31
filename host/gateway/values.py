"""Values as clients send them, in the encoding that they name: checked at the door, then kept as raw JSON."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.datastructures import Headers

from host.model.errors import limit_error
from host.wire.frames.bodies import decode_action_request
from host.wire.frames.encoding import DEFAULT_ENCODING, ENCODINGS, Encoding, parse_encoding
from host.wire.values import check_value

__all__ = ["action_args", "conn_params", "encoding_of", "error_encoding"]

ENCODING_HEADER = "x-rivet-encoding"
PARAMS_PROTOCOL = "rivet_conn_params."


def encoding_of(headers: Headers) -> Encoding:
    """Of a request and its answer."""
    return parse_encoding(headers.get(ENCODING_HEADER, DEFAULT_ENCODING))


def error_encoding(headers: Headers) -> Encoding:
    """Of the answer to a request that fails. One whose body is JSON is read as JSON, whatever the header says."""
    name = headers.get(ENCODING_HEADER, DEFAULT_ENCODING)
    if "application/json" in headers.get("content-type", "").lower():
        return "json"
    return next((known for known in ENCODINGS if known == name), DEFAULT_ENCODING)


def action_args(encoding: Encoding, body: bytes, allowed: int) -> bytes:
    """The arguments as a Value; no body is a call without any. `allowed` is in bytes of JSON."""
    args = decode_action_request(encoding, body)
    if len(args) > allowed:
        raise limit_error("action", len(args), allowed, "send smaller arguments", name="request/too_large")
    return args


def conn_params(headers: Headers, offered: list[str], allowed: int) -> bytes | None:
    """The parameters of a connection: a header, or where a browser cannot set one, a sub-protocol."""
    text = headers.get("x-rivet-conn-params")
    if text is None:
        for name in offered:
            if name.startswith(PARAMS_PROTOCOL):
                text = unquote(name[len(PARAMS_PROTOCOL) :])
                break
    if text is None:
        return None
    raw = text.encode("utf-8", "replace")
    if len(raw) > allowed:
        raise limit_error("conn_params", len(raw), allowed, "send smaller parameters", name="request/too_large")
    check_value(raw)
    return raw
