"""Values: JSON plus tags for what JSON lacks, and their Python counterparts.

A two-element array whose first item is a string that starts with `$` is a tag: `["$BigInt", "1"]`, `["$Uint8Array",
b64]`, `["$ArrayBuffer", b64]`, `["$Undefined", 0]`, `["$Set", [...]]`. A real array of that shape gets one more `$`
and so never looks like one. Guarantees: what `check_value` and `to_python` let through is well-formed in every tag
that a client may see, and `to_python(from_python(v))` is `v`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from host.model.errors import CallerError
from host.wire.buffers import decode_base64, encode_base64
from host.wire.strict_json import MAX_DEPTH, MAX_SAFE_INTEGER, MalformedJson, check

__all__ = [
    "UNDEFINED",
    "ArrayBuffer",
    "BigInt",
    "Undefined",
    "ValueSet",
    "check_tags",
    "check_value",
    "from_python",
    "to_python",
    "to_tree",
]

MAX_BIGINT_DIGITS = 4_000
_BIGINT = re.compile(r"0|-?[1-9][0-9]*")
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class BigInt(int):
    """An integer that stays a BigInt however small it is."""


class ArrayBuffer(bytes):
    """Bytes that are an ArrayBuffer on the other side; plain `bytes` are a Uint8Array."""


class Undefined:
    """JavaScript's undefined; there is one, `UNDEFINED`."""

    def __repr__(self) -> str:
        return "UNDEFINED"

    def __bool__(self) -> bool:
        return False


UNDEFINED: Final = Undefined()


class ValueSet(Struct, frozen=True):
    """A JavaScript Set: ordered, and its items need not be hashable, so a Python set cannot hold every one."""

    items: tuple[Any, ...] = ()


def check_value(raw: bytes) -> None:
    """Refuses (`request/invalid`) a Value that is not JSON, too deep, or wrong in a tag."""
    tree = _parse(raw)
    if _may_have_tags(raw):
        check_tags(tree)


def check_tags(tree: Any) -> None:
    """The same for a tree that is already parsed."""
    _revive(tree)


def to_python(raw: bytes) -> Any:
    """A Value as Python objects; raises `request/invalid`."""
    tree = _parse(raw)
    return _revive(tree) if _may_have_tags(raw) else tree


def from_python(value: Any) -> bytes:
    """Python objects as a Value; raises `request/invalid` for what it cannot carry."""
    try:
        return _encoder.encode(to_tree(value))
    except UnicodeEncodeError:
        raise _invalid("a string holds half of a surrogate pair") from None


def to_tree(value: Any) -> Any:
    """Python objects as plain JSON objects with the tags in place."""
    return _tag(value, MAX_DEPTH)


def _may_have_tags(raw: bytes) -> bool:
    return b'"$' in raw or b'"\\u0024' in raw


def _parse(raw: bytes) -> Any:
    try:
        check(raw)
        return _decoder.decode(raw)
    except (MalformedJson, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _invalid(str(error)) from None


def _revive(tree: Any) -> Any:
    kind = type(tree)
    if kind is list:
        if len(tree) == 2 and type(tree[0]) is str and tree[0].startswith("$"):
            return _untag(tree[0], tree[1])
        return [_revive(item) for item in tree]
    if kind is dict:
        return {key: _revive(item) for key, item in tree.items()}
    return tree


def _untag(tag: str, inner: Any) -> Any:
    if tag.startswith("$$"):
        return [tag[1:], _revive(inner)]
    if tag == "$Undefined":
        if type(inner) is int and inner == 0:
            return UNDEFINED
    elif tag == "$BigInt":
        if type(inner) is str and len(inner) <= MAX_BIGINT_DIGITS and _BIGINT.fullmatch(inner):
            return BigInt(inner)
    elif tag in ("$Uint8Array", "$ArrayBuffer"):
        if type(inner) is str:
            try:
                data = decode_base64(inner)
            except ValueError as error:
                raise _invalid(f"{tag}: {error}") from None
            return data if tag == "$Uint8Array" else ArrayBuffer(data)
    elif tag == "$Set":
        if type(inner) is list:
            return ValueSet(tuple(_revive(item) for item in inner))
    else:
        raise _invalid(f"unknown tag {tag[:40]!r}; write a real array of that shape with one more '$'")
    raise _invalid(f"what stands beside the tag {tag} is not what it needs")


def _tag(value: Any, room: int) -> Any:
    if room < 0:
        raise _invalid(f"nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, BigInt):
        return ["$BigInt", _digits(value)]
    if isinstance(value, int):
        return int(value) if abs(value) <= MAX_SAFE_INTEGER else ["$BigInt", _digits(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid("NaN and infinities cannot be sent")
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _invalid("the keys of an object must be strings")
        return {key: _tag(item, room - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_tag(item, room - 1) for item in value]
        if len(items) == 2 and isinstance(value[0], str) and value[0].startswith("$"):
            items[0] = "$" + value[0]
        return items
    if isinstance(value, bytes | bytearray | memoryview):
        name = "$ArrayBuffer" if isinstance(value, ArrayBuffer) else "$Uint8Array"
        return [name, encode_base64(bytes(value))]
    if isinstance(value, Undefined):
        return ["$Undefined", 0]
    if isinstance(value, ValueSet):
        return ["$Set", [_tag(item, room - 2) for item in value.items]]
    if isinstance(value, set | frozenset):
        return ["$Set", sorted((_tag(item, room - 2) for item in value), key=_encoder.encode)]
    raise _invalid(f"a {type(value).__name__} cannot be sent")


def _digits(value: int) -> str:
    if abs(value).bit_length() > 13_200:
        raise _invalid(f"a BigInt of over {MAX_BIGINT_DIGITS - 30} digits cannot be sent")
    return str(int(value))


def _invalid(reason: str) -> CallerError:
    return CallerError("request", "invalid", f"the value is not valid: {reason}")
