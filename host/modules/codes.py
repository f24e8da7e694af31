"""Compiled code by key: in memory, else from the artifact cache, else compiled. One at a time per key.

However many actors ask for the same code at once, it is loaded or compiled once: the others wait for the first and find
its result. A failure is not kept; who waited tries again and gets an error of its own. Every code that leaves here has
had its ABI checked, for the isolate's fast call path trusts the signatures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.model.definitions import ModuleKind
from host.model.errors import InternalError
from host.model.ports import Metrics
from host.model.report import ModuleReport
from host.modules.admitter import Admitter
from host.modules.cache import ArtifactCache
from host.modules.compile import Compiler
from host.modules.lru import Lru
from host.modules.machine_code import MachineCode

__all__ = ["CodeStore"]

# Codes in memory beyond those that actors hold. A code is some megabytes of mapped machine code, and an open file.
KEPT = 128
ARTIFACT = "cwasm"


class CodeStore:
    """With an `admitter`, whatever belongs to a tenant is made by it; without one (tools, tests) everything is compiled
    by `compiler` as it is."""

    def __init__(
        self,
        engine: Engine,
        compiler: Compiler,
        cache: ArtifactCache,
        metrics: Metrics,
        admitter: Admitter | None = None,
    ) -> None:
        self._engine = engine
        self._admitter = admitter
        self._compiler = compiler
        self._artifacts = MachineCode(engine, cache, ARTIFACT, metrics)
        self._metrics = metrics
        self._kept: Lru[str, Code] = Lru(KEPT)
        self._flights: dict[str, tuple[anyio.Lock, list[int]]] = {}

    async def get(
        self,
        key: str,
        wasm: Callable[[], Awaitable[bytes]],
        what: str,
        *,
        kind: ModuleKind = "wasm",
        tenant: str | None = None,
    ) -> Code:
        """The code of the module that `wasm` provides if it has to be compiled; `key` is its digest, `kind` the ABI
        that it has to meet (`js` is that of the engine). Without a `tenant` it is one of our own."""
        code = self._kept.get(key)
        if code is not None:
            return code
        async with self._flight(key):
            code = self._kept.get(key)
            if code is None:
                kept = await run_sync(self._artifacts.load, key, kind)
                source = "artifact"
                if kept is not None:
                    code = kept.code
                else:
                    code = await self._compiled(key, await wasm(), what, kind, tenant)
                    source = "compiled"
                self._metrics.count("codes_loaded", source)
                self._kept.put(key, code)
            return code

    async def admit(self, tenant: str, key: str, wasm: bytes, what: str) -> ModuleReport:
        """The report of a module that passes admission under the rules in force; its code is ready then."""
        if self._admitter is None:
            raise InternalError("modules are admitted, and there is no admitter")
        async with self._flight(key):
            report = await self._admitter.known(key)
            if report is None:
                report = (await self._admitted(self._admitter, tenant, key, wasm, what))[0]
                self._metrics.count("codes_loaded", "compiled")
        await self.get(key, _given(wasm), what, tenant=tenant)
        return report

    async def _compiled(self, key: str, wasm: bytes, what: str, kind: ModuleKind, tenant: str | None) -> Code:
        if tenant is not None and self._admitter is not None:
            return (await self._admitted(self._admitter, tenant, key, wasm, what))[1]
        code = await self._compiler.compile(wasm, what)
        code.check_abi(kind)
        return await run_sync(lambda: self._artifacts.keep(key, self._engine.serialize(code), kind))

    async def _admitted(
        self, admitter: Admitter, tenant: str, key: str, wasm: bytes, what: str
    ) -> tuple[ModuleReport, Code]:
        report, artifact = await admitter.admit(tenant, key, wasm, what)
        code = await run_sync(self._artifacts.keep, key, artifact, "wasm")
        await admitter.remember(key, report)
        self._kept.put(key, code)
        return report, code

    @asynccontextmanager
    async def _flight(self, key: str) -> AsyncIterator[None]:
        lock, riders = self._flights.setdefault(key, (anyio.Lock(), [0]))
        riders[0] += 1
        try:
            async with lock:
                yield
        finally:
            riders[0] -= 1
            if not riders[0]:
                del self._flights[key]


def _given(wasm: bytes) -> Callable[[], Awaitable[bytes]]:
    async def given() -> bytes:
        return wasm

    return given
