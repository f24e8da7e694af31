"""Modules: the service that the control plane uploads through and actors take their code from.

It guarantees that what is stored has been admitted and is within its tenant's quotas, however many uploads come at
once; that a module's bytes are the ones its digest names, that a start never fetches anything, and that every refusal
is counted and logged with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from msgspec.structs import replace

from host.isolate.config import profile_key
from host.isolate.engine import Engine
from host.isolate.executor import Executor
from host.model.clock import Clock
from host.model.definitions import Definition, DefinitionOptions, ModuleKind, ModuleRecord
from host.model.errors import CallerError, DormiceError, InternalError, limit_error
from host.model.limits import Limits, limits_with
from host.model.ports import Metrics, TenantPort
from host.model.report import ModuleReport
from host.modules.admission import precheck, survey_js
from host.modules.admit import kind_of_type, kind_of_url
from host.modules.admitter import Admitter
from host.modules.api import ModuleService, RunnableCode
from host.modules.cache import ArtifactCache
from host.modules.codes import CodeStore
from host.modules.compile import Compiler, Progress, no_progress
from host.modules.deployment_images import DeploymentImages
from host.modules.engine_image import EngineImage
from host.modules.fetch import Fetcher
from host.modules.hashes import digest_of, parse_digest
from host.modules.image_builder import JailedImageBuilder
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import IMAGE_PROFILE
from host.modules.js_check import check_js, check_js_text
from host.modules.key_locks import KeyLocks
from host.modules.lru import Lru
from host.outbound.address_guard import AddressGuard
from host.outbound.url_rules import HostPattern, UrlRules
from host.storage.driver import Driver
from host.telemetry.logging import get_logger
from host.telemetry.redact import strip_query
from isolate_sdk import engine_wasm, prelude

__all__ = ["Modules"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
# So much of the names of a module an error tells.
MAX_KNOWN = 400
# Source text of js modules in memory: a wake should not have to read a file.
KEPT_SOURCE = 64 * 1024 * 1024
# What an entry counts besides its source; one of kind wasm holds machine code of its own.
JS_WEIGHT = 4 * 1024
WASM_WEIGHT = 512 * 1024

log = get_logger("modules")


class Modules(ModuleService):
    def __init__(
        self,
        driver: Driver,
        engine: Engine,
        executor: Executor,
        cache_dir: Path,
        cache_key: bytes,
        limits: Limits,
        clock: Clock,
        allow_private_urls: bool,
        metrics: Metrics,
        *,
        url_hosts: tuple[HostPattern, ...] = (),
        progress: Progress = no_progress,
        fetcher: Fetcher | None = None,
        tenants: TenantPort | None = None,
        images: bool = False,
        registered: Collection[str] = (),
    ) -> None:
        """With `images` somebody runs `self.images.run`; without, every start of a js module loads it. The names in
        `registered` are the program's own: nobody deploys under them."""
        self._names = frozenset(registered)
        self._storing = KeyLocks()  # by tenant, from the check of a quota until what was checked is stored
        self._driver = driver
        self._tenants = tenants
        self._executor = executor
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        guard = AddressGuard(allow_private=allow_private_urls)
        self._fetcher = fetcher or Fetcher(clock, guard, UrlRules(allow_private_urls, url_hosts))
        cache = ArtifactCache(cache_dir, cache_key, engine.profile_key, metrics)
        compiler = Compiler(engine, progress=progress)
        self.jail = Jail(clock, limits, metrics, progress=progress)
        admitter = Admitter(self.jail, cache, limits, engine.profile, metrics)
        self._codes = CodeStore(engine, compiler, cache, metrics, admitter)
        self._image = EngineImage(
            engine, compiler, self._codes, cache, engine_wasm=engine_wasm(), prelude=prelude().encode()
        )
        self.images = DeploymentImages(
            engine,
            cache,
            JailedImageBuilder(
                self.jail,
                self._image,
                ArtifactCache(cache_dir, cache_key, profile_key(IMAGE_PROFILE), metrics),
                engine.profile,
                limits,
            ),
            self._bytes,
            metrics,
            inputs=self._image.digest,
            on=images,
        )
        self._runnable: Lru[tuple[str, str], RunnableCode] = Lru(KEPT_SOURCE)

    async def warm(self) -> None:
        """Has the JavaScript engine ready; called when the host starts, so that no tenant waits for it."""
        await self._image.js_code()

    async def close(self) -> None:
        """Ends the compile jail; nothing is compiled for tenants after it."""
        await self.jail.close()
        await self._codes.close()

    async def upload(self, tenant: str, data: bytes, content_type: str) -> ModuleRecord:
        with self._refusals(tenant):
            return await self._store(tenant, data, kind_of_type(content_type), None)

    async def load_url(self, tenant: str, url: str, sha256: str) -> ModuleRecord:
        with self._refusals(tenant):
            digest = parse_digest(sha256)
            self._fetcher.check(url)
            known = await self._driver.get_module(tenant, digest)
            if known is not None:
                return known
            fetched = await self._fetcher.fetch(url, digest, self._limits.module)
            kind = kind_of_url(fetched.content_type, fetched.place)
            return await self._store(tenant, fetched.data, kind, strip_query(url))

    async def deploy(
        self,
        tenant: str,
        name: str,
        digest: str,
        options: DefinitionOptions,
        limits: dict[str, int],
        *,
        percent: int = 100,
    ) -> Definition:
        if not _NAME.match(name):
            raise CallerError(
                "definition", "invalid_name", f"{name[:80]!r} is no definition name: 1 to 64 of A-Z a-z 0-9 _ . -"
            )
        if name in self._names:
            raise CallerError(
                "definition",
                "in_use",
                f"the program that runs this host registered {name!r} itself; deploy under another name",
            )
        limits_with(limits, self._limits)
        async with self._storing.of(tenant):
            if self._tenants is not None:
                await self._tenants.admit_definition(tenant, name)
            module = parse_digest(digest)
            record = await self._driver.get_module(tenant, module)
            if record is None:
                raise _not_found(module)
            check_name(name, await self._driver.module_report(tenant, module))
            with anyio.CancelScope(shield=True):  # the next of the tenant has to find it
                definition = await self._driver.put_definition(
                    tenant, name, module, options, limits, self._clock.now_ms(), percent=percent
                )
        if record.kind == "js":
            self.images.want(module)
        return definition

    async def code_for(self, tenant: str, digest: str) -> RunnableCode:
        known = self._runnable.get((tenant, digest))
        if known is not None:
            return await self._with_image(known)
        record = await self._driver.get_module(tenant, digest)
        if record is None:
            raise _not_found(digest)
        source: bytes | None = None
        if record.kind == "js":
            source = await self._bytes(digest)
            code = await self._image.js_code()
            weight = JS_WEIGHT + len(source)
        else:
            code = await self._codes.get(digest, lambda: self._bytes(digest), f"module {digest[:12]}", tenant=tenant)
            weight = WASM_WEIGHT
        runnable = RunnableCode(record.kind, digest, record.manifest, code, source)
        self._runnable.put((tenant, digest), runnable, weight)
        return await self._with_image(runnable)

    async def _with_image(self, runnable: RunnableCode) -> RunnableCode:
        image = await self.images.get(runnable.digest) if runnable.kind == "js" else None
        return runnable if image is None else replace(runnable, image=image)

    async def _bytes(self, digest: str) -> bytes:
        data = await self._driver.module_bytes(digest)
        if data is None:
            raise InternalError(f"the bytes of module {digest} are gone from the data directory, or were changed")
        return data

    async def _store(self, tenant: str, data: bytes, kind: ModuleKind, source_url: str | None) -> ModuleRecord:
        allowed = self._limits.module
        if len(data) > allowed:
            raise limit_error("module", len(data), allowed, "make the module smaller", name="module/too_large")
        digest = digest_of(data)
        known = await self._driver.get_module(tenant, digest)
        if known is not None and known.kind == kind and await self._driver.module_report(tenant, digest) is not None:
            return known
        if self._tenants is not None and known is None:
            await self._tenants.admit_module(tenant, len(data))  # before it costs a compilation
        report = await self._admit(tenant, digest, data, kind)
        record = ModuleRecord(tenant, digest, kind, len(data), report.manifest, self._clock.now_ms(), source_url)
        async with self._storing.of(tenant):
            # others may have been stored since
            if self._tenants is not None and await self._driver.get_module(tenant, digest) is None:
                await self._tenants.admit_module(tenant, len(data))
            with anyio.CancelScope(shield=True):  # the next of the tenant has to find it
                await self._driver.put_module(record, data, report)
        self._metrics.count("modules_stored", kind)
        log.info("module stored", tenant=tenant, digest=digest, kind=kind, size=len(data))
        return record

    async def _admit(self, tenant: str, digest: str, data: bytes, kind: ModuleKind) -> ModuleReport:
        if kind == "js":
            check_js_text(data)
            code = await self._image.js_code()
            names = await self._executor.run(tenant, lambda: check_js(code, data, self._limits))
            return survey_js(data, self._limits, names)
        precheck(data, self._limits)
        return await self._codes.admit(tenant, digest, data, f"module {digest[:12]}")

    @contextmanager
    def _refusals(self, tenant: str) -> Iterator[None]:
        try:
            yield
        except DormiceError as error:
            self._metrics.count("modules_refused", f"{error.group}.{error.code}")
            log.info("module refused", tenant=tenant, reason=error.name, message=error.message, detail=error.detail)
            raise


def check_name(name: str, report: ModuleReport | None) -> None:
    """A module that names several actors makes no others; one of a single actor serves any name."""
    names = () if report is None else report.names
    if len(names) > 1 and name not in names:
        known = ", ".join(sorted(names))
        known = known if len(known) <= MAX_KNOWN else known[:MAX_KNOWN] + " …"
        raise CallerError("definition", "unknown_name", f"the module has no actor {name!r}; it has {known}")


def _not_found(digest: str) -> CallerError:
    return CallerError("module", "not_found", f"no module sha256:{digest[:64]}; upload it first with POST /modules")
