"""The three encodings of the client protocol, and what HTTP calls them."""

from __future__ import annotations

from typing import Final, Literal

from host.model.errors import CallerError

__all__ = ["DEFAULT_ENCODING", "ENCODINGS", "Encoding", "content_type", "invalid", "parse_encoding"]

Encoding = Literal["json", "cbor", "bare"]

ENCODINGS: Final[tuple[Encoding, ...]] = ("json", "cbor", "bare")
DEFAULT_ENCODING: Final[Encoding] = "json"


def parse_encoding(name: str) -> Encoding:
    """The encoding of this name; raises `request/invalid`."""
    if name not in ENCODINGS:
        raise CallerError("request", "invalid", f"the encoding {name[:16]!r} is unknown; there are json, cbor and bare")
    return name


def content_type(encoding: Encoding) -> str:
    return "application/json" if encoding == "json" else "application/octet-stream"


def invalid(encoding: Encoding, what: str, reason: str) -> CallerError:
    """`what` is the thing that came ("frame", "body of an action"), with its article left out."""
    return CallerError("request", "invalid", f"the {what} is not valid {encoding}: {reason}")
