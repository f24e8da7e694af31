"""Single items of CBOR, from which frames are put together without making the whole of them first."""

from __future__ import annotations

__all__ = ["text_item", "uint_item"]


def text_item(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    size = len(raw)
    if size < 24:
        return bytes((0x60 + size,)) + raw
    if size < 0x100:
        return bytes((0x78, size)) + raw
    width, head = (2, b"\x79") if size < 0x10000 else (4, b"\x7a")
    return head + size.to_bytes(width, "big") + raw


def uint_item(number: int) -> bytes:
    """In eight bytes however small it is: JavaScript's decoders make a BigInt of that, and of nothing shorter."""
    return b"\x1b" + number.to_bytes(8, "big")
