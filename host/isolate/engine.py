"""The engine: one compiler and one heartbeat for all isolates of the process.

Normally there is one; it is to be closed, after the isolates were. One that is forgotten instead ends its heartbeat
when it is collected. Compiling is done here and nowhere else, and only of binary modules: the library would also take
text. After a fork neither the engine nor any isolate may be used.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import wasmtime
from wasmtime import Linker, Module, WasmtimeError

from host.isolate import native
from host.isolate.abi import IMPORTS
from host.isolate.cell import CELLS
from host.isolate.code import Code
from host.isolate.config import Profile, build_config, profile_key, require_wasmtime
from host.isolate.faults import last_cause
from host.isolate.ticker import Ticker
from host.isolate.trampolines import Export, define, export_class
from host.isolate.wasi import HANDLERS
from host.model.errors import InternalError, TenantError

__all__ = ["Engine", "WASM_MAGIC"]

WASM_MAGIC = b"\0asm"
_HEADER = WASM_MAGIC + b"\x01\0\0\0"


class Engine:
    """`checked` sends every crossing through wasmtime's type-checking entry points. `monotonic` (seconds) lets the
    heartbeat catch up when its thread was kept from running; without it deadlines can only come late. `parallel` lets
    a compilation have all cores."""

    def __init__(
        self,
        *,
        profile: Profile = "default",
        checked: bool = False,
        monotonic: Callable[[], float] | None = None,
        parallel: bool = True,
    ) -> None:
        require_wasmtime()
        self.profile: Profile = profile
        self.profile_key = profile_key(profile)
        self.checked = checked
        self.lock: AbstractContextManager[Any] = threading.RLock()
        self.make_export: Callable[..., Export] = export_class(checked=checked)
        self._linker: Linker | None = None
        self._engine = wasmtime.Engine(build_config(profile, parallel=parallel))
        self.address = native.address_of(self._engine.ptr())
        self.ticker = Ticker(_beat(self._engine), monotonic)
        # not at exit: others may still be at work then
        weakref.finalize(self, self.ticker.abandon).atexit = False

    def compile(self, wasm: bytes) -> Code:
        """Machine code for a binary module; `module/not_wasm` or `module/malformed`. Takes from milliseconds to seconds
        and releases the GIL: call it from a worker thread."""
        if wasm[:4] != WASM_MAGIC:
            raise TenantError(
                "module", "not_wasm", "the bytes do not begin with the Wasm magic \\0asm; the text format is refused"
            )
        if wasm[:8] != _HEADER:
            raise TenantError("module", "malformed", "not a core module of Wasm version 1")
        try:
            return Code(self, Module(self._open(), wasm))
        except WasmtimeError as error:
            text = str(error)
            cause = last_cause(text)[:500]
            raise TenantError("module", "malformed", f"the module is not valid: {cause}", detail=text) from None

    def serialize(self, code: Code) -> bytes:
        """An artifact that `deserialize` of an engine with the same `profile_key` takes."""
        return bytes(code.module.serialize())

    def deserialize(self, artifact: bytes) -> Code:
        """Code from an artifact. TRUSTED bytes only: machine code is mapped as it is, so the caller proves first that
        this host made them. Raises InternalError for another version, configuration or machine: compile again."""
        try:
            return Code(self, Module.deserialize(self._open(), artifact))
        except WasmtimeError as error:
            raise InternalError(f"the artifact does not fit this engine: {error}") from None

    def map(self, file: int) -> Code:
        """As `deserialize`, of the artifact that the open file begins with: its pages are mapped, not copied, so the
        file must never be changed afterwards (it may be deleted). Raises InternalError where that is not possible."""
        path = f"/proc/self/fd/{file}"
        try:
            # a directory of that name might be anything, so it has to lead to the same file
            if not os.path.samestat(os.stat(path), os.fstat(file)):
                raise InternalError(f"{path} is another file")
            return Code(self, Module.deserialize_file(self._open(), path))
        except (OSError, WasmtimeError) as error:
            raise InternalError(f"the artifact cannot be mapped: {error}") from None

    def linker(self) -> Linker:
        """Every import that the host offers; built once. Call it under `lock`."""
        if self._linker is None:
            linker = Linker(self._open())
            for (module, name), signature in IMPORTS.items():
                define(
                    native.address_of(linker.ptr()),
                    module,
                    name,
                    signature,
                    HANDLERS[module, name],
                    checked=self.checked,
                )
            self._linker = linker
        return self._linker

    def close(self) -> None:
        """Stops the heartbeat; safe to call twice. Refused while a guest runs: nothing could stop that one any more."""
        running = [cell for cell in list(CELLS.values()) if cell.ticker is self.ticker and cell.lock.locked()]
        if running:
            raise InternalError(f"the engine was closed while {len(running)} guests ran")
        self.ticker.stop()
        if self._linker is not None:
            self._linker.close()
            self._linker = None
        self._engine.close()

    def _open(self) -> wasmtime.Engine:
        if self.ticker.stopped:
            raise InternalError("the engine is closed, or this is a forked child of its process")
        return self._engine


def _beat(engine: wasmtime.Engine) -> Callable[[], None]:
    """Holds the native engine for as long as the heartbeat's thread lives: an `Engine` that was forgotten without being
    closed frees it only after the last beat."""
    address = native.address_of(engine.ptr())

    def beat(_held: wasmtime.Engine = engine) -> None:
        native.engine_increment_epoch(address)

    return beat
