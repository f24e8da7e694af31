"""Base64 that has one spelling: right alphabet, right padding, and no bits that decoding would throw away.

The envelope decoder accepts non-zero pad bits, and so does the standard library; where a buffer names or authorises
something, or is kept as text, two spellings of the same bytes would be two things.
"""

from __future__ import annotations

import base64
import binascii

__all__ = ["decode_base64", "decode_base64url", "encode_base64", "encode_base64url"]


def encode_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The bytes of a canonical base64 text (standard alphabet, with padding); ValueError otherwise."""
    try:
        raw = text.encode("ascii")
        data = binascii.a2b_base64(raw, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("malformed base64") from None
    if raw.endswith(b"=") and binascii.b2a_base64(data, newline=False) != raw:
        raise ValueError("base64 that is not canonical: its pad bits are not zero")
    return data


def encode_base64url(data: bytes) -> str:
    """The URL alphabet, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """The URL alphabet; padding may be there or not, everything else is canonical. ValueError otherwise."""
    if "+" in text or "/" in text:
        raise ValueError("malformed base64url")
    bare = text.rstrip("=")
    if len(text) - len(bare) > 2 or (len(text) != len(bare) and len(text) % 4):
        raise ValueError("malformed base64url padding")
    return decode_base64(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4))
