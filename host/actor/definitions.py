"""What an actor can be made of: one small interface over modules in storage, loaders, and Python classes.

`Definitions` finds the one that an actor is to run; `ActorDefinition.load` brings its code. Which kind it is, nobody
above this asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from host.actor.guest import GuestMaker
from host.model.definitions import DefinitionOptions
from host.model.errors import ErrorInfo
from host.model.records import ActorImage, ActorRecord

__all__ = ["ActorDefinition", "Definitions", "Loaded"]


class Loaded(Struct, frozen=True):
    """Code that is ready to start. `module` names it in the actor's row: a digest, or the kind and name of a class."""

    module: str
    make: GuestMaker


class ActorDefinition(Protocol):
    """One version of a definition."""

    @property
    def version(self) -> int: ...

    @property
    def module(self) -> str:
        """What the row of a new actor says until its first start has settled."""
        ...

    @property
    def options(self) -> DefinitionOptions: ...

    @property
    def limits(self) -> Mapping[str, int]:
        """Overrides by name, within the operator's maxima."""
        ...

    async def load(self, image: ActorImage) -> Loaded:
        """Brings the code. Called under the deadline of a start, and cancelled with it; raises `DormiceError`."""
        ...


class Definitions(Protocol):
    async def for_new(self, tenant: str, name: str, actor_id: str) -> ActorDefinition:
        """For an actor that is about to be made; `definition/not_found` if nobody has deployed or registered one."""
        ...

    async def for_actor(self, record: ActorRecord) -> ActorDefinition:
        """The version that this actor is to run at its next start."""
        ...

    async def instead_of(
        self, failed: ActorDefinition, record: ActorRecord, error: ErrorInfo, detail: str | None
    ) -> ActorDefinition | None:
        """`failed` could not be started for this actor, whose record is as before that start; `detail` is for the
        operator. What it is to run in its place, at once; None if there is nothing else: then the actor has failed."""
        ...
