"""CBOR in which Values travel: native maps and arrays, with the same tags inside as in JSON.

Strict about what could hurt (depth, lengths beyond the data, items without number, shared references that expand,
duplicate keys, bytes left over), generous about how others write the same thing: byte strings, typed arrays of bytes,
big numbers, undefined and sets in CBOR's own form become our tags, dates the text that JSON has for them.

Numbers follow JavaScript's CBOR: an integer of eight bytes is a BigInt there, and a number beyond 32 bits is a float.
So such a number is written as a float here, and a whole float of that size is read as the integer that it is.
"""

from __future__ import annotations

import io
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import msgspec

from host.model.errors import CallerError
from host.wire.buffers import encode_base64
from host.wire.strict_json import MAX_DEPTH, MAX_SAFE_INTEGER
from host.wire.values import BigInt, ValueSet, check_tags, check_value, to_tree

__all__ = ["MAX_ITEMS", "cbor_to_json", "cbor_to_value", "dumps", "value_to_cbor"]

# An item of one byte becomes an object of 56 and more: four MiB of them would be half a GiB and seconds of work.
MAX_ITEMS = 262_144

_MAX_INT = 2**32  # what JavaScript's CBOR writes as an integer lies below, on both sides of zero
_LONG_NUMBER = re.compile(rb"[0-9]{10}")
_BIGINT_HEAD = b"\x82\x67$BigInt"  # an array of two, the first of which is this text
_WIDE = re.compile(rb"[\x1b\x3b]")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = frozenset((str, int, bool, type(None)))

_json = msgspec.json.Encoder()
_json_decoder = msgspec.json.Decoder()


def _refuse(value: Any, immutable: bool) -> Any:
    raise cbor2.CBORDecodeError("this CBOR tag is not accepted")


def _bytes(value: Any, immutable: bool) -> bytes:
    if not isinstance(value, bytes):
        raise cbor2.CBORDecodeError("tag 64 needs a byte string")
    return value


def _positive(value: Any, immutable: bool) -> BigInt:
    if immutable or not isinstance(value, bytes):
        raise cbor2.CBORDecodeError("a big number is made of bytes, and no key")
    return BigInt(int.from_bytes(value, "big"))


def _negative(value: Any, immutable: bool) -> BigInt:
    return BigInt(-1 - _positive(value, immutable))


def _set(value: Any, immutable: bool) -> ValueSet:
    if not isinstance(value, list | tuple):
        raise cbor2.CBORDecodeError("tag 258 needs an array")
    return ValueSet(tuple(value))


def _self_described(value: Any, immutable: bool) -> Any:
    return value


def _moment(value: Any, immutable: bool) -> str:
    """Seconds since 1970 as JSON has a date: a Date that a client sends is the same text in every encoding."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise cbor2.CBORDecodeError("tag 1 needs a number of seconds")
    try:
        moment = _EPOCH + timedelta(milliseconds=round(value * 1_000))
    except OverflowError:
        raise cbor2.CBORDecodeError("a date must lie in the years 1 to 9999") from None
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _moment_text(value: Any, immutable: bool) -> str:
    if not isinstance(value, str):
        raise cbor2.CBORDecodeError("tag 0 needs text")
    return value


# Fractions, regular expressions, addresses have no Value; 25, 28, 29 and 256 are references, which can be
# cyclic or expand beyond any bound. Every tag that the library knows is named here, unknown ones go to the hook.
_REFUSED = (4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 260, 261, 1004, 43000)
_TAGS = dict.fromkeys(_REFUSED, _refuse) | {
    0: _moment_text,
    1: _moment,
    2: _positive,
    3: _negative,
    64: _bytes,
    258: _set,
    55799: _self_described,
}


def value_to_cbor(raw: bytes, *, checked: bool = False) -> bytes:
    """A Value as CBOR; raises `request/invalid`, but not for one that `check_value` has let through (`checked`)."""
    if not checked:
        check_value(raw)
    tree = _json_decoder.decode(raw)
    return cbor2.dumps(_to_floats(tree) if _LONG_NUMBER.search(raw) else tree)


def cbor_to_value(data: bytes) -> bytes:
    """CBOR as a Value; raises `request/invalid`."""
    tree = _decode(data, MAX_DEPTH)
    if b"$" in data:  # else there are no tags but those that were made here
        check_tags(tree)
    return _json.encode(tree)


def cbor_to_json(data: bytes, *, max_depth: int = MAX_DEPTH) -> bytes:
    """The same for a document that holds Values somewhere inside: nobody has looked at their tags."""
    return _json.encode(_decode(data, max_depth))


def dumps(value: Any) -> bytes:
    """Python objects as CBOR with our tags inside (for documents of our own, such as a snapshot)."""
    return cbor2.dumps(to_tree(value))


def _decode(data: bytes, max_depth: int) -> Any:
    if len(data) > MAX_ITEMS or _WIDE.search(data):
        data = _survey(data)
    source = io.BytesIO(data)
    try:
        decoder = cbor2.CBORDecoder(
            source,
            semantic_decoders=_TAGS,
            tag_hook=_refuse,
            max_depth=max_depth + 1,  # a big number may be a level of its own
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        tree = _to_tree(decoder.decode(), max_depth)
    except (cbor2.CBORError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise _invalid(str(error.__cause__ or error)) from None
    if source.tell() != len(data):
        raise _invalid("bytes are left over after the first item")
    return tree


def _survey(data: bytes) -> bytes:
    """Counts the items, stepping from head to head without looking at the nesting (where a head is none the decoder
    has the word), and writes integers of eight bytes, whose width the decoder would not tell, as our tag."""
    at, size, items = 0, len(data), 0
    wide: list[int] = []
    while at < size:
        items += 1
        if items > MAX_ITEMS:
            raise _invalid(f"it has more than {MAX_ITEMS} items")
        head = data[at]
        low = head & 0x1F
        at += 1
        if low >= 24:
            if low > 27:  # an indefinite length, a break, or nothing that there is
                continue
            if (head == 0x1B or head == 0x3B) and at + 8 <= size:
                wide.append(at - 1)
            width = 1 << (low - 24)
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        else:
            length = low
        if 0x40 <= head < 0x80:  # the content of a string
            at += length
    if not wide:
        return data
    pieces: list[bytes] = []
    done = 0
    for at in wide:
        number = int.from_bytes(data[at + 1 : at + 9], "big")
        digits = b"%d" % (number if data[at] == 0x1B else -1 - number)
        pieces += (data[done:at], _BIGINT_HEAD, bytes((0x60 + len(digits),)), digits)
        done = at + 9
    return b"".join((*pieces, data[done:]))


def _to_tree(item: Any, room: int) -> Any:
    """CBOR's own forms to tags. Lists stay as they are: a tag that is already there travels as a list."""
    kind = type(item)
    if kind in _PLAIN:  # integers have four bytes at most: wider ones are tags already
        return item
    if kind is float:
        if item.is_integer() and _MAX_INT <= abs(item) <= MAX_SAFE_INTEGER:
            return int(item)
        if not math.isfinite(item):
            raise ValueError("NaN and infinities cannot be sent")
        return item
    if room < (2 if kind is ValueSet else 1):  # a tag is an array, and that of a set holds another
        raise ValueError("it is nested too deep")
    if kind is list or kind is tuple:
        return [each if type(each) in _PLAIN else _to_tree(each, room - 1) for each in item]
    if kind is dict:
        for key in item:
            if type(key) is not str:
                raise ValueError("the keys of a map must be text")
        return {key: each if type(each) in _PLAIN else _to_tree(each, room - 1) for key, each in item.items()}
    if kind is bytes:
        return ["$Uint8Array", encode_base64(item)]
    if kind is BigInt:
        return to_tree(item)
    if kind is ValueSet:
        return ["$Set", [_to_tree(each, room - 2) for each in item.items]]
    if item is cbor2.undefined:
        return ["$Undefined", 0]
    raise ValueError(f"a {kind.__name__} is not accepted")


def _to_floats(item: Any) -> Any:
    """The tree of a Value, its numbers beyond 32 bits as floats. What no float can hold stays an integer."""
    kind = type(item)
    if kind is int:
        if -_MAX_INT <= item < _MAX_INT:
            return item
        try:
            return float(item)
        except OverflowError:
            return item
    if kind is list:
        return [_to_floats(each) for each in item]
    if kind is dict:
        return {key: _to_floats(each) for key, each in item.items()}
    return item


def _invalid(reason: str) -> CallerError:
    return CallerError("request", "invalid", f"the CBOR is not valid: {reason}")
