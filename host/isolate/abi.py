"""Isolate ABI 1 as types: what a module must export, what it may import, and the check that pins both.

The unchecked call path believes signatures, so nothing is ever called whose exact type was not compared with these
tables first. Everything is refused that is not listed; the error names the item, what was found and what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from wasmtime import ExportType, FuncType, GlobalType, ImportType, MemoryType, TableType

from host.model.errors import TenantError

__all__ = [
    "ENGINE_EXPORTS",
    "EXPORTS",
    "IMPORTS",
    "OPTIONAL_EXPORTS",
    "Kind",
    "Signature",
    "check_exports",
    "check_imports",
]

Signature = tuple[tuple[str, ...], tuple[str, ...]]
Kind = Literal["wasm", "js"]

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

AnyType = FuncType | GlobalType | MemoryType | TableType | object


def signature_of(kind: FuncType) -> Signature:
    return tuple(str(p) for p in kind.params), tuple(str(r) for r in kind.results)


def _show(signature: Signature) -> str:
    params, results = signature
    return f"a function ({', '.join(params)}) -> ({', '.join(results)})"


def _found(kind: AnyType) -> str:
    if isinstance(kind, FuncType):
        return _show(signature_of(kind))
    for known, name in ((MemoryType, "a memory"), (GlobalType, "a global"), (TableType, "a table")):
        if isinstance(kind, known):
            return name
    return "something else"


def check_exports(exports: list[ExportType], kind: Kind) -> tuple[dict[str, Signature], int]:
    """The pinned signatures of the functions that the host may call, and the pages that the memory starts with."""
    found = {export.name: export.type for export in exports}
    wanted = {**EXPORTS, **(ENGINE_EXPORTS if kind == "js" else {}), **OPTIONAL_EXPORTS}
    pinned: dict[str, Signature] = {}
    for name, expected in wanted.items():
        kind_found = found.get(name)
        if kind_found is None:
            if name in OPTIONAL_EXPORTS:
                continue
            raise TenantError("module", "bad_export", f"export {name!r}: found nothing, expected {_show(expected)}")
        if not isinstance(kind_found, FuncType) or signature_of(kind_found) != expected:
            raise TenantError(
                "module", "bad_export", f"export {name!r}: found {_found(kind_found)}, expected {_show(expected)}"
            )
        pinned[name] = expected
    memory = found.get("memory")
    if not isinstance(memory, MemoryType) or memory.is_64 or memory.is_shared:
        what = _found(memory) if memory is not None else "nothing"
        raise TenantError(
            "module", "bad_export", f"export 'memory': found {what}, expected a 32-bit memory that is not shared"
        )
    return pinned, memory.limits.min


def check_imports(imports: list[ImportType]) -> frozenset[tuple[str, str]]:
    """The imports, all of them offered and of the right type."""
    names = set()
    for item in imports:
        module, name = item.module, item.name or ""
        expected = IMPORTS.get((module, name))
        shown = f"import '{module}.{name}'"
        if expected is None:
            offered = "; the host offers isolate.host_call, host_read and interrupted, and a part of " + _WASI
            raise TenantError("module", "bad_import", f"{shown}: found {_found(item.type)}, expected none{offered}")
        if not isinstance(item.type, FuncType) or signature_of(item.type) != expected:
            raise TenantError("module", "bad_import", f"{shown}: found {_found(item.type)}, expected {_show(expected)}")
        names.add((module, name))
    return frozenset(names)
