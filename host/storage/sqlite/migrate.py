"""Numbered migrations, forward only: `migrations/0001_*.sql`, `0002_*.sql`, … each applied in a transaction of its own
together with the number that records it in `meta`.

A database that a newer version wrote is refused before anything in it is touched.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files

from host.model.errors import UnavailableError

__all__ = ["OLDEST_SQLITE", "load_migrations", "migrate", "schema_version"]

OLDEST_SQLITE = (3, 35, 0)
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql\Z")


def load_migrations() -> list[str]:
    """The scripts in order; number 1 is the first. Raises ValueError on a gap or a stray name."""
    found: dict[int, str] = {}
    for entry in (files("host.storage.sqlite") / "migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _NAME.match(entry.name)
        if match is None or int(match[1]) in found:
            raise ValueError(f"{entry.name} is not named like a migration, or its number is taken")
        found[int(match[1])] = entry.read_text(encoding="utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations have gaps: {sorted(found)}")
    return [found[number] for number in sorted(found)]


def schema_version(conn: sqlite3.Connection) -> int:
    """0 for an empty file."""
    if conn.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone() is None:
        return 0
    row = conn.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return 0 if row is None else int(row[0])


def migrate(conn: sqlite3.Connection, scripts: Sequence[str] | None = None) -> int:
    """Brings the schema up to date and returns its number."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise _refused(f"SQLite {sqlite3.sqlite_version} is too old; Python has to be built with {wanted} or newer")
    todo = load_migrations() if scripts is None else list(scripts)
    stored = schema_version(conn)
    if stored > len(todo):
        raise _refused(
            f"the database has schema {stored}, this version knows {len(todo)}; "
            "use the newer version that wrote it (migrations only go forward)"
        )
    for number in range(stored + 1, len(todo) + 1):
        conn.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(todo[number - 1]):
                conn.execute(statement)
            conn.execute(
                "INSERT INTO meta (key, value) VALUES ('schema', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (number,),
            )
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
    return len(todo)


def _statements(script: str) -> Iterator[str]:
    """One at a time: sqlite3's executescript would commit the open transaction first."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise ValueError("a migration ends in the middle of a statement")


def _refused(message: str) -> UnavailableError:
    return UnavailableError("storage", "unavailable", message, retryable=False)
