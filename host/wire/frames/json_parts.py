"""What the JSON and the CBOR form of a frame share: the envelope `{body: {tag, val}}`, and numbers of 64 bits.

CBOR has the same document, so it is turned into JSON first and read from there.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from host.model.errors import CallerError
from host.wire.cbor import cbor_to_json
from host.wire.frames.bare import MAX_UINT
from host.wire.frames.encoding import Encoding, invalid
from host.wire.strict_json import MAX_DEPTH, MalformedJson, check

__all__ = ["BROKEN", "body_of", "document", "uint_of"]

# {"body": {"tag": …, "val": {"args": …}}}: so much deeper than the Value inside a document may be.
ENVELOPE_DEPTH = 3
# What the decoders raise for a document that is none.
BROKEN = (MalformedJson, msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_UINT = re.compile(r"0|[1-9][0-9]{0,19}")

T = TypeVar("T")


class _Body(Struct):
    tag: str
    val: Raw


class _Frame(Struct):
    body: _Body


_frame = msgspec.json.Decoder(_Frame)


def document(encoding: Encoding, data: str | bytes, what: str) -> bytes:
    """A JSON or CBOR document as JSON that a decoder may look at; raises `request/invalid`."""
    if encoding == "cbor":
        if isinstance(data, str):
            raise invalid("cbor", what, "it is text")
        return cbor_to_json(data, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
    try:
        raw = data.encode("utf-8") if isinstance(data, str) else data
        check(raw, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
    except (MalformedJson, UnicodeEncodeError) as error:
        raise invalid("json", what, str(error)) from None
    return raw


def body_of(encoding: Encoding, data: str | bytes) -> tuple[str, bytes]:
    """Tag and value (as JSON) of a frame; raises `request/invalid`."""
    raw = document(encoding, data, "frame")
    try:
        body = _frame.decode(raw).body
    except BROKEN as error:
        raise invalid(encoding, "frame", str(error)) from None
    return body.tag, bytes(body.val)


def uint_of(value: Any) -> int:
    """A number of 64 bits without a sign: as a BigInt, or as a plain number where a client has no BigInts."""
    if type(value) is list and len(value) == 2 and value[0] == "$BigInt":
        value = int(value[1]) if type(value[1]) is str and _UINT.fullmatch(value[1]) else None
    if type(value) is not int or not 0 <= value <= MAX_UINT:
        raise CallerError("request", "invalid", "an id is a whole number of 64 bits, without a sign")
    return value
