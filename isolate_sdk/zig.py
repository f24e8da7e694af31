"""Runs the C compiler of the `ziglang` package, so that building needs nothing installed but Python packages.

Zig keeps what it compiled for itself (its libc, for example) in a cache; it goes under the user's cache directory and
never into the tree or the package.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["ZigError", "cache_root", "compile_guest", "zig_available", "zig_cc"]

#: What every Wasm module of this project is compiled for: what isolates switch on, and nothing else.
WASM_CPU: Final = "baseline+bulk_memory+sign_ext+nontrapping_fptoint+mutable_globals"

#: Zig compiles parts of its own libraries on first use; a machine that is busy needs minutes for it.
TIMEOUT_S: Final = 900


class ZigError(RuntimeError):
    """The compiler is missing, failed, or took too long; the message holds what it printed."""


def cache_root() -> Path:
    """The project's directory under the user's cache directory; not created."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "dormice"


def zig_available() -> bool:
    """Whether `python -m ziglang` can run here."""
    return importlib.util.find_spec("ziglang") is not None


def zig_cc(arguments: Sequence[str], *, cwd: Path | None = None, cache: Path | None = None) -> None:
    """Runs `zig cc` with these arguments; `cache` is where zig keeps its own objects."""
    if not zig_available():
        raise ZigError("the C compiler is missing: install the package `ziglang` (pip install 'ziglang==0.17.0')")
    where = cache or cache_root() / "zig"
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(where), "ZIG_LOCAL_CACHE_DIR": str(where)}
    command = [sys.executable, "-m", "ziglang", "cc", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ZigError(f"zig did not finish within {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise ZigError(f"zig cc failed with status {done.returncode}:\n{done.stderr.strip()}")


def compile_guest(source: Path, output: Path, *, flags: Sequence[str] = ()) -> Path:
    """Compiles one freestanding C file that includes `isolate.h` into a module on isolate ABI 1."""
    include = Path(__file__).parent / "c"
    zig_cc(
        [
            "-target", "wasm32-freestanding", f"-mcpu={WASM_CPU}", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror",
            "-nostdlib", "-fno-sanitize=undefined", "-fno-stack-protector", "-I", str(include), *flags, str(source),
            "-Wl,--no-entry", "-Wl,-z,stack-size=65536", "-Wl,--export=__stack_pointer", "-s", "-o", str(output),
        ]
    )  # fmt: skip
    return output
