"""Modules that are small to upload and hard to compile, and what builds them byte by byte."""

from __future__ import annotations

__all__ = ["FUNCTIONS", "LOOPS", "function_of", "module_of"]


def leb(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def section(number: int, body: bytes) -> bytes:
    return bytes([number]) + leb(len(body)) + body


def sized(data: bytes) -> bytes:
    return leb(len(data)) + data


def function_of(instructions: bytes) -> bytes:
    return sized(b"\0" + instructions + b"\x0b")


def module_of(extra: bytes, count: int = 1) -> bytes:
    """A module that meets ABI 1 and has `count` more functions of this body."""
    types = b"\x03" + b"\x60\1\x7f\1\x7f" + b"\x60\2\x7f\x7f\1\x7e" + b"\x60\0\0"
    exports = b"\3" + sized(b"memory") + b"\2\0" + sized(b"isolate_alloc") + b"\0\0"
    exports += sized(b"isolate_deliver") + b"\0\1"
    code = function_of(b"\x41\x80\x08") + function_of(b"\x42\0") + extra * count
    manifest = sized(b"isolate.manifest") + b'{"abi":1}'
    return (
        b"\0asm\1\0\0\0"
        + section(1, types)
        + section(3, leb(2 + count) + b"\0\1" + b"\2" * count)
        + section(5, b"\1\0\1")
        + section(7, exports)
        + section(10, leb(2 + count) + code)
        + section(0, manifest)
    )


# Each loop may go on or fall out, so that none of them is dead code.
_LOOP = b"\x03\x40\x41\0\x0d\0\x0b"

LOOPS = module_of(function_of(_LOOP * 100_000))
FUNCTIONS = module_of(function_of(b""), 100_000)
