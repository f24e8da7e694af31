"""What the library says of a compiled module's imports and exports, compared with the tables of isolate ABI 1.

The unchecked call path believes signatures, so nothing is ever called whose exact type was not pinned here first. Only
items that the ABI names are asked for their types: the library aborts the process when it is asked for the name of a
vector type. Modules of tenants have had their types compared on their bytes before they are compiled.
"""

from __future__ import annotations

from wasmtime import ExportType, FuncType, GlobalType, ImportType, MemoryType, TableType

from host.isolate.signatures import (
    ENGINE_EXPORTS,
    EXPORTS,
    IMPORTS,
    OPTIONAL_EXPORTS,
    Found,
    Kind,
    Signature,
    pin_exports,
    pin_imports,
)

__all__ = [
    "ENGINE_EXPORTS",
    "EXPORTS",
    "IMPORTS",
    "OPTIONAL_EXPORTS",
    "Kind",
    "Signature",
    "check_exports",
    "check_imports",
    "signature_of",
]

_NAMED = frozenset({"memory", *EXPORTS, *OPTIONAL_EXPORTS, *ENGINE_EXPORTS})

AnyType = FuncType | GlobalType | MemoryType | TableType | object


def signature_of(kind: FuncType) -> Signature:
    return tuple(str(p) for p in kind.params), tuple(str(r) for r in kind.results)


def _found(kind: AnyType) -> Found:
    if isinstance(kind, FuncType):
        return signature_of(kind)
    if isinstance(kind, MemoryType) and (kind.is_64 or kind.is_shared):
        return "a memory that is 64-bit or shared"
    for known, name in ((MemoryType, "a memory"), (GlobalType, "a global"), (TableType, "a table")):
        if isinstance(kind, known):
            return name
    return "something else"


def check_exports(exports: list[ExportType], kind: Kind) -> tuple[dict[str, Signature], int]:
    """The pinned signatures of the functions that the host may call, and the pages that the memory starts with."""
    types = {export.name: export.type for export in exports if export.name in _NAMED}
    pinned = pin_exports({name: _found(each) for name, each in types.items()}, kind)
    memory = types["memory"]
    assert isinstance(memory, MemoryType)
    return pinned, memory.limits.min


def check_imports(imports: list[ImportType]) -> frozenset[tuple[str, str]]:
    """The imports, all of them offered and of the right type."""
    found: list[tuple[str, str, Found]] = []
    for item in imports:
        name = item.name or ""
        found.append((item.module, name, _found(item.type) if (item.module, name) in IMPORTS else "something"))
    return pin_imports(found)
