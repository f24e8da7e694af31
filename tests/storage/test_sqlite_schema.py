"""Opening a database: migrations, what is refused, and what every connection is set to."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from host.model.errors import InternalError, UnavailableError
from host.storage.sqlite import kv, migrate, units
from host.storage.sqlite.connect import open_reader
from host.storage.sqlite.destroys import TABLES_OF_AN_ACTOR
from tests.storage.conftest import Probe, sqlite_driver
from tests.storage.samples import create, ident, unit

TABLES = {
    "meta",
    "keys",
    "actors",
    "state",
    "kv",
    "alarms",
    "connections",
    "cron_runs",
    "events",
    "dead_letters",
    "modules",
    "definitions",
    "definition_versions",
    "outbox",
    "tenants",
    "ended_sessions",
    "deploy_failures",
    "tokens",
}


@pytest.fixture
def conn() -> Any:
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def test_migrations_are_numbered_without_gaps_and_make_every_table(conn: sqlite3.Connection) -> None:
    number = migrate.migrate(conn)
    assert number == len(migrate.load_migrations()) == migrate.schema_version(conn)
    found = {row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert found - {"sqlite_sequence"} == TABLES


def test_a_second_open_migrates_nothing(conn: sqlite3.Connection) -> None:
    migrate.migrate(conn)
    statements: list[str] = []
    conn.set_trace_callback(statements.append)
    migrate.migrate(conn)
    assert all(statement.startswith("SELECT") for statement in statements)


def test_only_the_migrations_that_are_missing_run(conn: sqlite3.Connection) -> None:
    scripts = [*migrate.load_migrations(), "CREATE TABLE extra (a);\n-- the end\n"]
    migrate.migrate(conn, scripts[:-1])
    conn.execute("INSERT INTO meta (key, value) VALUES ('mine', 1)")
    assert migrate.migrate(conn, scripts) == len(scripts)
    assert conn.execute("SELECT value FROM meta WHERE key = 'mine'").fetchone() == (1,)
    assert conn.execute("SELECT count(*) FROM extra").fetchone() == (0,)


@pytest.mark.parametrize("bad", ["CREATE TABLE extra (a);\nCREATE TABLE extra (a);", "CREATE TABLE extra (a"])
def test_a_migration_that_fails_leaves_the_schema_as_it_was(conn: sqlite3.Connection, bad: str) -> None:
    scripts = migrate.load_migrations()
    migrate.migrate(conn, scripts)
    with pytest.raises((sqlite3.OperationalError, ValueError)):
        migrate.migrate(conn, [*scripts, bad])
    assert migrate.schema_version(conn) == len(scripts)
    assert conn.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)


def test_an_old_sqlite_is_refused_with_the_version_it_takes(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "OLDEST_SQLITE", (99, 1, 0))
    with pytest.raises(UnavailableError, match=r"99\.1\.0"):
        migrate.migrate(conn)


@pytest.mark.anyio
async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    await driver.open()
    await driver.close()
    with sqlite3.connect(tmp_path / "dormice.db") as conn:
        conn.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    conn.close()
    before = (tmp_path / "dormice.db").read_bytes()
    with pytest.raises(UnavailableError) as caught:
        await sqlite_driver(tmp_path).open()
    assert "schema 99" in caught.value.message
    assert not caught.value.retryable
    assert (tmp_path / "dormice.db").read_bytes() == before


@pytest.mark.anyio
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dormice.db").write_bytes(b"something else, and long enough to be read as a header" * 100)
    with pytest.raises(UnavailableError, match="cannot be opened"):
        await sqlite_driver(tmp_path).open()


@pytest.mark.anyio
async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    driver._path = tmp_path / "none" / "dormice.db"
    with pytest.raises(UnavailableError, match="cannot be opened"):
        await driver.open()


@pytest.mark.anyio
async def test_the_writer_syncs_commits_and_readers_cannot_write(probed: tuple[Any, Probe], tmp_path: Path) -> None:
    _, probe = probed
    settings = {name: probe.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert settings == {"journal_mode": "wal", "synchronous": 2}
    reader = open_reader(tmp_path / "dormice.db")
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM actors")
    reader.close()


@pytest.mark.anyio
async def test_a_path_with_any_characters_works(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20é"
    folder.mkdir()
    driver = sqlite_driver(folder)
    await driver.open()
    actor = await create(driver, 1)
    assert driver.reader(actor).kv_bytes() == 0
    assert await driver.get_actor(actor) is not None
    await driver.close()


@pytest.mark.anyio
async def test_a_destroy_reaches_every_table_that_names_an_actor(probed: tuple[Any, Probe]) -> None:
    _, probe = probed
    named = {
        table
        for table in TABLES
        if any(column[1] == "actor_id" for column in probe.execute(f"PRAGMA table_info({table})").fetchall())
    }
    assert named == {"keys", "actors", *TABLES_OF_AN_ACTOR}


@pytest.mark.anyio
async def test_each_thread_reads_on_a_connection_of_its_own(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    await driver.open()
    reader = driver.reader(await create(driver, 1))
    threads = [threading.Thread(target=lambda: [reader.kv_bytes() for _ in range(3)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(driver._cold._slots) == 3
    await driver.close()


@pytest.mark.anyio
async def test_a_value_of_an_unknown_format_is_an_internal_error(probed: tuple[Any, Probe]) -> None:
    driver, probe = probed
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, state=b"1"))
    assert probe.execute("SELECT value FROM state").fetchone() == (b"\x011",)
    probe.execute("UPDATE state SET value = x'0231'")
    with pytest.raises(InternalError) as caught:
        await driver.hydrate(actor)
    assert "version 2" in str(caught.value.detail)
    # The reader's transaction is over: it sees what comes next.
    probe.execute("UPDATE state SET value = x'0132'")
    for _ in range(3):
        image = await driver.hydrate(actor)
        assert image is not None
        assert image.state == b"2"


def test_hot_statements_find_their_rows_by_key(conn: sqlite3.Connection) -> None:
    migrate.migrate(conn)
    for bulk, table in ((units._INDEX, "connections"), (units._FENCE, "actors")):
        for _, statement in bulk._statements:
            nothing = (None,) * statement.count("?")
            plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}", nothing)]
            assert any(step.startswith(f"SEARCH {table} USING PRIMARY KEY") for step in plan), plan
    assert all("?" in statement for _, statement in kv._PUT._statements)
    plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {units._FENCE_MANY}", (f'["{ident(1)}"]',))]
    assert plan[0].startswith("SEARCH actors USING PRIMARY KEY")
