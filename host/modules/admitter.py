"""Admission with its memory: tenants' modules go through the jail, and what came of it is kept beside the artifacts.

Two things are kept, signed like every artifact and named by the digest *and* the rules in force (the limits of modules,
the budget of a compilation; wasmtime's version and configuration are in every name anyway):

* the report of a module that was admitted, so that the same bytes need no second survey;
* a verdict over budget, so that the same bomb is not compiled again. It is forgotten when a rule changes, or with its
  file; every other refusal is cheap enough to be found again.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TypeVar

import msgspec
from anyio.to_thread import run_sync

from host.isolate.config import Profile
from host.model.errors import DormiceError, ErrorInfo, InternalError, error_from_info
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.report import ModuleReport
from host.modules.cache import ArtifactCache
from host.modules.flights import Begin, anyhow
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import Admit
from host.telemetry.logging import get_logger

__all__ = ["REPORT", "VERDICT", "Admitter", "rules_of"]

T = TypeVar("T")

REPORT = "report"
VERDICT = "verdict"
# Raised when a rule changes that no limit tells of: reports and verdicts of before are void.
RULES = 1

_OVER_BUDGET = "module/compile_budget"

log = get_logger("modules")


def rules_of(limits: Limits) -> Mapping[str, int]:
    """The limits that decide whether a module is admitted."""
    named = ("compile_cpu", "compile_memory", "memory", "table_elements")
    return {
        name: value for name, value in limits.as_dict().items() if name in named or name.partition("_")[0] == "module"
    }


class Admitter:
    def __init__(self, jail: Jail, cache: ArtifactCache, limits: Limits, profile: Profile, metrics: Metrics) -> None:
        self._jail = jail
        self._cache = cache
        self._limits = limits.as_dict()
        self._profile: Profile = profile
        self._metrics = metrics
        self._rules = sha256(repr((RULES, sorted(rules_of(limits).items()))).encode()).digest()

    async def known(self, digest: str) -> ModuleReport | None:
        """The report of a module that was admitted under these rules."""
        return await run_sync(self._load, REPORT, digest, ModuleReport)

    async def admit(
        self, tenant: str, digest: str, wasm: bytes, what: str, begin: Begin = anyhow
    ) -> tuple[ModuleReport, bytes]:
        """Report and machine code; raises the tenant's error, a kept verdict, or an UnavailableError. `begin` is called
        when the tenant's turn has come."""
        verdict = await run_sync(self._load, VERDICT, digest, ErrorInfo)
        if verdict is not None:
            self._metrics.count("verdicts_remembered", verdict.code)
            log.info("module refused before", tenant=tenant, digest=digest, reason=verdict.name)
            raise error_from_info(verdict)
        try:
            job = Admit(wasm, self._profile, self._limits)
            done = await self._jail.run(tenant, job, f"compiling {what}", begin=begin)
        except DormiceError as error:
            if error.name == _OVER_BUDGET:
                await run_sync(self._store, VERDICT, digest, error.info)
            raise
        if done.report is None or done.report.digest != digest:
            raise InternalError("the jail admitted a module and reported on another, or not at all")
        return done.report, done.artifact

    async def remember(self, digest: str, report: ModuleReport) -> None:
        """Once the code of the module has proved to fit this engine."""
        await run_sync(self._store, REPORT, digest, report)

    def _load(self, kind: str, digest: str, shape: type[T]) -> T | None:
        data = self._cache.load(kind, self._key(digest))
        if data is None:
            return None
        try:
            return msgspec.msgpack.decode(data, type=shape)
        except msgspec.DecodeError as error:
            # ours by its HMAC, so of another version of the host: a miss, and the next store writes over it
            self._metrics.count("artifact_cache_errors", "refused")
            log.warning("artifact not used", reason="refused", kind=kind, detail=str(error))
            return None

    def _store(self, kind: str, digest: str, value: ErrorInfo | ModuleReport) -> None:
        self._cache.store(kind, self._key(digest), msgspec.msgpack.encode(value))

    def _key(self, digest: str) -> str:
        return sha256(b"dormice admission\0" + self._rules + digest.encode()).hexdigest()
