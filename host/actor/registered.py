"""Definitions that a program registers: Python classes, and loaders that name a module per actor."""

from __future__ import annotations

from collections.abc import Mapping

from host.actor.definitions import Loaded
from host.actor.guest import Guest, Place
from host.actor.isolates import isolate_maker
from host.bridge.codec import Codec
from host.model.definitions import CAPABILITIES, DefinitionOptions, Manifest
from host.model.errors import DormiceError, TenantError
from host.model.records import ActorImage
from host.model.sources import Dynamic, LoadContext, ModuleSource
from host.modules.api import ModuleService
from host.static.guest import StaticGuest
from host.static.spec import ActorSpec
from host.wire.values import to_python

__all__ = ["LoaderDefinition", "StaticDefinition"]

_EVERYTHING = Manifest(abi=1, capabilities=tuple(sorted(CAPABILITIES)))


class StaticDefinition:
    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        self.version = spec.actor.version
        self.module = f"static:{spec.actor.__qualname__}"
        self.options = DefinitionOptions(egress=spec.actor.egress)
        self.limits: Mapping[str, int] = {}

    async def load(self, image: ActorImage) -> Loaded:
        return Loaded(self.module, self._make)

    def _make(self, place: Place) -> Guest:
        return StaticGuest(self._spec, place.calls(Codec("json"), _EVERYTHING))


class LoaderDefinition:
    """Its version is always 1: which module an actor runs is the loader's business at every start."""

    def __init__(self, name: str, dynamic: Dynamic, modules: ModuleService) -> None:
        self._dynamic = dynamic
        self._modules = modules
        self.version = 1
        self.module = f"loader:{name}"
        self.options = dynamic.options
        self.limits = dynamic.limits

    async def load(self, image: ActorImage) -> Loaded:
        record = image.record
        context = LoadContext(
            record.tenant,
            record.name,
            record.key,
            record.actor_id,
            record.generation,
            None if record.input is None else to_python(record.input),
        )
        try:
            source = await self._dynamic.load(context)
        except DormiceError:
            raise
        except Exception as error:
            # The operator's own code: its error is for the log, callers learn that the start failed.
            raise TenantError(
                "actor", "load_failed", "the loader of this actor's code failed", detail=repr(error)
            ) from error
        digest = await self._digest(record.tenant, source)
        code = await self._modules.code_for(record.tenant, digest)
        return Loaded(digest, isolate_maker(code))

    async def _digest(self, tenant: str, source: ModuleSource) -> str:
        modules = self._modules
        if not isinstance(source, ModuleSource):
            raise _bad_source(f"a loader returns a ModuleSource, not a {type(source).__name__}")
        if source.address is not None and source.sha256 is not None:
            return (await modules.load_url(tenant, source.address, source.sha256)).digest
        if source.content_type is None:
            raise _bad_source("a ModuleSource has bytes with a type, or a URL with its sha256")
        if not isinstance(source.data, bytes):
            raise _bad_source(f"the data of a ModuleSource are bytes, not a {type(source.data).__name__}")
        return (await modules.upload(tenant, source.data, source.content_type)).digest


def _bad_source(message: str) -> TenantError:
    return TenantError("actor", "load_failed", message)
