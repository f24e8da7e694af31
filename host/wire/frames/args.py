"""The arguments of an action or an event: a Value that is an array, whatever its first item looks like."""

from __future__ import annotations

from host.model.errors import CallerError
from host.wire.cbor import cbor_to_value
from host.wire.values import to_python

__all__ = ["args_of_cbor", "args_of_json"]


def args_of_json(raw: bytes) -> bytes:
    """The same bytes; raises `request/invalid` unless they are a Value and an array."""
    if not raw.startswith(b"[") or type(to_python(raw)) is not list:
        raise _no_array()
    return raw


def args_of_cbor(data: bytes) -> bytes:
    """The arguments as a Value; raises `request/invalid`."""
    raw = cbor_to_value(data)
    if not raw.startswith(b"[") or (raw.startswith(b'["$') and type(to_python(raw)) is not list):
        raise _no_array()
    return raw


def _no_array() -> CallerError:
    return CallerError("request", "invalid", "the arguments are not an array")
