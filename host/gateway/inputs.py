"""Creation input on its way in: base64 of CBOR, on two routes in two alphabets, becomes a Value. Pure."""

from __future__ import annotations

from collections.abc import Callable

from host.model.errors import CallerError, limit_error
from host.wire.buffers import decode_base64, decode_base64url
from host.wire.cbor import cbor_to_value

__all__ = ["input_from_base64", "input_from_base64url"]


def input_from_base64(text: str, allowed: int) -> bytes:
    return _input(text, allowed, decode_base64)


def input_from_base64url(text: str, allowed: int) -> bytes:
    """The URL-safe alphabet, with or without padding."""
    return _input(text, allowed, decode_base64url)


def _input(text: str, allowed: int, decode: Callable[[str], bytes]) -> bytes:
    used = len(text.rstrip("=")) * 3 // 4
    if used > allowed:
        raise limit_error("input", used, allowed, "send a smaller input", name="actor/input_too_large")
    try:
        data = decode(text)
    except ValueError as error:
        raise CallerError("actor", "invalid_request", f"the input is not valid: {error}") from None
    return cbor_to_value(data)
