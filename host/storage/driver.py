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

from host.model.definitions import Definition, DefinitionOptions, DeployFailure, DeployStatus, ModuleRecord
from host.model.effects import CommitUnit, OutboxFrame
from host.model.identity import TokenRow
from host.model.ports import StateReader
from host.model.records import ActorImage, ActorRecord, ConnectionRow, DeadLetter
from host.model.report import ModuleReport

__all__ = ["KEPT_FAILURES", "KEPT_VERSIONS", "ActorPage", "CommitUnknown", "CreateActor", "Driver", "Fenced", "Outbox"]

# So many of the latest versions of a definition are looked at for one that an actor may run.
KEPT_VERSIONS = 100
# So many failed starts on a version are kept.
KEPT_FAILURES = 100


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

    async def hydrate(self, actor_id: str, *, destroying: bool = False) -> ActorImage | None:
        """Everything a start needs, in one read transaction. Alarms by due_at, connections by conn_id. With
        `destroying`, of an actor that is being destroyed too: its last start asks so, and nobody else."""
        ...

    async def commit(self, unit: CommitUnit) -> None: ...

    async def begin_destroy(self, actor_id: str) -> ActorRecord | None:
        """From now on nobody finds the actor: its key has no actor and makes a new one with the next generation, its
        connections and alarm time are gone, and no commit of it brings any of that back. What it was until then; None
        if there is no such actor, or its destroy has begun before. Durable."""
        ...

    async def finish_destroy(self, actor_id: str) -> bool:
        """Removes every row of the actor in one transaction, begun or not; the key row stays as a tombstone with its
        generation. False if there is no such actor. Durable."""
        ...

    async def destroying(self, limit: int) -> Sequence[str]:
        """Ids of actors whose destroy has begun and is not finished, in no given order."""
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

    async def adopt_sessions(self, gateway_id: str, expires_at: int) -> Sequence[tuple[str, str, ConnectionRow]]:
        """Gives every session of another gateway than `gateway_id` to that one, and returns them behind the tenants and
        ids of their actors. Of several with one secret on one actor only the latest is taken: the others had ended.
        Durable. No actor may be awake meanwhile."""
        ...

    async def session_known(self, actor_id: str, session: bytes) -> bool:
        """Whether the actor has a session of this hash, or had one and it is not forgotten yet."""
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

    # tenants -----------------------------------------------------------------------------------------------------

    async def tenant_quotas(self, tenant: str) -> dict[str, int]:
        """What was set for the tenant; empty if nothing was."""
        ...

    async def put_tenant_quotas(self, tenant: str, quotas: dict[str, int], now: int) -> None:
        """In place of those that were set before. Durable."""
        ...

    async def modules_size(self, tenant: str) -> tuple[int, int]:
        """(modules, their bytes) of the tenant."""
        ...

    # tokens ------------------------------------------------------------------------------------------------------

    async def put_token(self, row: TokenRow, allowed: int, now: int) -> bool:
        """False, and nothing stored, if the tenant has `allowed` tokens already; those that have expired at `now` (ms)
        are gone by then. Durable."""
        ...

    async def token_by_hash(self, digest: bytes) -> TokenRow | None:
        """Expired or not."""
        ...

    async def tokens_of(self, tenant: str, now: int) -> Sequence[TokenRow]:
        """Those that have not expired at `now` (ms), by creation and id."""
        ...

    async def drop_token(self, tenant: str, token_id: str) -> bool:
        """False if the tenant has no such token. Nobody finds it once this has returned. Durable."""
        ...

    # modules and definitions -------------------------------------------------------------------------------------

    async def put_module(self, record: ModuleRecord, data: bytes, report: ModuleReport | None = None) -> bool:
        """Stores the bytes content-addressed and the row; False if the tenant had it already, which then stays as it
        was, but takes the report if it had none. Durable."""
        ...

    async def get_module(self, tenant: str, digest: str) -> ModuleRecord | None: ...

    async def module_report(self, tenant: str, digest: str) -> ModuleReport | None:
        """What admission found in it; None also for a module that was stored without one."""
        ...

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
        *,
        percent: int = 100,
    ) -> Definition:
        """A new version, one above the latest, from 1, live for so many percent of the actors."""
        ...

    async def get_definition(self, tenant: str, name: str, version: int | None = None) -> Definition | None:
        """The latest version, or that one."""
        ...

    async def list_definitions(self, tenant: str) -> Sequence[Definition]:
        """The latest version of each, by name."""
        ...

    # deploys -----------------------------------------------------------------------------------------------------

    async def definition_versions(self, tenant: str, name: str, also: int | None = None) -> Sequence[Definition]:
        """The newest first: the latest `KEPT_VERSIONS`, and `also` if there is such a version."""
        ...

    async def set_deploy(
        self,
        tenant: str,
        name: str,
        version: int,
        *,
        status: DeployStatus | None = None,
        percent: int | None = None,
        reason: str | None = None,
    ) -> Definition | None:
        """Changes what is given of how a deploy goes; the version as it is then, None if there is no such. Durable."""
        ...

    async def note_deploy_failure(
        self, tenant: str, name: str, version: int, actor_id: str, at: int, reason: str
    ) -> list[int]:
        """The actor could not start on the version. Returns the times of the latest such failure of each actor,
        ascending; of a version the latest `KEPT_FAILURES` are kept. Nothing is noted of an actor that is not there any
        more. Durable."""
        ...

    async def deploy_failures(self, tenant: str, name: str, limit: int) -> Sequence[DeployFailure]:
        """Those of all versions, the latest first."""
        ...

    async def count_actors(self, tenant: str, name: str, limit: int) -> int:
        """How many live actors the name has; counting stops at `limit`."""
        ...

    async def release_held(self, actor_id: str) -> bool:
        """The actor is held back from no version any more; whether it was. Durable. Not for one that is awake, whose
        own commits say so."""
        ...
