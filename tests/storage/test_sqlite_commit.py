"""Group commit in SQLite: how many transactions, what a failing disk means, and who sees what when."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from host.model.effects import KvPut
from host.model.errors import InternalError, UnavailableError
from host.storage.driver import CommitUnknown, Fenced
from host.storage.sqlite import SqliteDriver
from host.storage.sqlite import writer as writer_module
from host.storage.sqlite.connect import OneTrip
from host.storage.sqlite.writer import Writer, size_of
from tests.storage.conftest import Probe, sqlite_driver
from tests.storage.samples import alarm, connection, create, ident, index, unit, wanted

pytestmark = pytest.mark.anyio

Probed = tuple[SqliteDriver, Probe]


async def while_held(
    driver: SqliteDriver, probe: Probe, actor: str, hop_seq: int, others: list[Coroutine[Any, Any, Any]]
) -> list[Any]:
    """Holds the writer's thread in the COMMIT of a unit of `actor`, starts the others, lets go; the others' results."""
    probe.release.clear()
    probe.held.clear()
    probe.hold_at = "COMMIT"
    first = asyncio.ensure_future(driver.commit(unit(actor, hop_seq)))
    await asyncio.to_thread(probe.held.wait, 10)
    waiting = [asyncio.ensure_future(other) for other in others]
    await asyncio.to_thread(probe.release.set)
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


def count(probe: Probe, start: str) -> int:
    return sum(statement.startswith(start) for statement in probe.statements)


async def test_units_that_wait_together_are_one_transaction_with_one_read_of_fences(probed: Probed) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(40)]
    probe.statements.clear()
    units = [
        unit(actor, 1, kv=(KvPut(b"a", b"1"),), connections=(connection(),), epoch=0 if actor == ident(7) else 1)
        for actor in actors[1:]
    ]
    units.append(unit(actors[1], 2, kv=(KvPut(b"a", b"2"),)))
    results = await while_held(driver, probe, actors[0], 1, [driver.commit(one) for one in units])
    assert [isinstance(result, Fenced) for result in results] == [one.actor_id == ident(7) for one in units]
    assert (count(probe, "BEGIN IMMEDIATE"), count(probe, "COMMIT")) == (2, 2)
    assert count(probe, "SELECT") == 2
    assert driver.reader(actors[1]).get_many([b"a"]) == {b"a": b"2"}


async def test_a_group_takes_few_statements_whatever_its_size(probed: Probed) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(33)]
    await asyncio.gather(*(driver.commit(unit(actor, 1, connections=(connection(),))) for actor in actors))
    probe.calls.clear()
    units = [unit(actor, 2, kv=(KvPut(b"a", b"1"),), indexes=(index(1, 1),)) for actor in actors[1:]]
    await while_held(driver, probe, actors[0], 2, [driver.commit(one) for one in units])
    second = probe.calls[probe.calls.index("COMMIT") + 1 :]
    assert [statement.split()[0] for statement in second] == ["BEGIN", "SELECT", "INSERT", "WITH", "WITH", "COMMIT"]


async def test_creates_and_destroys_join_the_group(probed: Probed) -> None:
    driver, probe = probed
    first, second = await create(driver, 1), await create(driver, 2)
    probe.statements.clear()
    results = await while_held(
        driver,
        probe,
        first,
        1,
        [driver.finish_destroy(second), driver.commit(unit(first, 2, state=b"2")), driver.commit(unit(second, 1))],
    )
    assert results[:2] == [True, None]
    assert isinstance(results[2], Fenced)
    assert count(probe, "COMMIT") == 2


async def test_a_lone_unit_goes_at_once_in_one_trip(probed: Probed, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, _ = probed
    actor = await create(driver, 1)
    trips: list[Any] = []
    hand_over = OneTrip.hand_over

    def counting(self: OneTrip, function: Any) -> Any:
        trips.append(function)
        return hand_over(self, function)

    monkeypatch.setattr(OneTrip, "hand_over", counting)
    await driver.commit(unit(actor, 1))
    assert len(trips) == 1
    assert "unit" not in repr(trips[0]).lower()


async def test_a_reader_sees_a_unit_only_when_it_is_committed(probed: Probed) -> None:
    driver, probe = probed
    actor = await create(driver, 1)
    probe.hold_at = "COMMIT"
    writing = asyncio.ensure_future(driver.commit(unit(actor, 1, state=b"1", kv=(KvPut(b"a", b"1"),))))
    await asyncio.to_thread(probe.held.wait, 10)
    image = await driver.hydrate(actor)
    assert image is not None
    assert (image.state, image.record.hop_seq) == (None, 0)
    assert driver.reader(actor).get_many([b"a"]) == {}
    assert not writing.done()
    probe.release.set()
    await writing
    assert driver.reader(actor).get_many([b"a"]) == {b"a": b"1"}


async def test_a_unit_whose_caller_went_away_is_committed_all_the_same(probed: Probed) -> None:
    driver, probe = probed
    actor = await create(driver, 1)
    probe.hold_at = "COMMIT"
    writing = asyncio.ensure_future(driver.commit(unit(actor, 1, state=b"1")))
    await asyncio.to_thread(probe.held.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    probe.release.set()
    await driver.commit(unit(actor, 2))
    image = await driver.hydrate(actor)
    assert image is not None
    assert image.state == b"1"


# failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["BEGIN", "SELECT", "INSERT INTO kv", "INSERT INTO alarms", "WITH moved (actor_id, epoch"]
)
@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("database is locked"),
        sqlite3.DatabaseError("database disk image is malformed"),
        MemoryError(),
    ],
)
async def test_a_failure_before_commit_takes_the_whole_group_back(probed: Probed, place: str, error: Exception) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(4)]
    held = await create(driver, 9)
    units = [unit(actor, 1, kv=(KvPut(b"a", b"1"),), alarms=(alarm(),)) for actor in actors]

    async def failing() -> None:
        # Armed while the first group is in COMMIT, so that it hits the second.
        probe.fail(place, error)
        await driver.commit(units[0])

    results = await while_held(driver, probe, held, 1, [failing(), *(driver.commit(one) for one in units[1:])])
    for result in results:
        assert isinstance(result, UnavailableError)
        assert (result.name, result.retryable) == ("storage/unavailable", True)
    for actor in actors:
        image = await driver.hydrate(actor)
        assert image is not None
        assert (image.record.hop_seq, image.alarms) == (0, ())
        assert await driver.kv_size(actor) == (0, 0)
    await asyncio.gather(*map(driver.commit, units))
    assert await driver.kv_size(actors[0]) == (1, 2)


async def test_a_full_disk_is_unavailable_until_there_is_room(probed: Probed) -> None:
    driver, probe = probed
    actor = await create(driver, 1)
    pages = probe.execute("PRAGMA page_count").fetchone()[0]
    probe.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = unit(actor, 1, kv=tuple(KvPut(bytes([byte]), bytes(4096)) for byte in range(20)))
    with pytest.raises(UnavailableError) as caught:
        await driver.commit(big)
    assert caught.value.detail is not None
    assert "full" in caught.value.detail
    assert await driver.kv_size(actor) == (0, 0)
    probe.execute("PRAGMA max_page_count = 1000000")
    await driver.commit(big)
    assert await driver.kv_size(actor) == (20, 20 * 4097)


async def test_another_process_that_writes_for_too_long_is_unavailable(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path, busy_timeout=0.01)
    await driver.open()
    actor = await create(driver, 1)
    other = sqlite3.connect(tmp_path / "dormice.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        await driver.commit(unit(actor, 1))
    with pytest.raises(UnavailableError):
        await driver.get_or_create(wanted(5))
    other.execute("ROLLBACK")
    other.close()
    await driver.commit(unit(actor, 1))
    await driver.close()


async def test_a_unit_that_cannot_be_stored_fails_alone(probed: Probed) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(5)]
    units = [unit(actor, 1, state=b"1") for actor in actors[1:]]
    units[1] = unit(actors[2], 1, state=b"1", wake_at=2**63)
    created = driver.get_or_create(wanted(77, ("x",)))
    results = await while_held(driver, probe, actors[0], 1, [*(driver.commit(one) for one in units), created])
    assert isinstance(results[1], InternalError)
    assert [type(results[place]) for place in (0, 2, 3)] == [type(None)] * 3
    assert results[4][1] is True
    image = await driver.hydrate(actors[2])
    assert image is not None
    assert (image.state, image.record.hop_seq) == (None, 0)


async def test_a_commit_that_fails_is_unknown_to_all_and_the_last(probed: Probed) -> None:
    driver, probe = probed
    actor, other = await create(driver, 1), await create(driver, 2)
    reader = driver.reader(actor)
    reader.kv_bytes()
    probe.hold_at = "BEGIN"
    probe.fail("COMMIT", sqlite3.OperationalError("disk I/O error"))
    calls = [driver.commit(unit(actor, 1)), driver.commit(unit(other, 1)), driver.finish_destroy(other)]
    waiting = [asyncio.ensure_future(call) for call in calls]
    await asyncio.to_thread(probe.held.wait, 10)
    # These are in no group yet, and will never be.
    waiting.append(asyncio.ensure_future(driver.commit(unit(other, 1))))
    waiting.append(asyncio.ensure_future(driver.finish_destroy(actor)))
    await asyncio.sleep(0)
    probe.release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [CommitUnknown] * 5
    assert len({id(result) for result in results}) == 5
    refused: list[Coroutine[Any, Any, Any]] = [
        driver.commit(unit(actor, 1)),
        driver.get_actor(actor),
        driver.get_or_create(wanted(3)),
        driver.module_bytes("0" * 64),
        driver.hydrate(actor),
    ]
    for call in refused:
        with pytest.raises(CommitUnknown):
            await call
    with pytest.raises(CommitUnknown):
        reader.kv_bytes()


async def test_a_disk_that_fails_in_commit_is_unknown_and_the_next_open_recovers(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    await driver.open()
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, state=b"1"))
    log = tmp_path / "dormice.db-wal"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
    try:
        with pytest.raises(CommitUnknown):
            await driver.commit(unit(actor, 2, state=b"2", kv=(KvPut(b"a", bytes(20_000)),)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(CommitUnknown):
        await driver.commit(unit(actor, 2))
    await driver.close()
    again = sqlite_driver(tmp_path)
    await again.open()
    image = await again.hydrate(actor)
    assert image is not None
    assert (image.state, image.record.hop_seq) == (b"1", 1)
    await again.commit(unit(actor, 2))
    await again.close()


async def test_a_rollback_that_fails_is_unknown(probed: Probed) -> None:
    driver, probe = probed
    actor = await create(driver, 1)
    probe.fail("INSERT INTO kv", sqlite3.OperationalError("disk I/O error"))
    probe.fail("ROLLBACK", sqlite3.OperationalError("disk I/O error"))
    with pytest.raises(CommitUnknown):
        await driver.commit(unit(actor, 1, kv=(KvPut(b"a", b"1"),)))


# bounds and the end --------------------------------------------------------------------------------------------------


async def test_groups_are_bounded_in_number_and_bytes(probed: Probed, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(10)]
    monkeypatch.setattr(writer_module, "GROUP_WORKS", 4)
    monkeypatch.setattr(writer_module, "GROUP_BYTES", 10_000)
    probe.statements.clear()
    # Nine wait: four, four and one; of the big ones, one a group, for each alone is over the bound.
    await while_held(driver, probe, actors[0], 1, [driver.commit(unit(actor, 1)) for actor in actors[1:]])
    assert count(probe, "COMMIT") == 1 + 3
    probe.statements.clear()
    big = [driver.commit(unit(actor, 2, state=bytes(20_000))) for actor in actors[1:4]]
    await while_held(driver, probe, actors[0], 2, big)
    assert count(probe, "COMMIT") == 1 + 3


@pytest.mark.parametrize(("bound", "value"), [("QUEUE_WORKS", 3), ("QUEUE_BYTES", 1_000)])
async def test_a_full_queue_refuses_at_once(
    probed: Probed, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    driver, probe = probed
    actors = [await create(driver, number) for number in range(7)]
    monkeypatch.setattr(writer_module, bound, value)
    results = await while_held(driver, probe, actors[0], 1, [driver.commit(unit(actor, 1)) for actor in actors[1:]])
    assert [type(result) for result in results] == [type(None)] * 3 + [UnavailableError] * 3
    assert "are allowed" in results[-1].message
    await driver.commit(unit(actors[6], 1))


async def test_one_unit_over_the_bounds_is_taken_when_nothing_waits(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, _ = probed
    actor = await create(driver, 1)
    monkeypatch.setattr(writer_module, "QUEUE_BYTES", 10)
    await driver.commit(unit(actor, 1, state=bytes(100)))


def test_the_size_of_a_unit_counts_what_is_large() -> None:
    small = size_of(unit(ident(1), 1))
    for more in (
        {"kv": (KvPut(b"k", bytes(5_000)),)},
        {"state": bytes(5_000)},
        {"alarms": (alarm(payload=bytes(5_000)),)},
        {"connections": (connection(state=bytes(5_000)),)},
        {"connections": (connection(params=bytes(5_000)),)},
    ):
        assert size_of(unit(ident(1), 1, **more)) >= small + 5_000


async def test_closing_waits_for_what_is_queued_and_refuses_the_rest(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    await driver.open()
    actors = [await create(driver, number) for number in range(5)]
    reader = driver.reader(actors[0])
    reader.kv_bytes()
    writes = [asyncio.ensure_future(driver.commit(unit(actor, 1, state=b"1"))) for actor in actors]
    await asyncio.sleep(0)
    await driver.close()
    assert [write.done() and write.exception() for write in writes] == [None] * 5
    with pytest.raises(UnavailableError):
        await driver.commit(unit(actors[0], 2))
    with pytest.raises(UnavailableError):
        await driver.get_actor(actors[0])
    with pytest.raises(UnavailableError):
        reader.kv_bytes()
    with pytest.raises(UnavailableError):
        await asyncio.to_thread(reader.kv_bytes)
    assert not (tmp_path / "dormice.db-wal").exists()
    again = sqlite_driver(tmp_path)
    await again.open()
    image = await again.hydrate(actors[4])
    assert image is not None
    assert image.state == b"1"
    await again.close()


async def test_a_driver_that_is_not_open_refuses(tmp_path: Path) -> None:
    driver = sqlite_driver(tmp_path)
    with pytest.raises(UnavailableError):
        await driver.commit(unit(ident(1), 1))
    with pytest.raises(UnavailableError):
        await driver.get_actor(ident(1))
    await driver.close()


async def test_what_the_one_trip_stands_on_is_still_so_in_aiosqlite() -> None:
    connection = OneTrip(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    await connection.start()
    assert isinstance(connection._tx.qsize(), int)
    assert connection._thread.daemon
    assert connection._thread.is_alive()
    assert await connection.trip(lambda conn: conn.execute("SELECT 7").fetchone()) == (7,)
    with pytest.raises(ZeroDivisionError):
        await connection.trip(lambda conn: 1 // 0)
    # The queue is the connection's own: what aiosqlite itself runs keeps its place in it.
    later = connection.hand_over(lambda conn: conn.execute("SELECT count(*) FROM t").fetchone())
    assert not later.done()
    with pytest.raises(sqlite3.OperationalError):
        await later
    await connection.execute("CREATE TABLE t (x)")
    assert await connection.trip(lambda conn: conn.execute("SELECT count(*) FROM t").fetchone()) == (0,)
    writer = Writer(connection)
    await writer.close()
    await connection.close()
    # the thread answers the close as its last act, and ends right after it
    await anyio.to_thread.run_sync(connection._thread.join, 5)
    assert not connection._thread.is_alive()
