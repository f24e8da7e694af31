"""Isolate ABI 1 as tables: what a module must export, what it may import, and the comparison that pins both.

The unchecked call path believes signatures, so nothing is ever called whose exact type was not compared with these
tables first. Everything is refused that is not listed; the error names the item, what was found and what is expected.
Types come in as plain data, because they are compared twice: on the bytes at admission, and on what was compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from host.model.errors import TenantError

__all__ = [
    "ENGINE_EXPORTS",
    "EXPORTS",
    "IMPORTS",
    "OPTIONAL_EXPORTS",
    "Found",
    "Kind",
    "Signature",
    "pin_exports",
    "pin_imports",
    "show_signature",
]

Signature = tuple[tuple[str, ...], tuple[str, ...]]
Kind = Literal["wasm", "js"]
# A function's type, or what else it is: `a memory`, `a global`.
Found = Signature | str

_I = "i32"
_L = "i64"

EXPORTS: Mapping[str, Signature] = {
    "isolate_alloc": ((_I,), (_I,)),
    "isolate_deliver": ((_I, _I), (_L,)),
}
OPTIONAL_EXPORTS: Mapping[str, Signature] = {"_initialize": ((), ())}

# What the JavaScript engine exports beside the ABI. An image has been booted and keeps the functions all the same.
ENGINE_EXPORTS: Mapping[str, Signature] = {
    "boot": ((_I, _I), (_I,)),
    "prelude": ((_I, _I), (_L,)),
    "load": ((_I, _I), (_L,)),
    "reseed": ((_L,), ()),
    "heap_used": ((), (_I,)),
    "gc": ((), ()),
}

_WASI = "wasi_snapshot_preview1"

IMPORTS: Mapping[tuple[str, str], Signature] = {
    ("isolate", "host_call"): ((_I, _I, _I, _I), (_I,)),
    ("isolate", "host_read"): ((_I, _I), (_I,)),
    ("isolate", "interrupted"): ((), (_I,)),
    (_WASI, "fd_write"): ((_I, _I, _I, _I), (_I,)),
    (_WASI, "fd_close"): ((_I,), (_I,)),
    (_WASI, "fd_fdstat_get"): ((_I, _I), (_I,)),
    (_WASI, "fd_seek"): ((_I, _L, _I, _I), (_I,)),
    (_WASI, "clock_time_get"): ((_I, _L, _I), (_I,)),
    (_WASI, "random_get"): ((_I, _I), (_I,)),
    (_WASI, "environ_get"): ((_I, _I), (_I,)),
    (_WASI, "environ_sizes_get"): ((_I, _I), (_I,)),
    (_WASI, "args_get"): ((_I, _I), (_I,)),
    (_WASI, "args_sizes_get"): ((_I, _I), (_I,)),
    (_WASI, "proc_exit"): ((_I,), ()),
    (_WASI, "sched_yield"): ((), (_I,)),
}


def show_signature(signature: Signature) -> str:
    params, results = signature
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def _show(found: Found) -> str:
    return found if isinstance(found, str) else f"a function {show_signature(found)}"


def pin_exports(found: Mapping[str, Found], kind: Kind) -> dict[str, Signature]:
    """The signatures of the functions that the host may call; that `memory` is one is the caller's to know."""
    wanted = {**EXPORTS, **(ENGINE_EXPORTS if kind == "js" else {}), **OPTIONAL_EXPORTS}
    pinned: dict[str, Signature] = {}
    for name, expected in wanted.items():
        there = found.get(name)
        if there is None and name in OPTIONAL_EXPORTS:
            continue
        if there != expected:
            raise _bad_export(name, "nothing" if there is None else _show(there), _show(expected))
        pinned[name] = expected
    memory = found.get("memory", "nothing")
    if memory != "a memory":
        raise _bad_export("memory", _show(memory), "a 32-bit memory that is not shared")
    return pinned


def pin_imports(found: Iterable[tuple[str, str, Found]]) -> frozenset[tuple[str, str]]:
    """The imports, all of them offered and of the right type."""
    names = set()
    for module, name, there in found:
        expected = IMPORTS.get((module, name))
        if there != expected:
            offered = "; the host offers isolate.host_call, host_read and interrupted, and a part of " + _WASI
            wanted = "none" + offered if expected is None else _show(expected)
            shown = f"'{module[:100]}.{name[:100]}'"
            raise TenantError("module", "bad_import", f"import {shown}: found {_show(there)}, expected {wanted}")
        names.add((module, name))
    return frozenset(names)


def _bad_export(name: str, found: str, expected: str) -> TenantError:
    return TenantError("module", "bad_export", f"export {name!r}: found {found}, expected {expected}")
