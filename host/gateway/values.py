"""Values as clients send them in the JSON encoding: checked at the door, then kept as raw JSON."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct
from starlette.datastructures import Headers

from host.model.errors import CallerError, limit_error
from host.wire.strict_json import MalformedJson, check
from host.wire.values import check_value

__all__ = ["action_args", "conn_params", "require_json_encoding"]

PARAMS_PROTOCOL = "rivet_conn_params."


class _ActionBody(Struct):
    args: Raw = Raw(b"[]")


_action_decoder = msgspec.json.Decoder(_ActionBody)


def require_json_encoding(headers: Headers) -> None:
    encoding = headers.get("x-rivet-encoding", "json")
    if encoding != "json":
        raise CallerError(
            "request", "invalid", f"x-rivet-encoding {encoding[:16]!r} is not available here; send json or leave it out"
        )


def action_args(body: bytes, allowed: int) -> bytes:
    """The args array of `{"args": […]}` as it stands; an empty body is a call without arguments."""
    if not body:
        return b"[]"
    try:
        check(body)
        args = bytes(_action_decoder.decode(body).args)
    except (MalformedJson, msgspec.DecodeError, RecursionError) as error:
        raise CallerError("request", "invalid", f'an action takes {{"args": […]}} in JSON: {error}') from None
    if not args.startswith(b"["):
        raise CallerError("request", "invalid", "the args of an action are a JSON array")
    if len(args) > allowed:
        raise limit_error("action", len(args), allowed, "send smaller arguments", name="request/too_large")
    check_value(args)
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
