"""Finds what an actor is to run: what the program registered under its name, else what its tenant deployed.

A registered name belongs to the program in every namespace, so a tenant cannot deploy under it. Of what is deployed the
version is chosen by `host.model.deploys`: the newest that this actor may have.
"""

from __future__ import annotations

from collections.abc import Mapping

from host.actor.definitions import ActorDefinition, Definitions, Loaded
from host.actor.isolates import isolate_maker
from host.actor.registered import LoaderDefinition, StaticDefinition
from host.actor.upgrades import Upgrades
from host.model.clock import Clock
from host.model.definitions import Definition, DefinitionOptions
from host.model.deploys import takes, wanted
from host.model.errors import CallerError, ErrorInfo
from host.model.ports import Metrics
from host.model.records import ActorImage, ActorRecord
from host.model.sources import Dynamic
from host.modules.api import ModuleService
from host.static.spec import ActorSpec
from host.storage.driver import Driver

__all__ = ["ModuleDefinition", "Registered", "Registry"]

Registered = ActorSpec | Dynamic


class ModuleDefinition:
    """A version that is in storage."""

    def __init__(self, stored: Definition, modules: ModuleService) -> None:
        self._modules = modules
        self._tenant = stored.tenant
        self.version = stored.version
        self.module = stored.module
        self.options: DefinitionOptions = stored.options
        self.limits: Mapping[str, int] = stored.limits

    async def load(self, image: ActorImage) -> Loaded:
        code = await self._modules.code_for(self._tenant, self.module)
        return Loaded(self.module, isolate_maker(code))


class Registry(Definitions):
    def __init__(
        self,
        storage: Driver,
        modules: ModuleService,
        registered: Mapping[str, Registered] | None = None,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._modules = modules
        self._upgrades = Upgrades(storage, clock, metrics)
        self._registered: dict[str, ActorDefinition] = {
            name: StaticDefinition(each) if isinstance(each, ActorSpec) else LoaderDefinition(name, each, modules)
            for name, each in (registered or {}).items()
        }

    def is_registered(self, name: str) -> bool:
        return name in self._registered

    async def for_new(self, tenant: str, name: str, actor_id: str) -> ActorDefinition:
        return self._registered.get(name) or await self._deployed(tenant, name, actor_id, None, None)

    async def for_actor(self, record: ActorRecord) -> ActorDefinition:
        found = self._registered.get(record.name)
        if found is not None:
            return found
        runs = record.version if record.started_once else None
        return await self._deployed(record.tenant, record.name, record.actor_id, runs, record.held_version)

    async def instead_of(
        self, failed: ActorDefinition, record: ActorRecord, error: ErrorInfo, detail: str | None
    ) -> ActorDefinition | None:
        if record.name in self._registered:
            return None
        found = await self._upgrades.failed(record, failed.version, error, detail)
        return None if found is None else ModuleDefinition(found, self._modules)

    async def _deployed(
        self, tenant: str, name: str, actor_id: str, runs: int | None, held: int | None
    ) -> ActorDefinition:
        # Nearly always it is the newest, and nobody has to look further.
        found = await self._storage.get_definition(tenant, name)
        if found is not None and not takes(actor_id, runs, held, found):
            found = wanted(actor_id, runs, held, await self._storage.definition_versions(tenant, name, runs))
        if found is None:
            raise CallerError(
                "definition", "not_found", f"there is no definition {name!r} in namespace {tenant!r}; deploy it first"
            )
        return ModuleDefinition(found, self._modules)
