"""Writes that are not commit units, as jobs: each runs inside a group's transaction on the writer's thread."""

from __future__ import annotations

import sqlite3

from msgspec.structs import replace

from host.model.definitions import Definition, DefinitionOptions, ModuleRecord
from host.model.records import ActorRecord, ConnectionRow
from host.model.report import ModuleReport
from host.storage.creation import new_record
from host.storage.driver import CreateActor
from host.storage.sqlite.group import Job
from host.storage.sqlite.rows import ACTOR, CONNECTION, actor_record, connection_row, dump, key_text
from host.storage.values import pack

__all__ = ["adopting", "creating", "defining", "storing_module", "storing_quotas"]


def creating(wanted: CreateActor) -> Job:
    """Returns (record, created). A key that cannot be stored is refused at once."""
    key = key_text(wanted.key)

    def job(conn: sqlite3.Connection) -> tuple[ActorRecord, bool]:
        place = (wanted.tenant, wanted.name, key)
        row = conn.execute(
            "SELECT actor_id, generation FROM keys WHERE tenant = ? AND name = ? AND key = ?", place
        ).fetchone()
        actor_id, generation = (None, 0) if row is None else row
        if actor_id is not None:
            found = conn.execute(f"SELECT {ACTOR} FROM actors WHERE actor_id = ?", (actor_id,)).fetchone()
            return actor_record(found), False
        record = new_record(wanted, generation + 1)
        conn.execute(
            "INSERT INTO actors (actor_id, tenant, name, key, generation, epoch, hop_seq, version, module, created_at, "
            "started_once, lifecycle, attempt, input) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.actor_id,
                *place,
                record.generation,
                record.epoch,
                record.hop_seq,
                record.version,
                record.module,
                record.created_at,
                record.started_once,
                record.lifecycle,
                record.attempt,
                pack(record.input),
            ),
        )
        conn.execute(
            "INSERT INTO keys (tenant, name, key, actor_id, generation) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, name, key) "
            "DO UPDATE SET actor_id = excluded.actor_id, generation = excluded.generation",
            (*place, record.actor_id, record.generation),
        )
        return record, True

    return job


def adopting(gateway_id: str, expires_at: int) -> Job:
    """Returns the sessions taken over, as (tenant, actor_id, row)."""

    def job(conn: sqlite3.Connection) -> list[tuple[str, str, ConnectionRow]]:
        statement = (
            "SELECT (SELECT tenant FROM actors WHERE actors.actor_id = connections.actor_id), "
            f"actor_id, {CONNECTION} FROM connections WHERE session IS NOT NULL AND gateway_id <> ? "
            "ORDER BY opened_at, conn_id"
        )
        latest: dict[tuple[str, str, bytes], ConnectionRow] = {}
        for tenant, actor_id, *columns in conn.execute(statement, (gateway_id,)).fetchall():
            row = connection_row(tuple(columns))
            assert row.session is not None
            latest[(tenant, actor_id, row.session)] = replace(row, gateway_id=gateway_id, session_expires_at=expires_at)
        conn.executemany(
            "UPDATE connections SET gateway_id = ?, session_expires_at = ? WHERE actor_id = ? AND conn_id = ?",
            [(gateway_id, expires_at, actor_id, row.conn_id) for (_, actor_id, _), row in latest.items()],
        )
        return [(tenant, actor_id, row) for (tenant, actor_id, _), row in latest.items()]

    return job


def storing_module(record: ModuleRecord, report: ModuleReport | None) -> Job:
    """Returns whether the row is new. The bytes have to be durable before."""
    params = (
        record.tenant,
        record.digest,
        record.kind,
        record.size,
        dump(record.manifest),
        record.stored_at,
        record.source_url,
        None if report is None else dump(report),
    )

    def job(conn: sqlite3.Connection) -> bool:
        cursor = conn.execute(
            "INSERT INTO modules (tenant, digest, kind, size, manifest, stored_at, source_url, report) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, digest) DO NOTHING",
            params,
        )
        if cursor.rowcount == 1:
            return True
        if params[-1] is not None:
            conn.execute(
                "UPDATE modules SET report = ? WHERE tenant = ? AND digest = ? AND report IS NULL",
                (params[-1], record.tenant, record.digest),
            )
        return False

    return job


def storing_quotas(tenant: str, quotas: dict[str, int], now: int) -> Job:
    text = dump(quotas)

    def job(conn: sqlite3.Connection) -> None:
        conn.execute(
            "INSERT INTO tenants (tenant, quotas, changed_at) VALUES (?, ?, ?) ON CONFLICT (tenant) "
            "DO UPDATE SET quotas = excluded.quotas, changed_at = excluded.changed_at",
            (tenant, text, now),
        )

    return job


def defining(
    tenant: str,
    name: str,
    module: str,
    options: DefinitionOptions,
    limits: dict[str, int],
    now: int,
    percent: int = 100,
) -> Job:
    """Returns the new version."""
    texts = (dump(options), dump(limits))

    def job(conn: sqlite3.Connection) -> Definition:
        row = conn.execute("SELECT version FROM definitions WHERE tenant = ? AND name = ?", (tenant, name)).fetchone()
        version = 1 if row is None else row[0] + 1
        made = Definition(tenant, name, version, module, now, options, dict(limits), percent=percent)
        conn.execute(
            "INSERT INTO definition_versions (tenant, name, version, module, created_at, options, limits, percent) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (tenant, name, made.version, module, now, *texts, percent),
        )
        conn.execute(
            "INSERT INTO definitions (tenant, name, version) VALUES (?, ?, ?) "
            "ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version",
            (tenant, name, made.version),
        )
        return made

    return job
