"""What a JSON text must satisfy before anything decodes it.

The decoder is fast and forgiving in places where strangers push: it recurses as deep as the text says, it makes an
object of 56 bytes and more out of two (and lets nobody else run meanwhile), it takes bytes that are not UTF-8 inside
parts that it skips, and of two equal keys it keeps the last. `check` closes the first three for every text that crosses
the trust boundary; `loads_strict` closes the last for the control plane, where a second reader (a proxy, an audit) must
not see another document than we do.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

import msgspec

from host.model.errors import CallerError

__all__ = ["MAX_CONTAINERS", "MAX_DEPTH", "MAX_SAFE_INTEGER", "MalformedJson", "check", "decode_strict", "loads_strict"]

MAX_DEPTH = 32
MAX_CONTAINERS = 131_072  # arrays and objects of one text
MAX_SAFE_INTEGER = 2**53 - 1

# A whole string, or one that never ends: without the second form each quote of such a text would scan to its end again.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

T = TypeVar("T")


class MalformedJson(ValueError):
    """A text that no decoder should see: not UTF-8, nested too deep, or too many arrays and objects."""


def check(data: bytes, *, max_depth: int = MAX_DEPTH) -> None:
    """Refuses bytes that are not strict UTF-8, nesting below `max_depth` levels, and more than `MAX_CONTAINERS` arrays
    and objects. Says nothing about the grammar."""
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedJson(f"not UTF-8 at byte {error.start}") from None
    if data.count(b"[") + data.count(b"{") > max_depth:
        _check_depth(data, max_depth)


def _check_depth(data: bytes, max_depth: int) -> None:
    """Peels the innermost brackets off, one level a round, all in C: what is left after `max_depth` rounds is deeper
    (or does not balance, which the decoder would refuse as well)."""
    brackets = _STRING.sub(b"", data).translate(_TO_SQUARE, _NOT_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise MalformedJson(f"more than {MAX_CONTAINERS} arrays and objects")
    if b"[" * (max_depth + 1) in brackets:
        raise MalformedJson(f"nested deeper than {max_depth} levels")
    for _ in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise MalformedJson(f"nested deeper than {max_depth} levels, or its brackets do not balance")


def loads_strict(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """A JSON text of the control plane as plain objects; raises `request/invalid` where two readers could differ:
    duplicate keys, NaN and infinities, integers above 2**53 - 1, lone surrogates, a byte order mark."""
    try:
        check(data, max_depth=max_depth)
        text = data.decode("utf-8")
        value = _strict_decoder.decode(text)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid("a string holds half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise _invalid(str(error)) from None
    return value


def decode_strict(data: bytes, type: type[T]) -> T:
    """The same, converted to a Struct (or any type msgspec knows); a mismatch names the field."""
    value = loads_strict(data)
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None


def _invalid(reason: str) -> CallerError:
    return CallerError("request", "invalid", f"the JSON body is not valid: {reason}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedJson(f"the key {twice!r} is there twice")
    return made


def _constant(name: str) -> Any:
    raise MalformedJson(f"{name} is not JSON")


def _int(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_SAFE_INTEGER:
        raise MalformedJson("an integer is beyond 2**53 - 1; send it as a string")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise MalformedJson("a number is out of range")
    return number


_strict_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_int, parse_float=_float
)
