"""Compiled code by key: in memory, else from the artifact cache, else compiled. One at a time per key.

However many actors ask for the same code at once, it is loaded or compiled once: the others wait and find the result. A
compilation may take longer than those who ask have time: it goes on without them, and the next start finds its
artifact. Tenants that ask for the same code each stand in the jail's line at a place of their own. A failure is not
kept. Every code that leaves here has had its ABI checked, for the isolate's fast call path trusts the signatures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
from host.modules.flights import Begin, Flights
from host.modules.key_locks import KeyLocks
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
        self._loading = KeyLocks()
        self._making: Flights[tuple[ModuleReport | None, Code]] = Flights()

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
        code = self._kept.get(key) or await self._load(key, kind)
        return code or (await self._make(key, wasm, what, kind, tenant))[1]

    async def admit(self, tenant: str, key: str, wasm: bytes, what: str) -> ModuleReport:
        """The report of a module that passes admission under the rules in force; its code is ready then."""
        report, _ = await self._make(key, _given(wasm), what, "wasm", tenant)
        if report is None:
            raise InternalError("modules are admitted, and there is no admitter")
        return report

    async def close(self) -> None:
        """Ends what is under way."""
        await self._making.close()

    async def _load(self, key: str, kind: ModuleKind) -> Code | None:
        async with self._loading.of(key):
            code = self._kept.get(key)
            if code is None:
                loaded = await run_sync(self._artifacts.load, key, kind)
                if loaded is not None:
                    code = loaded.code
                    self._metrics.count("codes_loaded", "artifact")
                    self._kept.put(key, code)
        return code

    async def _make(
        self, key: str, wasm: Callable[[], Awaitable[bytes]], what: str, kind: ModuleKind, tenant: str | None
    ) -> tuple[ModuleReport | None, Code]:
        admitter = self._admitter
        if tenant is None or admitter is None:
            return await self._making.join(key, "", lambda begin: self._compiled(begin, key, wasm, what, kind))
        return await self._making.join(
            key, tenant, lambda begin: self._admitted(begin, admitter, tenant, key, wasm, what)
        )

    async def _compiled(
        self, begin: Begin, key: str, wasm: Callable[[], Awaitable[bytes]], what: str, kind: ModuleKind
    ) -> tuple[None, Code]:
        begin()
        code = self._kept.get(key)
        if code is None:
            made = await self._compiler.compile(await wasm(), what)
            made.check_abi(kind)
            code = await self._keep(key, lambda: self._engine.serialize(made), kind)
        return None, code

    async def _admitted(
        self,
        begin: Begin,
        admitter: Admitter,
        tenant: str,
        key: str,
        wasm: Callable[[], Awaitable[bytes]],
        what: str,
    ) -> tuple[ModuleReport, Code]:
        known = await admitter.known(key)
        code = None if known is None else self._kept.get(key) or await self._load(key, "wasm")
        if known is not None and code is not None:
            return known, code
        report, artifact = await admitter.admit(tenant, key, await wasm(), what, begin)
        code = await self._keep(key, lambda: artifact, "wasm")
        await admitter.remember(key, report)
        return report, code

    async def _keep(self, key: str, artifact: Callable[[], bytes], kind: ModuleKind) -> Code:
        """Keeps what was compiled, in the line of those who load it: none of them maps an artifact that is already on
        disk while its code is not in memory yet, or there would be two codes of one module."""
        async with self._loading.of(key):
            code = await run_sync(lambda: self._artifacts.keep(key, artifact(), kind))
            self._metrics.count("codes_loaded", "compiled")
            kept = self._kept.get(key)  # loaded while it was compiled once more, for its report
            if kept is None:
                self._kept.put(key, code)
        return kept or code


def _given(wasm: bytes) -> Callable[[], Awaitable[bytes]]:
    async def given() -> bytes:
        return wasm

    return given
