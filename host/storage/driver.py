"""The storage driver protocol. It speaks of units of effects and fences, not of SQL.

Every driver passes the same conformance suite; the one in memory is the model. What every driver promises:

* `commit` is all or nothing for its unit, durable when it returns, and refuses a unit whose fence does not match
  (`Fenced`). Many units may share one transaction; a fenced one is left out and the others apply.
* A failure before COMMIT is `storage/unavailable` (UnavailableError) and nothing of the group applied. A failure in
  COMMIT or fsync is `CommitUnknown`: the process has to end, for nobody knows what is on disk.
* Values (state, payloads, params, connection state, input) are opaque JSON bytes here, stored with a version byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from host.model.definitions import Definition, DefinitionOptions, ModuleRecord
from host.model.effects import CommitUnit, OutboxFrame
from host.model.ports import StateReader
from host.model.records import ActorImage, ActorRecord, ConnectionRow, DeadLetter

__all__ = ["ActorPage", "CommitUnknown", "CreateActor", "Driver", "Fenced", "Outbox"]


class Fenced(Exception):
    """The unit's (generation, epoch, hop_seq) is not the stored one: its instance has to end, without a retry."""


class CommitUnknown(Exception):
    """COMMIT or fsync failed: what is on disk is unknown until the database is opened again."""


class CreateActor(Struct, frozen=True):
    """`actor_id` is the fresh id to be used if an actor is created; `input` is a Value."""

    actor_id: str
    tenant: str
    name: str
    key: tuple[str, ...]
    version: int
    module: str
    now: int
    input: bytes | None = None


class ActorPage(Struct, frozen=True):
    """`cursor` is opaque; None on the last page."""

    actors: tuple[ActorRecord, ...]
    cursor: str | None = None


class Outbox(Struct, frozen=True):
    """Of one session: the index of the last frame ever put in, and those that were asked for, in order."""

    sent_index: int
    frames: tuple[OutboxFrame, ...]


class Driver(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    # actors ------------------------------------------------------------------------------------------------------

    async def get_or_create(self, wanted: CreateActor) -> tuple[ActorRecord, bool]:
        """The live actor of the key, or a new one with the key's generation + 1; True when created. Creators of one
        key serialise. Durable when it returns."""
        ...

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None: ...

    async def get_actor(self, actor_id: str) -> ActorRecord | None: ...

    async def list_actors(
        self, tenant: str, name: str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> ActorPage:
        """By creation time, the newest first. A bad cursor is `request/invalid`. Records of a page carry no `input`."""
        ...

    async def actor_names(self, tenant: str) -> tuple[str, ...]:
        """The names that have live actors, sorted."""
        ...

    async def hydrate(self, actor_id: str) -> ActorImage | None:
        """Everything a start needs, in one read transaction. Alarms by due_at, connections by conn_id."""
        ...

    async def commit(self, unit: CommitUnit) -> None: ...

    async def destroy(self, actor_id: str) -> bool:
        """Removes every row of the actor in one transaction; the key row stays as a tombstone with its generation.
        False if there is no such actor."""
        ...

    async def due_actors(
        self, before: int, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[tuple[int, str]]:
        """(wake_at, actor_id) of live actors with wake_at < `before`, the earliest first, ids in order; those behind
        `after` only."""
        ...

    async def strays(self, gateway_id: str, limit: int) -> Sequence[str]:
        """Ids of actors with a connection row of another gateway than `gateway_id`, each once, in no given order."""
        ...

    async def adopt_sessions(self, gateway_id: str, expires_at: int) -> Sequence[tuple[str, ConnectionRow]]:
        """Gives every session of another gateway than `gateway_id` to that one, and returns them with their actors'
        ids. Of several with one secret on one actor only the latest is taken: the others had ended. Durable. No actor
        may be awake meanwhile."""
        ...

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        """The frames of a session above the index `after`; None if the connection has no row."""
        ...

    async def dead_letters(self, actor_id: str) -> Sequence[DeadLetter]:
        """The oldest first."""
        ...

    async def kv_size(self, actor_id: str) -> tuple[int, int]:
        """(keys, bytes) as committed."""
        ...

    def reader(self, actor_id: str) -> StateReader: ...

    # modules and definitions -------------------------------------------------------------------------------------

    async def put_module(self, record: ModuleRecord, data: bytes) -> bool:
        """Stores the bytes content-addressed and the row; False if the tenant had it already. Durable."""
        ...

    async def get_module(self, tenant: str, digest: str) -> ModuleRecord | None: ...

    async def module_bytes(self, digest: str) -> bytes | None:
        """The bytes by digest alone; checked against it: a file that was tampered with is None."""
        ...

    async def list_modules(self, tenant: str) -> Sequence[ModuleRecord]: ...

    async def put_definition(
        self,
        tenant: str,
        name: str,
        module: str,
        options: DefinitionOptions,
        limits: dict[str, int],
        now: int,
    ) -> Definition:
        """A new version, one above the latest, from 1."""
        ...

    async def get_definition(self, tenant: str, name: str, version: int | None = None) -> Definition | None:
        """The latest version, or that one."""
        ...

    async def list_definitions(self, tenant: str) -> Sequence[Definition]:
        """The latest version of each, by name."""
        ...
