"""Small guests for the tests, as WebAssembly text, and what turns them into modules."""

from __future__ import annotations

import wasmtime

_BODY = """
  (memory (export "memory") {pages})
  (func (export "isolate_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)
"""


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def guest(*, pages: int = 1, more: str = "", before: str = "") -> bytes:
    """A guest that meets ABI 1 and answers nothing; `before` takes imports, `more` anything else."""
    return wat(f"(module {before} {_BODY.format(pages=pages)} {more})")


def with_manifest(wasm: bytes, manifest: bytes = b'{"abi":1}', name: bytes = b"isolate.manifest") -> bytes:
    body = _leb(len(name)) + name + manifest
    return wasm + b"\0" + _leb(len(body)) + body


def _leb(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)
