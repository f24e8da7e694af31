"""What guests are made of: the JavaScript engine and its SDK, the C header of the ABI, and a compiler for C guests.

Importing this package reads nothing; each function says where its artifact is and raises if it is missing.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from isolate_sdk.js.bundle import prelude
from isolate_sdk.zig import compile_guest, zig_cc

__all__ = [
    "ENGINE",
    "c_include_dir",
    "compile_guest",
    "engine_digest",
    "engine_wasm",
    "prelude",
    "prelude_digest",
    "types_path",
    "zig_cc",
]

_HERE: Final = Path(__file__).parent

#: Where the package build puts the engine.
ENGINE: Final = _HERE / "engine" / "engine.wasm"


@cache
def engine_wasm() -> bytes:
    """The JavaScript engine, a core Wasm module on isolate ABI 1."""
    try:
        return ENGINE.read_bytes()
    except FileNotFoundError:
        raise RuntimeError(
            f"the JavaScript engine is not built ({ENGINE} is missing): `pip install -e .` builds it"
        ) from None


def engine_digest() -> str:
    """sha256 of the engine, in hex."""
    return hashlib.sha256(engine_wasm()).hexdigest()


def prelude_digest() -> str:
    """sha256 of the prelude, in hex."""
    return hashlib.sha256(prelude().encode()).hexdigest()


def c_include_dir() -> Path:
    """The directory with `isolate.h`."""
    return _HERE / "c"


def types_path() -> Path:
    """The TypeScript declarations of the modules "isolate" and "rivetkit"."""
    return _HERE / "js" / "isolate.d.ts"
