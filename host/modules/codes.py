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
from host.model.errors import DormiceError
from host.model.ports import Metrics
from host.modules.cache import ArtifactCache
from host.modules.compile import Compiler
from host.modules.lru import Lru
from host.telemetry.logging import get_logger

__all__ = ["CodeStore"]

# Codes in memory beyond those that actors hold. A code is some megabytes of mapped machine code.
KEPT = 128
ARTIFACT = "cwasm"

log = get_logger("modules")


class CodeStore:
    def __init__(self, engine: Engine, compiler: Compiler, cache: ArtifactCache, metrics: Metrics) -> None:
        self._engine = engine
        self._compiler = compiler
        self._cache = cache
        self._metrics = metrics
        self._kept: Lru[str, Code] = Lru(KEPT)
        self._flights: dict[str, tuple[anyio.Lock, list[int]]] = {}

    async def get(
        self, key: str, wasm: Callable[[], Awaitable[bytes]], what: str, *, kind: ModuleKind = "wasm"
    ) -> Code:
        """The code of the module that `wasm` provides if it has to be compiled; `key` is its digest, `kind` the ABI
        that it has to meet (`js` is that of the engine)."""
        code = self._kept.get(key)
        if code is not None:
            return code
        async with self._flight(key):
            code = self._kept.get(key)
            if code is None:
                code = await run_sync(self._from_artifact, key, kind)
                source = "artifact"
                if code is None:
                    code = await self._compiled(key, await wasm(), what, kind)
                    source = "compiled"
                self._metrics.count("codes_loaded", source)
                self._kept.put(key, code)
            return code

    async def _compiled(self, key: str, wasm: bytes, what: str, kind: ModuleKind) -> Code:
        code = await self._compiler.compile(wasm, what)
        code.check_abi(kind)
        await run_sync(lambda: self._cache.store(ARTIFACT, key, self._engine.serialize(code)))
        return code

    def _from_artifact(self, key: str, kind: ModuleKind) -> Code | None:
        artifact = self._cache.load(ARTIFACT, key)
        if artifact is None:
            return None
        try:
            code = self._engine.deserialize(artifact)
            code.check_abi(kind)
        except DormiceError as error:
            # ours by its HMAC, yet the engine will not have it: a miss, and the next store writes over it
            self._metrics.count("artifact_cache_errors", "refused")
            log.warning("artifact not used", reason="refused", detail=error.detail or error.message)
            return None
        return code

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
