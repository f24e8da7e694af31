"""Actor keys as text: the manager API's form with escapes, and the query route's plain commas.

A key is a list of parts. Two different keys never have the same manager text, and each key has exactly one: that text
is what storage indexes. The query route has no escape, so a part with a comma is refused there rather than split.
"""

from __future__ import annotations

from collections.abc import Sequence

from host.model.errors import CallerError, limit_error

__all__ = ["check_key", "decode_key", "decode_query_key", "encode_key", "encode_query_key"]

EMPTY_KEY = "/"
EMPTY_PART = "\\0"
MAX_PART = 128
MAX_KEY = 1_024


def check_key(parts: Sequence[str], *, max_part: int = MAX_PART, max_key: int = MAX_KEY) -> tuple[str, ...]:
    """The key as a tuple, if it is within the limits (in bytes of UTF-8; the whole key in its manager form)."""
    for part in parts:
        used = _size(part)
        if used > max_part:
            raise limit_error("key_part", used, max_part, "use shorter key parts", name="actor/key_too_large")
    used = _size(_encode(parts))
    if used > max_key:
        raise limit_error("key", used, max_key, "use fewer or shorter key parts", name="actor/key_too_large")
    return tuple(parts)


def encode_key(parts: Sequence[str]) -> str:
    """The manager form: parts joined by `/`; `\\` and `/` are escaped, an empty part is `\\0`, the empty key `/`."""
    return _encode(check_key(parts))


def decode_key(text: str) -> tuple[str, ...]:
    """The key of a manager text; raises `actor/invalid_request` for a text that `encode_key` never makes."""
    if text in ("", EMPTY_KEY):
        return ()
    if len(text) > MAX_KEY:
        raise limit_error("key", _size(text), MAX_KEY, "use fewer or shorter key parts", name="actor/key_too_large")
    parts: list[str] = []
    part: list[str] = []
    empty = False
    chars = iter(text)
    for char in chars:
        if char == "/":
            parts.append(_part(part, empty))
            part, empty = [], False
        elif char != "\\":
            part.append(char)
        else:
            escaped = next(chars, "")
            if escaped == "0" and not part and not empty:
                empty = True
            elif escaped in ("\\", "/"):
                part.append(escaped)
            else:
                raise _invalid(f"unknown escape '\\{escaped}'")
    parts.append(_part(part, empty))
    return check_key(parts)


def encode_query_key(parts: Sequence[str]) -> str | None:
    """The query route's form, or None for the empty key, whose parameter is left out."""
    if any("," in part for part in parts):
        raise _invalid("a key part with a comma cannot be addressed on the query route; use the manager API")
    return ",".join(check_key(parts)) if parts else None


def decode_query_key(text: str | None) -> tuple[str, ...]:
    return () if text is None else check_key(text.split(","))


def _encode(parts: Sequence[str]) -> str:
    if not parts:
        return EMPTY_KEY
    return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") if part else EMPTY_PART for part in parts)


def _part(chars: list[str], empty: bool) -> str:
    if empty == bool(chars):
        raise _invalid("an empty part is written '\\0', and nothing else stands beside it")
    return "".join(chars)


def _size(text: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise _invalid("a part is not well-formed Unicode") from None


def _invalid(reason: str) -> CallerError:
    return CallerError("actor", "invalid_request", f"the actor key is not valid: {reason}")
