"""The SQLite driver: one writer that commits in groups, and readers of their own. See `host.storage.driver.Driver`.

* Writes go through `Writer` to one connection; a group is one transaction in one trip to its thread.
* Asynchronous reads go to a few read-only connections, one trip each; cold reads of a hop to `ColdReads`.
* After a CommitUnknown everything is refused, reads too: what they would see may not be what is on disk.

It belongs to the event loop on which it was opened, except for the readers of `reader`, which any thread may use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread

from host.model.definitions import Definition, DefinitionOptions, DeployFailure, DeployStatus, ModuleRecord
from host.model.effects import CommitUnit
from host.model.errors import UnavailableError
from host.model.identity import TokenRow
from host.model.ports import StateReader
from host.model.records import ActorImage, ActorRecord, ConnectionRow, DeadLetter
from host.model.report import ModuleReport
from host.storage.blobs import BlobStore
from host.storage.cursor import check_limit, decode_cursor
from host.storage.driver import ActorPage, CommitUnknown, CreateActor, Outbox
from host.storage.sqlite import deploys, destroys, jobs, queries, tokens
from host.storage.sqlite.cold import ColdReads, SqliteReader
from host.storage.sqlite.connect import OneTrip, open_reader, open_writer
from host.storage.sqlite.failures import unavailable
from host.storage.sqlite.group import Job
from host.storage.sqlite.migrate import migrate
from host.storage.sqlite.writer import Writer, size_of

__all__ = ["SqliteDriver"]

T = TypeVar("T")

READERS = 2
BUSY_TIMEOUT = 2.0
_JOB_BYTES = 1024


class SqliteDriver:
    def __init__(
        self,
        database: Path,
        blobs: Path,
        *,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        """`factory` makes the writer's connection. `busy_timeout` is in seconds: how long a group waits for another
        process that writes, which only a tool outside the host can be."""
        self._path = database
        self._blobs = BlobStore(blobs)
        self._factory = factory
        self._busy_timeout = busy_timeout
        self._cold = ColdReads(database, self._refuse)
        self._writer: Writer | None = None
        self._write_connection: OneTrip | None = None
        self._read_connections: list[OneTrip] = []
        self._turn = 0

    async def open(self) -> None:
        if self._writer is not None:
            raise RuntimeError("a driver is opened once")
        try:
            connection = OneTrip(partial(open_writer, self._path, self._factory, self._busy_timeout))
            await connection.start()
            self._write_connection = connection
            await connection.trip(migrate)
            for _ in range(READERS):
                reader = OneTrip(partial(open_reader, self._path))
                await reader.start()
                self._read_connections.append(reader)
        except BaseException as error:
            await self._close_connections()
            if isinstance(error, sqlite3.Error):
                raise UnavailableError(
                    "storage", "unavailable", f"the database {self._path} cannot be opened: {error}", retryable=False
                ) from error
            raise
        self._writer = Writer(connection)

    async def close(self) -> None:
        """Waits for queued writes, then closes readers first, so that the writer, as the last, folds the log in."""
        if self._writer is not None:
            await self._writer.close()
        self._cold.close()
        await self._close_connections()

    # actors ----------------------------------------------------------------------------------------------------------

    async def get_or_create(self, wanted: CreateActor) -> tuple[ActorRecord, bool]:
        # Most calls find the actor: those cost a read, not a place in the writer's queue.
        found = await self.find(wanted.tenant, wanted.name, wanted.key)
        if found is not None:
            return found, False
        made: tuple[ActorRecord, bool] = await self._write(jobs.creating(wanted), len(wanted.input or b""))
        return made

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None:
        return await self._read(queries.actor_by_key(tenant, name, key))

    async def get_actor(self, actor_id: str) -> ActorRecord | None:
        return await self._read(queries.actor_by_id(actor_id))

    async def list_actors(
        self, tenant: str, name: str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> ActorPage:
        check_limit(limit)
        before = None if cursor is None else decode_cursor(cursor)
        return await self._read(queries.actor_page(tenant, name, limit, before))

    async def actor_names(self, tenant: str) -> tuple[str, ...]:
        return await self._read(queries.names_of(tenant))

    async def hydrate(self, actor_id: str, *, destroying: bool = False) -> ActorImage | None:
        return await self._read(queries.hydration(actor_id, destroying))

    async def commit(self, unit: CommitUnit) -> None:
        await self._open_writer().submit(unit, size_of(unit))

    async def begin_destroy(self, actor_id: str) -> ActorRecord | None:
        was: ActorRecord | None = await self._write(destroys.beginning(actor_id))
        return was

    async def finish_destroy(self, actor_id: str) -> bool:
        gone: bool = await self._write(destroys.finishing(actor_id))
        return gone

    async def destroying(self, limit: int) -> Sequence[str]:
        return await self._read(destroys.begun(limit))

    async def due_actors(
        self, before: int, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[tuple[int, str]]:
        return await self._read(queries.due(before, limit, after))

    async def strays(self, gateway_id: str, limit: int) -> Sequence[str]:
        return await self._read(queries.strays_of(gateway_id, limit))

    async def adopt_sessions(self, gateway_id: str, expires_at: int) -> Sequence[tuple[str, str, ConnectionRow]]:
        found: list[tuple[str, str, ConnectionRow]] = await self._write(jobs.adopting(gateway_id, expires_at))
        return found

    async def session_known(self, actor_id: str, session: bytes) -> bool:
        return await self._read(queries.session_known(actor_id, session))

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        return await self._read(queries.outbox_of(actor_id, conn_id, after))

    async def dead_letters(self, actor_id: str) -> Sequence[DeadLetter]:
        return await self._read(queries.dead_letters_of(actor_id))

    async def kv_size(self, actor_id: str) -> tuple[int, int]:
        return await self._read(queries.kv_size_of(actor_id))

    def reader(self, actor_id: str) -> StateReader:
        return SqliteReader(self._cold, actor_id)

    # tenants ---------------------------------------------------------------------------------------------------------

    async def tenant_quotas(self, tenant: str) -> dict[str, int]:
        return await self._read(queries.quotas_of(tenant))

    async def put_tenant_quotas(self, tenant: str, quotas: dict[str, int], now: int) -> None:
        await self._write(jobs.storing_quotas(tenant, quotas, now))

    async def modules_size(self, tenant: str) -> tuple[int, int]:
        return await self._read(queries.modules_size_of(tenant))

    # tokens ----------------------------------------------------------------------------------------------------------

    async def put_token(self, row: TokenRow, allowed: int, now: int) -> bool:
        stored: bool = await self._write(tokens.storing(row, allowed, now))
        return stored

    async def token_by_hash(self, digest: bytes) -> TokenRow | None:
        return await self._read(tokens.hashed(digest))

    async def tokens_of(self, tenant: str, now: int) -> Sequence[TokenRow]:
        return await self._read(tokens.of_tenant(tenant, now))

    async def drop_token(self, tenant: str, token_id: str) -> bool:
        gone: bool = await self._write(tokens.dropping(tenant, token_id))
        return gone

    # modules and definitions -----------------------------------------------------------------------------------------

    async def put_module(self, record: ModuleRecord, data: bytes, report: ModuleReport | None = None) -> bool:
        self._open_writer()
        await to_thread.run_sync(self._blobs.put, record.digest, data)
        new: bool = await self._write(jobs.storing_module(record, report))
        return new

    async def get_module(self, tenant: str, digest: str) -> ModuleRecord | None:
        return await self._read(queries.module_named(tenant, digest))

    async def module_report(self, tenant: str, digest: str) -> ModuleReport | None:
        return await self._read(queries.report_of(tenant, digest))

    async def module_bytes(self, digest: str) -> bytes | None:
        self._refuse()
        return await to_thread.run_sync(self._blobs.get, digest)

    async def list_modules(self, tenant: str) -> Sequence[ModuleRecord]:
        return await self._read(queries.modules_of(tenant))

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
        made: Definition = await self._write(jobs.defining(tenant, name, module, options, limits, now, percent))
        return made

    async def get_definition(self, tenant: str, name: str, version: int | None = None) -> Definition | None:
        return await self._read(queries.definition_named(tenant, name, version))

    async def list_definitions(self, tenant: str) -> Sequence[Definition]:
        return await self._read(queries.definitions_of(tenant))

    # deploys ---------------------------------------------------------------------------------------------------------

    async def definition_versions(self, tenant: str, name: str, also: int | None = None) -> Sequence[Definition]:
        return await self._read(deploys.versions_of(tenant, name, also))

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
        changed: Definition | None = await self._write(deploys.changing(tenant, name, version, status, percent, reason))
        return changed

    async def note_deploy_failure(
        self, tenant: str, name: str, version: int, actor_id: str, at: int, reason: str
    ) -> list[int]:
        times: list[int] = await self._write(deploys.noting(tenant, name, version, actor_id, at, reason))
        return times

    async def deploy_failures(self, tenant: str, name: str, limit: int) -> Sequence[DeployFailure]:
        return await self._read(deploys.failures_of(tenant, name, limit))

    async def count_actors(self, tenant: str, name: str, limit: int) -> int:
        return await self._read(deploys.actors_of(tenant, name, limit))

    async def release_held(self, actor_id: str) -> bool:
        released: bool = await self._write(deploys.releasing(actor_id))
        return released

    # connections -----------------------------------------------------------------------------------------------------

    async def _write(self, job: Job, size: int = 0) -> Any:
        return await self._open_writer().submit(job, _JOB_BYTES + size)

    async def _read(self, query: queries.Query[T]) -> T:
        self._refuse()
        if not self._read_connections:
            raise unavailable("the driver is not open", reading=True)
        self._turn = (self._turn + 1) % len(self._read_connections)
        try:
            return await self._read_connections[self._turn].trip(query)
        except (sqlite3.Error, MemoryError) as error:
            raise unavailable(error, reading=True) from error

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise unavailable("the driver is not open")
        return self._writer

    def _refuse(self) -> None:
        if self._writer is not None and self._writer.unknown is not None:
            raise CommitUnknown(*self._writer.unknown.args)

    async def _close_connections(self) -> None:
        connections = [*self._read_connections, *([self._write_connection] if self._write_connection else [])]
        self._read_connections, self._write_connection = [], None
        for connection in connections:
            await connection.close()
