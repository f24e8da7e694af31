"""CBOR in which Values travel: native maps and arrays, with the same tags inside as in JSON.

Strict about what could hurt (depth, lengths beyond the data, items without number, shared references that expand,
duplicate keys, bytes left over), generous about how others write the same thing: byte strings, typed arrays of bytes,
big numbers, undefined and sets in CBOR's own form become our tags.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import cbor2
import msgspec

from host.model.errors import CallerError
from host.wire.strict_json import MAX_DEPTH, MAX_SAFE_INTEGER
from host.wire.values import ArrayBuffer, BigInt, ValueSet, check_tags, check_value, to_tree

__all__ = ["MAX_ITEMS", "cbor_to_value", "dumps", "value_to_cbor"]

# An item of one byte becomes an object of 56 and more: four MiB of them would be half a GiB and seconds of work.
MAX_ITEMS = 262_144

_json = msgspec.json.Encoder()
_json_decoder = msgspec.json.Decoder()


def _refuse(value: Any, immutable: bool) -> Any:
    raise cbor2.CBORDecodeError("this CBOR tag is not accepted")


def _bytes(value: Any, immutable: bool) -> bytes:
    if not isinstance(value, bytes):
        raise cbor2.CBORDecodeError("tag 64 needs a byte string")
    return value


def _set(value: Any, immutable: bool) -> ValueSet:
    if not isinstance(value, list | tuple):
        raise cbor2.CBORDecodeError("tag 258 needs an array")
    return ValueSet(tuple(value))


def _self_described(value: Any, immutable: bool) -> Any:
    return value


# Dates, fractions, regular expressions, addresses have no Value; 25, 28, 29 and 256 are references, which can be
# cyclic or expand beyond any bound. Every tag that the library knows is named here, unknown ones go to the hook.
_REFUSED = (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 260, 261, 1004, 43000)
_TAGS = dict.fromkeys(_REFUSED, _refuse) | {64: _bytes, 258: _set, 55799: _self_described}


def value_to_cbor(raw: bytes) -> bytes:
    """A Value as CBOR; raises `request/invalid`."""
    check_value(raw)
    return cbor2.dumps(_json_decoder.decode(raw))


def cbor_to_value(data: bytes) -> bytes:
    """CBOR as a Value; raises `request/invalid`."""
    if len(data) > MAX_ITEMS and _has_more_items(data, MAX_ITEMS):
        raise _invalid(f"it has more than {MAX_ITEMS} items")
    source = io.BytesIO(data)
    try:
        decoder = cbor2.CBORDecoder(
            source,
            semantic_decoders=_TAGS,
            tag_hook=_refuse,
            max_depth=MAX_DEPTH,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        tree = _to_tree(decoder.decode(), MAX_DEPTH)
    except (cbor2.CBORError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise _invalid(str(error.__cause__ or error)) from None
    if source.tell() != len(data):
        raise _invalid("bytes are left over after the first item")
    check_tags(tree)
    return _json.encode(tree)


def dumps(value: Any) -> bytes:
    """Python objects as CBOR with our tags inside (for documents of our own, such as a snapshot)."""
    return cbor2.dumps(to_tree(value))


def _has_more_items(data: bytes, allowed: int) -> bool:
    """Steps from head to head without looking at the nesting. Where a head is none the decoder has the word."""
    at, size, items = 0, len(data), 0
    while at < size:
        items += 1
        if items > allowed:
            return True
        head = data[at]
        low = head & 0x1F
        at += 1
        if low >= 24:
            if low > 27:  # an indefinite length, a break, or nothing that there is
                continue
            width = 1 << (low - 24)
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        else:
            length = low
        if 0x40 <= head < 0x80:  # the content of a string
            at += length
    return False


def _to_tree(item: Any, room: int) -> Any:
    """CBOR's own forms to tags. Lists stay as they are: a tag that is already there travels as a list."""
    if room < 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if item is None or isinstance(item, bool | str):
        return item
    if isinstance(item, int):
        return to_tree(BigInt(item)) if abs(item) > MAX_SAFE_INTEGER else item
    if isinstance(item, float):
        if not math.isfinite(item):
            raise ValueError("NaN and infinities cannot be sent")
        return item
    if isinstance(item, list | tuple):
        return [_to_tree(each, room - 1) for each in item]
    if isinstance(item, Mapping):
        if not all(isinstance(key, str) for key in item):
            raise ValueError("the keys of a map must be text")
        return {key: _to_tree(each, room - 1) for key, each in item.items()}
    if isinstance(item, bytes | ArrayBuffer):
        return to_tree(item)
    if isinstance(item, ValueSet):
        return ["$Set", [_to_tree(each, room - 2) for each in item.items]]
    if item is cbor2.undefined:
        return ["$Undefined", 0]
    raise ValueError(f"a {type(item).__name__} is not accepted")


def _invalid(reason: str) -> CallerError:
    return CallerError("request", "invalid", f"the CBOR is not valid: {reason}")
