"""Compiled code, checked and linked: everything about a module that all its isolates share.

A `Code` is cheap to keep and safe to use from any thread. Its types are read once; `check_abi` pins them, and nothing
can be instantiated before that. The link (a pre-instance) is made once, under the engine's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from wasmtime import InstancePre, Linker, Module, WasmtimeError

from host.isolate.abi import Kind, Signature, check_exports, check_imports
from host.isolate.native import address_of
from host.isolate.ticker import Ticker
from host.isolate.trampolines import Export
from host.model.errors import InternalError, TenantError

__all__ = ["PAGE", "Code", "Home"]

PAGE = 65_536


class Home(Protocol):
    """What code and isolates need of the engine that they belong to."""

    address: int
    ticker: Ticker
    lock: AbstractContextManager[Any]
    make_export: Callable[..., Export]

    def linker(self) -> Linker:
        """Every import that the host offers. Call it under `lock`."""
        ...


class Code:
    __slots__ = ("_exports", "_imports", "_kind", "_memory_pages", "_pre", "_pre_address", "asks", "engine", "module")

    def __init__(self, engine: Home, module: Module) -> None:
        self.engine = engine
        self.module = module
        self.asks = False
        """Whether it imports `interrupted`, and so is given time to stop by itself."""
        self._kind: Kind | None = None
        self._exports: dict[str, Signature] = {}
        self._imports: frozenset[tuple[str, str]] = frozenset()
        self._memory_pages = 0
        self._pre: InstancePre | None = None
        self._pre_address = 0

    @property
    def kind(self) -> Kind | None:
        """What `check_abi` found it to be; None before that."""
        return self._kind

    @property
    def exports(self) -> dict[str, Signature]:
        """The pinned signatures of the functions that the host may call."""
        return self._exports

    @property
    def memory_bytes(self) -> int:
        """The size that the memory starts with."""
        return self._memory_pages * PAGE

    def check_abi(self, kind: Kind = "wasm") -> None:
        """Compares every export that the host calls and every import with isolate ABI 1 (for `js`: with what the engine
        has besides); raises `module/bad_export` or `module/bad_import`."""
        if self._kind == kind:
            return
        exports, pages = check_exports(self.module.exports, kind)
        imports = check_imports(self.module.imports)
        if self._kind == "js":
            return  # already pinned to more than `wasm` asks for
        self._exports, self._memory_pages, self._imports = exports, pages, imports
        self.asks = ("isolate", "interrupted") in imports
        self._kind = kind

    def pre_instance(self) -> int:
        """The address of the linked module; checks the ABI first if nobody has."""
        if self._pre_address:
            return self._pre_address
        with self.engine.lock:
            if self._pre is None:
                if self._kind is None:
                    self.check_abi()
                try:
                    self._pre = self.engine.linker().instantiate_pre(self.module)
                except WasmtimeError as error:
                    raise InternalError(f"cannot link a module that passed the ABI check: {error}") from error
                self._pre_address = address_of(self._pre.ptr())
        return self._pre_address

    def signature(self, name: str) -> Signature:
        """The pinned type of an export that is called beside the ABI's own."""
        found = self._exports.get(name)
        if found is None:
            raise TenantError("module", "bad_export", f"export {name!r}: found nothing, expected a function")
        return found
