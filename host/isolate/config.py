"""wasmtime's configuration, in one table: what is on, what is off, and the key that names it.

Compiled artifacts are only valid for one configuration and one wasmtime, so both go into `profile_key`. Every feature
is set one way or the other, so that a new wasmtime cannot switch one on by a change of its defaults.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Literal

from wasmtime import Config, _bindings

from host.model.errors import DormiceError

__all__ = ["MIN_WASMTIME", "WASM_STACK", "Profile", "build_config", "profile_key", "require_wasmtime"]

Profile = Literal["default", "dense", "bare"]

MIN_WASMTIME = 48

# wasmtime aborts the process when this is raised above 2 MiB alone; threads of 16 MiB leave room for the host's frames.
WASM_STACK = 2 * 1024 * 1024

_FEATURES = {
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_simd": True,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_memory64": False,
    "wasm_multi_memory": False,
    "wasm_relaxed_simd": False,
    "wasm_tail_call": False,
    "wasm_exceptions": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_stack_switching": False,
    "wasm_component_model": False,
    "wasm_custom_page_sizes": False,
    "wasm_wide_arithmetic": False,
    "epoch_interruption": True,
    "cranelift_nan_canonicalization": True,
}

# Switches that some versions have in C only.
_NATIVE_FEATURES = {"wasmtime_config_wasm_branch_hinting_set": False, "wasmtime_config_wasm_compact_imports_set": False}

# The dense profile reserves no address space: three to five times as many isolates fit in a process, each memory access
# costs a compare. `signals_based_traps` off also masks speculative accesses.
_PROFILES: dict[str, dict[str, int | bool]] = {
    "default": {"memory_init_cow": True},
    "dense": {
        "memory_reservation": 0,
        "memory_guard_size": 0,
        "memory_reservation_for_growth": 0,
        "signals_based_traps": False,
        "memory_init_cow": True,
    },
    # For guests in a jailed process: no address space, no signal handler, and no file in memory for an image's pages.
    "bare": {
        "memory_reservation": 0,
        "memory_guard_size": 0,
        "memory_reservation_for_growth": 0,
        "signals_based_traps": False,
        "memory_init_cow": False,
    },
}


@cache
def _ask(read: Callable[[str], str]) -> str:
    """Asked once: a jailed process has done so before it may open no file any more."""
    return read("wasmtime")


def _installed() -> str:
    return _ask(version)


def require_wasmtime(installed: str | None = None) -> str:
    """The installed version; refuses one that is too old."""
    found = installed if installed is not None else _installed()
    major = found.split(".", 1)[0]
    if not major.isdigit() or int(major) < MIN_WASMTIME:
        raise DormiceError(
            "node",
            "wasmtime_too_old",
            f"wasmtime {found} is installed, {MIN_WASMTIME} or newer is needed; upgrade the package `wasmtime`",
        )
    return found


def build_config(profile: Profile, *, parallel: bool = True) -> Config:
    """`parallel` spreads a compilation over all cores; what comes out is the same to the byte."""
    config = Config()
    config.parallel_compilation = parallel
    for name, value in (_FEATURES | _PROFILES[profile]).items():
        setattr(config, name, value)
    config.max_wasm_stack = WASM_STACK
    for name, on in _NATIVE_FEATURES.items():
        switch = getattr(_bindings, name, None)
        if switch is not None:
            switch(config.ptr(), on)
    return config


def profile_key(profile: Profile) -> str:
    """Names wasmtime's version, the machine's kind and every setting: equal keys, exchangeable artifacts."""
    settings = sorted((_FEATURES | _NATIVE_FEATURES | _PROFILES[profile]).items())
    digest = hashlib.sha256(repr((settings, WASM_STACK)).encode()).hexdigest()[:16]
    return f"wasmtime-{_installed()}-{platform.machine()}-{profile}-{digest}"
