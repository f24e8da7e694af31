"""BARE, as far as the client protocol uses it: a version of two bytes, then fields one after another.

Readers take the data and a position, and give what they read with the position behind it. They raise `Malformed` for a
number that is not in its shortest form, a length beyond the data, text that is not UTF-8, a boolean that is neither 0
nor 1. This is a hot path: nothing here makes an object for the position.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "MAX_UINT",
    "PREFIX",
    "Malformed",
    "check_end",
    "read_bool",
    "read_data",
    "read_optional_data",
    "read_optional_text",
    "read_text",
    "read_u64",
    "read_uint",
    "read_version",
    "write_data",
    "write_optional_data",
    "write_optional_text",
    "write_text",
    "write_uint",
]

VERSIONS: Final = (1, 2, 3, 4)
PREFIX: Final = b"\x04\x00"  # the version that is sent
MAX_UINT: Final = 2**64 - 1

_SHORT = tuple(bytes((number,)) for number in range(128))


class Malformed(ValueError):
    pass


def read_version(data: bytes) -> int:
    version = int.from_bytes(data[:2], "little")
    if len(data) < 2 or version not in VERSIONS:
        raise Malformed("it does not begin with a version between 1 and 4, in two bytes")
    return version


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    try:
        byte = data[at]
        if byte < 0x80:
            return byte, at + 1
        number, shift, end = byte & 0x7F, 7, at + 10
        while True:
            at += 1
            byte = data[at]
            if byte < 0x80:
                break
            if at + 1 >= end:
                raise Malformed("a number has more than 64 bits")
            number |= (byte & 0x7F) << shift
            shift += 7
    except IndexError:
        raise Malformed("it ends within a number") from None
    if byte == 0:
        raise Malformed("a number is longer than it needs to be")
    number |= byte << shift
    if number > MAX_UINT:
        raise Malformed("a number has more than 64 bits")
    return number, at + 1


def read_data(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_uint(data, at)
    end = at + size
    if end > len(data):
        raise Malformed(f"a length of {size} bytes, but {len(data) - at} are left")
    return data[at:end], end


def read_text(data: bytes, at: int) -> tuple[str, int]:
    raw, end = read_data(data, at)
    try:
        return raw.decode("utf-8"), end
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None


def read_bool(data: bytes, at: int) -> tuple[bool, int]:
    byte = data[at : at + 1]
    if byte == b"\x01":
        return True, at + 1
    if byte == b"\x00":
        return False, at + 1
    raise Malformed("a boolean is neither 0 nor 1, or missing")


def read_u64(data: bytes, at: int) -> tuple[int, int]:
    if at + 8 > len(data):
        raise Malformed("it ends within a number")
    return int.from_bytes(data[at : at + 8], "little"), at + 8


def read_optional_data(data: bytes, at: int) -> tuple[bytes | None, int]:
    there, at = read_bool(data, at)
    return read_data(data, at) if there else (None, at)


def read_optional_text(data: bytes, at: int) -> tuple[str | None, int]:
    there, at = read_bool(data, at)
    return read_text(data, at) if there else (None, at)


def check_end(data: bytes, at: int) -> None:
    if at != len(data):
        raise Malformed(f"{len(data) - at} bytes are left over")


def write_uint(number: int) -> bytes:
    """`number` is 0 to `MAX_UINT`."""
    if number < 0x80:
        return _SHORT[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def write_data(data: bytes) -> bytes:
    return write_uint(len(data)) + data


def write_text(text: str) -> bytes:
    """Half of a surrogate pair, which no peer may see, becomes a question mark."""
    raw = text.encode("utf-8", "replace")
    return write_uint(len(raw)) + raw


def write_optional_data(data: bytes | None) -> bytes:
    return b"\x00" if data is None else b"\x01" + write_data(data)


def write_optional_text(text: str | None) -> bytes:
    return b"\x00" if text is None else b"\x01" + write_text(text)
