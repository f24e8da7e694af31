"""How the deploys of a definition go: reads and writes over its versions and over the starts on them that failed."""

from __future__ import annotations

import sqlite3

from host.model.definitions import Definition, DeployFailure, DeployStatus
from host.storage.driver import KEPT_FAILURES, KEPT_VERSIONS
from host.storage.sqlite.group import Job
from host.storage.sqlite.queries import LIVE, Query
from host.storage.sqlite.rows import DEFINITION, definition

__all__ = ["actors_of", "changing", "failures_of", "noting", "releasing", "versions_of"]

_ONE = f"SELECT {DEFINITION} FROM definition_versions v WHERE v.tenant = ? AND v.name = ? AND v.version = ?"


def versions_of(tenant: str, name: str, also: int | None) -> Query[list[Definition]]:
    latest = (
        f"SELECT {DEFINITION} FROM definition_versions v WHERE v.tenant = ? AND v.name = ? "
        "ORDER BY v.version DESC LIMIT ?"
    )

    def query(conn: sqlite3.Connection) -> list[Definition]:
        found = [definition(row) for row in conn.execute(latest, (tenant, name, KEPT_VERSIONS)).fetchall()]
        if also is not None and found and also < found[-1].version:
            found += [definition(row) for row in conn.execute(_ONE, (tenant, name, also)).fetchall()]
        return found

    return query


def changing(
    tenant: str, name: str, version: int, status: DeployStatus | None, percent: int | None, reason: str | None
) -> Job:
    """Returns the version as it is then, or None."""
    place = (tenant, name, version)

    def job(conn: sqlite3.Connection) -> Definition | None:
        conn.execute(
            "UPDATE definition_versions SET status = coalesce(?, status), percent = coalesce(?, percent), "
            "reason = coalesce(?, reason) WHERE tenant = ? AND name = ? AND version = ?",
            (status, percent, reason, *place),
        )
        row = conn.execute(_ONE, place).fetchone()
        return None if row is None else definition(row)

    return job


def noting(tenant: str, name: str, version: int, actor_id: str, at: int, reason: str) -> Job:
    """Returns the times of the failures of this version, one for each actor."""

    def job(conn: sqlite3.Connection) -> list[int]:
        conn.execute(
            # Nothing is kept of an actor that was destroyed meanwhile.
            "INSERT INTO deploy_failures (tenant, name, version, actor_id, at, reason) SELECT ?1, ?2, ?3, ?4, ?5, ?6 "
            "WHERE EXISTS (SELECT 1 FROM actors WHERE actor_id = ?4) "
            "ON CONFLICT (tenant, name, version, actor_id) DO UPDATE SET at = excluded.at, reason = excluded.reason",
            (tenant, name, version, actor_id, at, reason),
        )
        rows = conn.execute(
            "SELECT at, actor_id FROM deploy_failures WHERE tenant = ? AND name = ? AND version = ? "
            "ORDER BY at, actor_id",
            (tenant, name, version),
        ).fetchall()
        gone = rows[: max(0, len(rows) - KEPT_FAILURES)]
        conn.executemany(
            "DELETE FROM deploy_failures WHERE tenant = ? AND name = ? AND version = ? AND actor_id = ?",
            [(tenant, name, version, row[1]) for row in gone],
        )
        return [row[0] for row in rows[len(gone) :]]

    return job


def failures_of(tenant: str, name: str, limit: int) -> Query[list[DeployFailure]]:
    statement = (
        "SELECT version, actor_id, at, reason FROM deploy_failures WHERE tenant = ? AND name = ? "
        "ORDER BY at DESC, version DESC, actor_id DESC LIMIT ?"
    )
    return lambda conn: [DeployFailure(*row) for row in conn.execute(statement, (tenant, name, max(0, limit)))]


def actors_of(tenant: str, name: str, limit: int) -> Query[int]:
    statement = f"SELECT count(*) FROM (SELECT 1 FROM actors WHERE tenant = ? AND name = ? AND {LIVE} LIMIT ?)"

    def query(conn: sqlite3.Connection) -> int:
        (found,) = conn.execute(statement, (tenant, name, max(0, limit))).fetchone()
        return int(found)

    return query


def releasing(actor_id: str) -> Job:
    """Returns whether the actor was held back."""

    def job(conn: sqlite3.Connection) -> bool:
        cursor = conn.execute(
            "UPDATE actors SET held_version = NULL WHERE actor_id = ? AND held_version IS NOT NULL", (actor_id,)
        )
        return cursor.rowcount == 1

    return job
