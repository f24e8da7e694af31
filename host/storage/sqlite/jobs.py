"""Writes that are not commit units, as jobs: each runs inside a group's transaction on the writer's thread."""

from __future__ import annotations

import sqlite3

from msgspec.structs import replace

from host.model.definitions import Definition, DefinitionOptions, ModuleRecord
from host.model.records import ActorRecord, ConnectionRow
from host.storage.creation import new_record
from host.storage.driver import CreateActor
from host.storage.sqlite.group import Job
from host.storage.sqlite.rows import ACTOR, CONNECTION, actor_record, connection_row, dump, key_text
from host.storage.values import pack

__all__ = ["adopting", "creating", "defining", "destroying", "storing_module"]

_TABLES_OF_AN_ACTOR = ("state", "kv", "alarms", "connections", "outbox", "events", "dead_letters")


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


def destroying(actor_id: str) -> Job:
    """Returns whether there was such an actor."""

    def job(conn: sqlite3.Connection) -> bool:
        row = conn.execute("SELECT tenant, name, key FROM actors WHERE actor_id = ?", (actor_id,)).fetchone()
        if row is None:
            return False
        conn.execute(
            "UPDATE keys SET actor_id = NULL WHERE tenant = ? AND name = ? AND key = ? AND actor_id = ?",
            (*row, actor_id),
        )
        # The actor's row first: the triggers that keep its KV sizes then find nothing to write.
        for table in ("actors", *_TABLES_OF_AN_ACTOR):
            conn.execute(f"DELETE FROM {table} WHERE actor_id = ?", (actor_id,))
        return True

    return job


def adopting(gateway_id: str, expires_at: int) -> Job:
    """Returns the sessions taken over, as (actor_id, row)."""

    def job(conn: sqlite3.Connection) -> list[tuple[str, ConnectionRow]]:
        statement = (
            f"SELECT actor_id, {CONNECTION} FROM connections WHERE session IS NOT NULL AND gateway_id <> ? "
            "ORDER BY opened_at, conn_id"
        )
        latest: dict[tuple[str, bytes], ConnectionRow] = {}
        for actor_id, *columns in conn.execute(statement, (gateway_id,)).fetchall():
            row = connection_row(tuple(columns))
            assert row.session is not None
            latest[(actor_id, row.session)] = replace(row, gateway_id=gateway_id, session_expires_at=expires_at)
        conn.executemany(
            "UPDATE connections SET gateway_id = ?, session_expires_at = ? WHERE actor_id = ? AND conn_id = ?",
            [(gateway_id, expires_at, actor_id, row.conn_id) for (actor_id, _), row in latest.items()],
        )
        return [(actor_id, row) for (actor_id, _), row in latest.items()]

    return job


def storing_module(record: ModuleRecord) -> Job:
    """Returns whether the row is new. The bytes have to be durable before."""
    params = (
        record.tenant,
        record.digest,
        record.kind,
        record.size,
        dump(record.manifest),
        record.stored_at,
        record.source_url,
    )

    def job(conn: sqlite3.Connection) -> bool:
        cursor = conn.execute(
            "INSERT INTO modules (tenant, digest, kind, size, manifest, stored_at, source_url) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, digest) DO NOTHING",
            params,
        )
        return cursor.rowcount == 1

    return job


def defining(tenant: str, name: str, module: str, options: DefinitionOptions, limits: dict[str, int], now: int) -> Job:
    """Returns the new version."""
    texts = (dump(options), dump(limits))

    def job(conn: sqlite3.Connection) -> Definition:
        row = conn.execute("SELECT version FROM definitions WHERE tenant = ? AND name = ?", (tenant, name)).fetchone()
        made = Definition(tenant, name, 1 if row is None else row[0] + 1, module, now, options, dict(limits))
        conn.execute(
            "INSERT INTO definition_versions (tenant, name, version, module, created_at, options, limits) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tenant, name, made.version, module, now, *texts),
        )
        conn.execute(
            "INSERT INTO definitions (tenant, name, version) VALUES (?, ?, ?) "
            "ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version",
            (tenant, name, made.version),
        )
        return made

    return job
