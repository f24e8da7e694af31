"""The two steps of a destroy: first nobody finds the actor any more, then nothing is left of it but its tombstone.

Between them it may run once more, to hear of its end. Both are jobs in a group like other writes.
"""

from __future__ import annotations

import sqlite3

from host.model.records import ActorRecord
from host.storage.sqlite.group import Job
from host.storage.sqlite.queries import Query
from host.storage.sqlite.rows import ACTOR, actor_record

__all__ = ["TABLES_OF_AN_ACTOR", "beginning", "begun", "finishing"]

# Every table with an `actor_id`, but the actor's own and the keys.
TABLES_OF_AN_ACTOR = (
    "state",
    "kv",
    "alarms",
    "cron_runs",
    "connections",
    "outbox",
    "events",
    "dead_letters",
    "ended_sessions",
    "deploy_failures",
)


def beginning(actor_id: str) -> Job:
    """Returns the actor as it was, or None. Its connections go at once: they are not to be taken up, or swept."""

    def job(conn: sqlite3.Connection) -> ActorRecord | None:
        row = conn.execute(
            f"SELECT {ACTOR} FROM actors WHERE actor_id = ? AND lifecycle <> 'destroying'", (actor_id,)
        ).fetchone()
        if row is None:
            return None
        _bury(conn, actor_id)
        conn.execute("UPDATE actors SET lifecycle = 'destroying', wake_at = NULL WHERE actor_id = ?", (actor_id,))
        for table in ("connections", "outbox"):
            conn.execute(f"DELETE FROM {table} WHERE actor_id = ?", (actor_id,))
        return actor_record(row)

    return job


def finishing(actor_id: str) -> Job:
    """Returns whether there was such an actor."""

    def job(conn: sqlite3.Connection) -> bool:
        _bury(conn, actor_id)
        # The actor's row first: the triggers that keep its KV sizes then find nothing to write.
        if conn.execute("DELETE FROM actors WHERE actor_id = ?", (actor_id,)).rowcount == 0:
            return False
        for table in TABLES_OF_AN_ACTOR:
            conn.execute(f"DELETE FROM {table} WHERE actor_id = ?", (actor_id,))
        return True

    return job


def _bury(conn: sqlite3.Connection, actor_id: str) -> None:
    """The key keeps its generation; it may have another actor by now."""
    row = conn.execute("SELECT tenant, name, key FROM actors WHERE actor_id = ?", (actor_id,)).fetchone()
    if row is not None:
        conn.execute(
            "UPDATE keys SET actor_id = NULL WHERE tenant = ? AND name = ? AND key = ? AND actor_id = ?",
            (*row, actor_id),
        )


def begun(limit: int) -> Query[list[str]]:
    statement = "SELECT actor_id FROM actors WHERE lifecycle = 'destroying' LIMIT ?"
    return lambda conn: [row[0] for row in conn.execute(statement, (max(0, limit),)).fetchall()]
