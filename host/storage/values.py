"""The one-byte format version in front of every stored Value.

A Value (state, payload, params, connection state, input) is opaque JSON here, but its format may change one day: the
byte lets a later version read what an older one wrote, and lets this one refuse what a newer one wrote. KV values are
the tenant's own bytes and carry no version.
"""

from __future__ import annotations

from typing import overload

from host.model.errors import InternalError

__all__ = ["FORMAT", "pack", "unpack"]

FORMAT = 1
_PREFIX = bytes([FORMAT])


@overload
def pack(value: bytes) -> bytes: ...
@overload
def pack(value: None) -> None: ...


def pack(value: bytes | None) -> bytes | None:
    """The Value as it is stored; None stays None."""
    return None if value is None else _PREFIX + value


@overload
def unpack(stored: bytes) -> bytes: ...
@overload
def unpack(stored: None) -> None: ...


def unpack(stored: bytes | None) -> bytes | None:
    """The Value that `pack` was given; raises InternalError for a version that this code does not know."""
    if stored is None:
        return None
    if stored[:1] != _PREFIX:
        found = f"format version {stored[0]}" if stored else "no format version"
        raise InternalError(f"a stored value has {found}; this version reads {FORMAT} only")
    return stored[1:]
