"""Tokens of tenants in SQLite: jobs of the writer, and queries."""

from __future__ import annotations

import sqlite3
from typing import cast

from host.model.identity import Scope, TokenRow
from host.storage.sqlite.group import Job
from host.storage.sqlite.queries import Query

__all__ = ["dropping", "hashed", "of_tenant", "storing"]

_COLUMNS = "token_id, tenant, label, scopes, hash, created_at, expires_at"


def storing(row: TokenRow, allowed: int, now: int) -> Job:
    """Returns whether there was room for it; those that have expired make some."""

    def job(conn: sqlite3.Connection) -> bool:
        conn.execute("DELETE FROM tokens WHERE tenant = ? AND expires_at <= ?", (row.tenant, now))
        (held,) = conn.execute("SELECT count(*) FROM tokens WHERE tenant = ?", (row.tenant,)).fetchone()
        if held >= allowed:
            return False
        conn.execute(
            f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.token_id, row.tenant, row.label, " ".join(row.scopes), row.hash, row.created_at, row.expires_at),
        )
        return True

    return job


def dropping(tenant: str, token_id: str) -> Job:
    """Returns whether the tenant had it."""

    def job(conn: sqlite3.Connection) -> bool:
        cursor = conn.execute("DELETE FROM tokens WHERE tenant = ? AND token_id = ?", (tenant, token_id))
        return cursor.rowcount == 1

    return job


def hashed(digest: bytes) -> Query[TokenRow | None]:
    def query(conn: sqlite3.Connection) -> TokenRow | None:
        found = conn.execute(f"SELECT {_COLUMNS} FROM tokens WHERE hash = ?", (digest,)).fetchone()
        return None if found is None else _row(found)

    return query


def of_tenant(tenant: str, now: int) -> Query[list[TokenRow]]:
    statement = (
        f"SELECT {_COLUMNS} FROM tokens WHERE tenant = ? AND (expires_at IS NULL OR expires_at > ?) "
        "ORDER BY created_at, token_id"
    )
    return lambda conn: [_row(found) for found in conn.execute(statement, (tenant, now))]


def _row(found: tuple[str, str, str, str, bytes, int, int | None]) -> TokenRow:
    token_id, tenant, label, scopes, digest, created_at, expires_at = found
    return TokenRow(
        token_id, tenant, label, cast(tuple[Scope, ...], tuple(scopes.split())), digest, created_at, expires_at
    )
