"""Asynchronous reads, as functions that run on a reader's thread in one trip each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from host.model.definitions import Definition, ModuleRecord
from host.model.effects import OutboxFrame
from host.model.records import ActorImage, ActorRecord, DeadLetter
from host.model.report import ModuleReport
from host.storage.cursor import encode_cursor
from host.storage.driver import ActorPage, Outbox
from host.storage.sqlite.rows import (
    ACTOR,
    ACTOR_WITHOUT_INPUT,
    ALARM,
    ATTEMPT,
    CONNECTION,
    CRON_RUN,
    DEAD_LETTER,
    DEFINITION,
    MODULE,
    Row,
    actor_record,
    alarm_row,
    attempt_row,
    connection_row,
    cron_run,
    dead_letter,
    definition,
    key_text,
    module_record,
    module_report,
    quotas,
)
from host.storage.values import unpack

__all__ = [
    "LIVE",
    "Query",
    "actor_by_id",
    "actor_by_key",
    "actor_page",
    "dead_letters_of",
    "definition_named",
    "definitions_of",
    "due",
    "hydration",
    "kv_size_of",
    "module_named",
    "modules_of",
    "modules_size_of",
    "names_of",
    "outbox_of",
    "quotas_of",
    "report_of",
    "session_known",
    "strays_of",
]

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], T]

# Not being destroyed: of those nobody hears any more.
LIVE = "lifecycle <> 'destroying'"

_JOINED = f"SELECT {DEFINITION} FROM definitions d JOIN definition_versions v USING (tenant, name)"


def _all(conn: sqlite3.Connection, statement: str, *params: Any) -> list[Row]:
    return conn.execute(statement, params).fetchall()


def _first(conn: sqlite3.Connection, statement: str, *params: Any) -> Row | None:
    row: Row | None = conn.execute(statement, params).fetchone()
    return row


def actor_by_key(tenant: str, name: str, key: tuple[str, ...]) -> Query[ActorRecord | None]:
    text = key_text(key)
    columns = ", ".join(f"a.{column}" for column in ACTOR.split(", "))

    def query(conn: sqlite3.Connection) -> ActorRecord | None:
        row = _first(
            conn,
            f"SELECT {columns} FROM keys k JOIN actors a ON a.actor_id = k.actor_id "
            "WHERE k.tenant = ? AND k.name = ? AND k.key = ?",
            tenant,
            name,
            text,
        )
        return None if row is None else actor_record(row)

    return query


def actor_by_id(actor_id: str, destroying: bool = False) -> Query[ActorRecord | None]:
    statement = f"SELECT {ACTOR} FROM actors WHERE actor_id = ?" + ("" if destroying else f" AND {LIVE}")

    def query(conn: sqlite3.Connection) -> ActorRecord | None:
        row = _first(conn, statement, actor_id)
        return None if row is None else actor_record(row)

    return query


def actor_page(tenant: str, name: str | None, limit: int, before: tuple[int, str] | None) -> Query[ActorPage]:
    where, params = ["tenant = ?", LIVE], [tenant]
    if name is not None:
        where.append("name = ?")
        params.append(name)
    if before is not None:
        where.append("(created_at, actor_id) < (?, ?)")
    statement = (
        f"SELECT {ACTOR_WITHOUT_INPUT} FROM actors WHERE {' AND '.join(where)} "
        "ORDER BY created_at DESC, actor_id DESC LIMIT ?"
    )

    def query(conn: sqlite3.Connection) -> ActorPage:
        rows = _all(conn, statement, *params, *(before or ()), min(limit, 2**31) + 1)
        page = tuple(actor_record(row) for row in rows[:limit])
        return ActorPage(page, encode_cursor(page[-1].created_at, page[-1].actor_id) if len(rows) > limit else None)

    return query


def names_of(tenant: str) -> Query[tuple[str, ...]]:
    # Jumps from name to name in the index: the cost is that of the names, not of the actors.
    statement = (
        f"WITH RECURSIVE names (name) AS (SELECT min(name) FROM actors WHERE tenant = ? AND {LIVE} UNION ALL "
        f"SELECT (SELECT min(name) FROM actors WHERE tenant = ? AND name > names.name AND {LIVE}) FROM names "
        "WHERE names.name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
    )
    return lambda conn: tuple(row[0] for row in _all(conn, statement, tenant, tenant))


def hydration(actor_id: str, destroying: bool = False) -> Query[ActorImage | None]:
    def query(conn: sqlite3.Connection) -> ActorImage | None:
        conn.execute("BEGIN")
        try:
            record = actor_by_id(actor_id, destroying)(conn)
            if record is None:
                return None
            state = _first(conn, "SELECT value FROM state WHERE actor_id = ?", actor_id)
            alarms = f"SELECT {ALARM} FROM alarms WHERE actor_id = ? ORDER BY due_at, alarm_id"
            connections = f"SELECT {CONNECTION} FROM connections WHERE actor_id = ? ORDER BY conn_id"
            attempts = f"SELECT {ATTEMPT} FROM events WHERE actor_id = ? ORDER BY kind, ref, idx"
            runs = f"SELECT {CRON_RUN} FROM cron_runs WHERE actor_id = ? ORDER BY name, seq"
            letters = _first(conn, "SELECT count(*) FROM dead_letters WHERE actor_id = ?", actor_id)
            return ActorImage(
                record=record,
                state=None if state is None else unpack(state[0]),
                alarms=tuple(map(alarm_row, _all(conn, alarms, actor_id))),
                connections=tuple(map(connection_row, _all(conn, connections, actor_id))),
                attempts=tuple(map(attempt_row, _all(conn, attempts, actor_id))),
                letters=0 if letters is None else letters[0],
                runs=tuple(map(cron_run, _all(conn, runs, actor_id))),
            )
        finally:
            conn.execute("ROLLBACK")

    return query


def due(before: int, limit: int, after: tuple[int, str] | None) -> Query[list[tuple[int, str]]]:
    statement = (
        "SELECT wake_at, actor_id FROM actors WHERE wake_at < ? AND wake_at >= ? AND (wake_at, actor_id) > (?, ?) "
        "ORDER BY wake_at, actor_id LIMIT ?"
    )
    at, actor_id = after if after is not None else (-(2**63), "")
    return lambda conn: [(row[0], row[1]) for row in _all(conn, statement, before, at, at, actor_id, max(0, limit))]


def strays_of(gateway_id: str, limit: int) -> Query[list[str]]:
    statement = (
        "SELECT DISTINCT actor_id FROM (SELECT actor_id FROM connections WHERE gateway_id < ? UNION ALL "
        "SELECT actor_id FROM connections WHERE gateway_id > ?) LIMIT ?"
    )
    return lambda conn: [row[0] for row in _all(conn, statement, gateway_id, gateway_id, max(0, limit))]


def session_known(actor_id: str, session: bytes) -> Query[bool]:
    statement = (
        "SELECT EXISTS (SELECT 1 FROM connections WHERE actor_id = ?1 AND session = ?2) "
        "OR EXISTS (SELECT 1 FROM ended_sessions WHERE actor_id = ?1 AND session = ?2)"
    )
    return lambda conn: bool(conn.execute(statement, (actor_id, session)).fetchone()[0])


def outbox_of(actor_id: str, conn_id: str, after: int) -> Query[Outbox | None]:
    def query(conn: sqlite3.Connection) -> Outbox | None:
        conn.execute("BEGIN")
        try:
            sent = _first(
                conn, "SELECT sent_index FROM connections WHERE actor_id = ? AND conn_id = ?", actor_id, conn_id
            )
            if sent is None:
                return None
            statement = (
                "SELECT conn_id, idx, start, size, frame FROM outbox "
                "WHERE actor_id = ? AND conn_id = ? AND idx > ? ORDER BY idx"
            )
            rows = _all(conn, statement, actor_id, conn_id, after)
            return Outbox(sent[0], tuple(OutboxFrame(*row) for row in rows))
        finally:
            conn.execute("ROLLBACK")

    return query


def dead_letters_of(actor_id: str) -> Query[list[DeadLetter]]:
    statement = f"SELECT {DEAD_LETTER} FROM dead_letters WHERE actor_id = ? ORDER BY seq"
    return lambda conn: [dead_letter(row) for row in _all(conn, statement, actor_id)]


def kv_size_of(actor_id: str) -> Query[tuple[int, int]]:
    def query(conn: sqlite3.Connection) -> tuple[int, int]:
        row = _first(conn, "SELECT kv_keys, kv_bytes FROM actors WHERE actor_id = ?", actor_id)
        return (0, 0) if row is None else (row[0], row[1])

    return query


def module_named(tenant: str, digest: str) -> Query[ModuleRecord | None]:
    def query(conn: sqlite3.Connection) -> ModuleRecord | None:
        row = _first(conn, f"SELECT {MODULE} FROM modules WHERE tenant = ? AND digest = ?", tenant, digest)
        return None if row is None else module_record(row)

    return query


def report_of(tenant: str, digest: str) -> Query[ModuleReport | None]:
    def query(conn: sqlite3.Connection) -> ModuleReport | None:
        row = _first(conn, "SELECT report FROM modules WHERE tenant = ? AND digest = ?", tenant, digest)
        return None if row is None or row[0] is None else module_report(row[0])

    return query


def modules_of(tenant: str) -> Query[list[ModuleRecord]]:
    statement = f"SELECT {MODULE} FROM modules WHERE tenant = ? ORDER BY stored_at, digest"
    return lambda conn: [module_record(row) for row in _all(conn, statement, tenant)]


def modules_size_of(tenant: str) -> Query[tuple[int, int]]:
    def query(conn: sqlite3.Connection) -> tuple[int, int]:
        row = _first(conn, "SELECT count(*), coalesce(sum(size), 0) FROM modules WHERE tenant = ?", tenant)
        return (0, 0) if row is None else (row[0], row[1])

    return query


def quotas_of(tenant: str) -> Query[dict[str, int]]:
    def query(conn: sqlite3.Connection) -> dict[str, int]:
        row = _first(conn, "SELECT quotas FROM tenants WHERE tenant = ?", tenant)
        return {} if row is None else quotas(row[0])

    return query


def definition_named(tenant: str, name: str, version: int | None) -> Query[Definition | None]:
    def query(conn: sqlite3.Connection) -> Definition | None:
        if version is None:
            row = _first(conn, f"{_JOINED} WHERE d.tenant = ? AND d.name = ? AND v.version = d.version", tenant, name)
        else:
            row = _first(conn, f"{_JOINED} WHERE d.tenant = ? AND d.name = ? AND v.version = ?", tenant, name, version)
        return None if row is None else definition(row)

    return query


def definitions_of(tenant: str) -> Query[list[Definition]]:
    statement = f"{_JOINED} WHERE d.tenant = ? AND v.version = d.version ORDER BY d.name"
    return lambda conn: [definition(row) for row in _all(conn, statement, tenant)]
