"""What every driver does, whatever it is made of: actors, fences, units, and what a start reads back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from host.model.effects import IndexUpdate, KvDelete, KvDeleteRange, KvPut
from host.model.errors import CallerError, InternalError
from host.model.records import AttemptRow, Repeat
from host.storage.driver import Driver, Fenced
from tests.storage.samples import (
    FAILED,
    MODULE,
    alarm,
    change,
    connection,
    create,
    ident,
    index,
    letter,
    run,
    unit,
    wanted,
)

pytestmark = pytest.mark.anyio


async def image_of(driver: Driver, actor_id: str) -> Any:
    image = await driver.hydrate(actor_id)
    assert image is not None
    return image


# actors --------------------------------------------------------------------------------------------------------------


async def test_a_new_actor_is_as_it_was_asked_for(driver: Driver) -> None:
    record, created = await driver.get_or_create(wanted(1, ("a", "ü/☃"), input=b'{"x":1}'))
    assert created
    assert (record.generation, record.epoch, record.hop_seq, record.lifecycle) == (1, 0, 0, "created")
    assert (record.key, record.module, record.created_at, record.input) == (("a", "ü/☃"), MODULE, 1_001, b'{"x":1}')
    assert await driver.find("default", "room", ("a", "ü/☃")) == record
    assert await driver.get_actor(ident(1)) == record
    assert (await image_of(driver, ident(1))).record == record


async def test_the_same_key_gives_the_same_actor_and_ignores_the_new_id(driver: Driver) -> None:
    first, _ = await driver.get_or_create(wanted(1))
    again, created = await driver.get_or_create(wanted(2))
    assert (again, created) == (first, False)
    assert await driver.get_actor(ident(2)) is None


async def test_keys_are_told_apart_by_their_parts_names_and_tenants(driver: Driver) -> None:
    places: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("a", "b"), {}),
        (("a,b",), {}),
        (("ab",), {}),
        ((), {}),
        (("",), {}),
        (('a","b',), {}),
        (("a", "b"), {"name": "other"}),
        (("a", "b"), {"tenant": "other"}),
    ]
    for number, (key, more) in enumerate(places):
        _, created = await driver.get_or_create(wanted(number, key, **more))
        assert created


async def test_creators_of_one_key_serialise(driver: Driver) -> None:
    results = await asyncio.gather(*(driver.get_or_create(wanted(number)) for number in range(1, 17)))
    assert sum(created for _, created in results) == 1
    assert len({record.actor_id for record, _ in results}) == 1


async def test_an_id_is_never_given_twice(driver: Driver) -> None:
    await driver.get_or_create(wanted(1, ("a",)))
    with pytest.raises(InternalError):
        await driver.get_or_create(wanted(1, ("b",)))
    assert await driver.find("default", "room", ("b",)) is None


async def test_what_is_not_there_is_none(driver: Driver) -> None:
    assert await driver.find("default", "room", ("k",)) is None
    assert await driver.get_actor(ident(1)) is None
    assert await driver.hydrate(ident(1)) is None
    assert await driver.finish_destroy(ident(1)) is False
    assert await driver.dead_letters(ident(1)) == []
    assert await driver.kv_size(ident(1)) == (0, 0)
    reader = driver.reader(ident(1))
    assert (reader.get_many([b"a"]), reader.range(b"", None, reverse=False, limit=9), reader.kv_bytes()) == ({}, [], 0)


async def test_a_destroyed_actor_leaves_only_its_generation(driver: Driver) -> None:
    actor = (await driver.get_or_create(wanted(1)))[0].actor_id
    await driver.commit(
        unit(
            actor,
            1,
            kv=(KvPut(b"a", b"1"),),
            state=b"{}",
            alarms=(alarm(),),
            wake_at=50,
            connections=(connection(),),
            attempts=(AttemptRow("message", ident(801), 1, 2, 1),),
            dead_letters=(letter(1),),
        )
    )
    assert await driver.finish_destroy(actor) is True
    assert await driver.finish_destroy(actor) is False
    assert await driver.get_actor(actor) is None
    assert await driver.hydrate(actor) is None
    assert await driver.find("default", "room", ("k",)) is None
    assert await driver.due_actors(10_000, 10) == []
    assert await driver.strays("another", 10) == []
    assert await driver.dead_letters(actor) == []
    assert driver.reader(actor).get_many([b"a"]) == {}
    assert await driver.actor_names("default") == ()
    with pytest.raises(Fenced):
        await driver.commit(unit(actor, 2))


async def test_an_actor_created_after_a_destroy_is_the_next_generation_and_empty(driver: Driver) -> None:
    for generation in (1, 2, 3):
        record, created = await driver.get_or_create(wanted(generation))
        assert (created, record.generation, record.actor_id) == (True, generation, ident(generation))
        assert (await image_of(driver, record.actor_id)).state is None
        await driver.commit(unit(record.actor_id, 1, generation=generation, state=b"1", kv=(KvPut(b"a", b"1"),)))
        await driver.finish_destroy(record.actor_id)


async def test_concurrent_destroys_are_one(driver: Driver) -> None:
    actor = await create(driver, 1)
    assert sorted(await asyncio.gather(*(driver.finish_destroy(actor) for _ in range(5)))) == [False] * 4 + [True]


async def filled(driver: Driver) -> str:
    """One with a row of everything."""
    actor = (await driver.get_or_create(wanted(1)))[0].actor_id
    await driver.commit(
        unit(
            actor,
            1,
            kv=(KvPut(b"a", b"1"),),
            state=b"{}",
            alarms=(alarm(),),
            wake_at=50,
            connections=(connection(),),
            dead_letters=(letter(1),),
            actor=change(),
        )
    )
    return actor


async def test_from_the_beginning_of_its_destroy_nobody_finds_an_actor(driver: Driver) -> None:
    actor = await filled(driver)
    before = await driver.get_actor(actor)
    assert await driver.begin_destroy(actor) == before
    assert await driver.find("default", "room", ("k",)) is None
    assert await driver.get_actor(actor) is None
    assert await driver.hydrate(actor) is None
    assert (await driver.list_actors("default")).actors == ()
    assert await driver.actor_names("default") == ()
    assert await driver.count_actors("default", "room", 9) == 0
    assert await driver.due_actors(10_000, 10) == []
    assert await driver.strays("another", 10) == []
    assert list(await driver.destroying(10)) == [actor]
    assert list(await driver.destroying(0)) == []


async def test_what_is_left_of_one_whose_destroy_has_begun_is_for_its_last_start(driver: Driver) -> None:
    actor = await filled(driver)
    await driver.begin_destroy(actor)
    image = await driver.hydrate(actor, destroying=True)
    assert image is not None
    assert (image.record.lifecycle, image.record.wake_at, image.record.started_once) == ("destroying", None, True)
    assert (image.state, len(image.alarms), image.letters, image.connections) == (b"{}", 1, 1, ())
    assert driver.reader(actor).get_many([b"a"]) == {b"a": b"1"}


async def test_nothing_that_an_actor_still_commits_takes_its_destroy_back(driver: Driver) -> None:
    actor = await filled(driver)
    await driver.begin_destroy(actor)
    late = unit(actor, 2, kv=(KvPut(b"b", b"2"),), alarms=(alarm("b", 70),), wake_at=70, actor=change())
    await driver.commit(late)
    image = await driver.hydrate(actor, destroying=True)
    assert image is not None
    assert (image.record.lifecycle, image.record.wake_at) == ("destroying", None)
    assert driver.reader(actor).get_many([b"b"]) == {b"b": b"2"}
    assert await driver.due_actors(10_000, 10) == []
    assert await driver.get_actor(actor) is None


async def test_a_destroy_begins_once_and_ends_once(driver: Driver) -> None:
    actor = await filled(driver)
    begun = await asyncio.gather(*(driver.begin_destroy(actor) for _ in range(5)))
    assert [record is None for record in begun].count(False) == 1
    assert await driver.finish_destroy(actor) is True
    assert await driver.finish_destroy(actor) is False
    assert await driver.begin_destroy(actor) is None
    assert await driver.begin_destroy(ident(99)) is None
    assert list(await driver.destroying(10)) == []
    assert await driver.hydrate(actor, destroying=True) is None
    with pytest.raises(Fenced):
        await driver.commit(unit(actor, 2))


async def test_the_next_of_a_key_lives_while_the_last_one_ends(driver: Driver) -> None:
    actor = await filled(driver)
    await driver.begin_destroy(actor)
    record, created = await driver.get_or_create(wanted(2))
    assert (created, record.generation) == (True, 2)
    await driver.commit(unit(actor, 2, state=b"late"))
    await driver.commit(unit(record.actor_id, 1, generation=2, state=b"new"))
    assert await driver.finish_destroy(actor)
    found = await driver.find("default", "room", ("k",))
    assert found is not None
    assert (found.actor_id, found.generation) == (record.actor_id, 2)
    assert (await image_of(driver, record.actor_id)).state == b"new"


async def test_a_listing_pages_from_the_newest_to_the_oldest(driver: Driver) -> None:
    for number in range(7):
        await create(driver, number, now=100 + number // 2, name="even" if number % 2 == 0 else "odd", input=b"1")
    await create(driver, 50, tenant="other")
    seen: list[str] = []
    cursor = None
    while True:
        page = await driver.list_actors("default", limit=3, cursor=cursor)
        assert all(record.input is None for record in page.actors)
        seen += [record.actor_id for record in page.actors]
        if page.cursor is None:
            break
        cursor = page.cursor
        # Neither a newcomer nor one that goes disturbs the pages that follow.
        await driver.finish_destroy(seen[0])
        await driver.get_or_create(wanted(20 + len(seen), (cursor,), now=10_000))
    assert seen == [ident(number) for number in (6, 5, 4, 3, 2, 1, 0)]
    odd = await driver.list_actors("default", "odd")
    assert [record.actor_id for record in odd.actors] == [ident(5), ident(3), ident(1)]


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "MTIz", "MTAwLjEyMw", "LTEuMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"]
)
async def test_a_cursor_that_no_listing_returned_is_refused(driver: Driver, cursor: str) -> None:
    with pytest.raises(CallerError) as caught:
        await driver.list_actors("default", cursor=cursor)
    assert caught.value.name == "request/invalid"


async def test_a_page_of_nothing_is_refused(driver: Driver) -> None:
    with pytest.raises(CallerError):
        await driver.list_actors("default", limit=0)


async def test_names_are_those_of_live_actors_of_the_tenant_sorted(driver: Driver) -> None:
    for number, name in enumerate(["b", "a", "b", "Z", "ü"]):
        await create(driver, number, name=name)
    await create(driver, 9, name="x", tenant="other")
    gone = await create(driver, 10, name="gone")
    await driver.finish_destroy(gone)
    assert await driver.actor_names("default") == ("Z", "a", "b", "ü")


async def test_a_key_that_is_no_text_is_the_callers_error(driver: Driver) -> None:
    with pytest.raises(CallerError) as caught:
        await driver.get_or_create(wanted(1, ("\ud800",)))
    assert caught.value.name == "actor/invalid_request"


# fences --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"generation": 2}, "another generation"),
        ({"generation": 0}, "an older generation"),
        ({"epoch": 2}, "a newer epoch that did not claim"),
        ({"epoch": 0}, "an older epoch"),
        ({"epoch": 1, "claims": True}, "a claim of the epoch that is stored"),
        ({"epoch": 0, "claims": True}, "a claim of an older epoch"),
        ({"hop_seq": 1}, "a hop that was committed before"),
        ({"hop_seq": 3}, "a hop with a gap before it"),
        ({"hop_seq": 3, "epoch": 5, "claims": True}, "a claim hydrated at another hop"),
        ({"actor_id": ident(99)}, "an actor that does not exist"),
    ],
)
async def test_a_unit_that_does_not_fit_is_fenced_and_leaves_nothing(
    driver: Driver, bad: dict[str, Any], why: str
) -> None:
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, state=b"1"))
    before = await driver.hydrate(actor)
    fields = {"actor_id": actor, "hop_seq": 2, "state": b"2", "kv": (KvPut(b"a", b"1"),), **bad}
    with pytest.raises(Fenced):
        await driver.commit(unit(**fields))
    assert await driver.hydrate(actor) == before, why
    assert await driver.kv_size(actor) == (0, 0)


async def test_a_claim_takes_any_higher_epoch_and_fences_the_former_one(driver: Driver) -> None:
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1))
    await driver.commit(unit(actor, 2, epoch=7, claims=True))
    with pytest.raises(Fenced):
        await driver.commit(unit(actor, 3))
    await driver.commit(unit(actor, 3, epoch=7))
    record = await driver.get_actor(actor)
    assert record is not None
    assert (record.epoch, record.hop_seq) == (7, 3)


async def test_the_first_unit_of_an_actor_has_to_claim(driver: Driver) -> None:
    actor = await create(driver, 1)
    with pytest.raises(Fenced):
        await driver.commit(unit(actor, 1, claims=False))


async def test_units_committed_together_apply_but_for_the_fenced_one(driver: Driver) -> None:
    actors = [await create(driver, number) for number in range(8)]
    units = [unit(actor, 1, state=b"1", epoch=0 if actor == ident(3) else 1) for actor in actors]
    results = await asyncio.gather(*map(driver.commit, units), return_exceptions=True)
    assert [isinstance(result, Fenced) for result in results] == [actor == ident(3) for actor in actors]
    states = [(await image_of(driver, actor)).state for actor in actors]
    assert states == [None if actor == ident(3) else b"1" for actor in actors]


async def test_units_of_one_actor_committed_together_apply_in_order(driver: Driver) -> None:
    actor = await create(driver, 1)
    units = []
    for seq in (1, 2, 3):
        text = b"%d" % seq
        units.append(unit(actor, seq, state=text, kv=(KvPut(text, b"x"), KvPut(b"last", text))))
    await asyncio.gather(*map(driver.commit, units))
    image = await image_of(driver, actor)
    assert (image.record.hop_seq, image.state) == (3, b"3")
    assert driver.reader(actor).range(b"", None, reverse=False, limit=9) == [
        (b"1", b"x"),
        (b"2", b"x"),
        (b"3", b"x"),
        (b"last", b"3"),
    ]


async def test_a_later_unit_of_an_actor_undoes_what_one_committed_together_did(driver: Driver) -> None:
    actor = await create(driver, 1)
    units = [
        unit(
            actor,
            1,
            alarms=(alarm("a"),),
            runs=(run(),),
            connections=(connection(1),),
            attempts=(AttemptRow("closed", "c", 0, 2, 1),),
        ),
        unit(
            actor,
            2,
            alarms_gone=(("a", 1),),
            runs_trimmed=(("x", 2),),
            connections_gone=(ident(801),),
            attempts_gone=(("closed", "c", 0),),
        ),
        unit(actor, 3, connections=(connection(1, msg_index=4),), kv=(KvPut(b"a", b"1"),)),
        unit(actor, 4, indexes=(index(1, 5),), kv=(KvDeleteRange(b"", None),)),
    ]
    await asyncio.gather(*map(driver.commit, units))
    image = await image_of(driver, actor)
    assert (image.alarms, image.runs, image.attempts, image.record.kv_bytes) == ((), (), (), 0)
    assert [row.msg_index for row in image.connections] == [5]


async def test_units_of_one_actor_out_of_order_are_fenced(driver: Driver) -> None:
    actor = await create(driver, 1)
    units = [unit(actor, 2), unit(actor, 1), unit(actor, 3), unit(actor, 2, state=b"2")]
    results = await asyncio.gather(*map(driver.commit, units), return_exceptions=True)
    assert [isinstance(result, Fenced) for result in results] == [True, False, True, False]
    assert (await image_of(driver, actor)).state == b"2"


async def test_commits_and_destroys_started_together_keep_their_order(driver: Driver) -> None:
    actor = await create(driver, 1)
    calls: list[Coroutine[Any, Any, Any]] = [
        driver.commit(unit(actor, 1, state=b"1")),
        driver.finish_destroy(actor),
        driver.commit(unit(actor, 2)),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[:2] == [None, True]
    assert isinstance(results[2], Fenced)


# kv ------------------------------------------------------------------------------------------------------------------


async def test_kv_operations_of_a_unit_apply_in_their_order(driver: Driver) -> None:
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, kv=tuple(KvPut(bytes([byte]), b"old") for byte in range(10))))
    await driver.commit(
        unit(
            actor,
            2,
            kv=(
                KvPut(b"\x02", b"lost"),
                KvDeleteRange(b"\x02", b"\x05"),
                KvPut(b"\x03", b"new"),
                KvDelete(b"\x03"),
                KvPut(b"\x03", b"newer"),
                KvPut(b"\x09", b"lost"),
                KvDeleteRange(b"\x08", None),
                KvDeleteRange(b"\x00", b"\x00"),
                KvDelete(b"nothing"),
                KvDelete(b"\x07"),
            ),
        )
    )
    rows = driver.reader(actor).range(b"", None, reverse=False, limit=99)
    assert rows == [(b"\x00", b"old"), (b"\x01", b"old"), (b"\x03", b"newer"), (b"\x05", b"old"), (b"\x06", b"old")]
    assert await driver.kv_size(actor) == (5, 5 + 4 * 3 + 5)


async def test_kv_ranges_are_in_byte_order_half_open_and_limited(driver: Driver) -> None:
    actor, other = await create(driver, 1), await create(driver, 2)
    keys = [b"", b"\x00", b"\x00\x00", b"a", b"a\x00", b"aa", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
    await driver.commit(unit(actor, 1, kv=tuple(KvPut(key, b"v" + key) for key in reversed(keys))))
    await driver.commit(unit(other, 1, kv=(KvPut(b"a", b"another actor's"),)))
    reader = driver.reader(actor)

    def read(start: bytes, end: bytes | None, *, reverse: bool = False, limit: int = 99) -> list[bytes]:
        rows = reader.range(start, end, reverse=reverse, limit=limit)
        assert all(value == b"v" + key for key, value in rows)
        return [key for key, _ in rows]

    assert read(b"", None) == sorted(keys)
    assert read(b"", None, reverse=True) == sorted(keys, reverse=True)
    assert read(b"a", b"b") == [b"a", b"a\x00", b"aa"]
    assert read(b"a", b"b", reverse=True, limit=2) == [b"aa", b"a\x00"]
    assert read(b"\x7f", None, limit=2) == [b"\x7f", b"\x80"]
    assert read(b"a", b"a") == []
    assert read(b"b", b"a") == []
    assert read(b"", None, limit=0) == []


async def test_get_many_returns_the_keys_that_exist(driver: Driver) -> None:
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, kv=tuple(KvPut(b"k%03d" % n, b"v%d" % n) for n in range(0, 300, 2))))
    reader = driver.reader(actor)
    assert reader.get_many([]) == {}
    for count in (1, 2, 8, 9, 33, 128, 129, 300):
        keys = [b"k%03d" % n for n in range(count)]
        assert reader.get_many(keys) == {b"k%03d" % n: b"v%d" % n for n in range(0, count, 2)}
    assert reader.get_many([b"k001"]) == {}
    assert reader.get_many([b"k000", b"k000"]) == {b"k000": b"v0"}


async def test_kv_sizes_follow_every_kind_of_write(driver: Driver) -> None:
    actor = await create(driver, 1)
    steps: list[tuple[Any, tuple[int, int]]] = [
        (KvPut(b"abc", b""), (1, 3)),
        (KvPut(b"abc", b"12345"), (1, 8)),
        (KvPut(b"abc", b"54321"), (1, 8)),
        (KvPut(b"abc", b"1"), (1, 4)),
        (KvPut(b"\x00", b"\x00\x00"), (2, 7)),
        (KvDelete(b"none"), (2, 7)),
        (KvDelete(b"\x00"), (1, 4)),
        (KvDeleteRange(b"", None), (0, 0)),
    ]
    for number, (op, size) in enumerate(steps, 1):
        await driver.commit(unit(actor, number, kv=(op,)))
        assert await driver.kv_size(actor) == size
        assert driver.reader(actor).kv_bytes() == size[1]
        assert (await image_of(driver, actor)).record.kv_bytes == size[1]


# what a start reads back ---------------------------------------------------------------------------------------------


async def test_state_is_replaced_and_otherwise_left(driver: Driver) -> None:
    actor = await create(driver, 1)
    await driver.commit(unit(actor, 1, state=b'{"n":1}'))
    await driver.commit(unit(actor, 2))
    assert (await image_of(driver, actor)).state == b'{"n":1}'
    await driver.commit(unit(actor, 3, state=b""))
    assert (await image_of(driver, actor)).state == b""


async def test_alarms_come_back_by_due_time_and_are_deleted_by_fire_seq(driver: Driver) -> None:
    actor = await create(driver, 1)
    rows = (
        alarm("late", 90, payload=b'{"x":1}', attempt=2, faults=1, scheduled_at=5),
        alarm("b", 10),
        alarm("a", 10),
        alarm("soon", 1),
    )
    await driver.commit(unit(actor, 1, alarms=rows, wake_at=1))
    assert (await image_of(driver, actor)).alarms == (rows[3], rows[2], rows[1], rows[0])
    again = alarm("soon", 70, fire_seq=2)
    gone = (("soon", 1), ("a", 7), ("b", 1), ("unknown", 1))
    await driver.commit(unit(actor, 2, alarms=(again,), alarms_gone=gone, wake_at=10))
    assert (await image_of(driver, actor)).alarms == (rows[2], again, rows[0])
    # An old setting's deletion does not reach the new one.
    await driver.commit(unit(actor, 3, alarms_gone=(("soon", 1),), wake_at=10))
    assert again in (await image_of(driver, actor)).alarms


async def test_what_makes_an_alarm_a_cron_is_kept_with_it(driver: Driver) -> None:
    actor = await create(driver, 1)
    daily = Repeat("daily", "cron", "go", 5, expression="0 3 * * *", time_zone="Europe/Berlin", last_at=2**53)
    tick = Repeat('tick "é"', "every", "go", 0, interval=9_000, anchor=2**62)
    rows = (alarm("$cron:a", 1, repeat=daily), alarm("$cron:b", 2, repeat=tick), alarm("c", 3))
    await driver.commit(unit(actor, 1, alarms=rows, wake_at=1))
    assert (await image_of(driver, actor)).alarms == rows
    now = alarm("$cron:a", 4, fire_seq=2, repeat=tick), alarm("$cron:b", 5, fire_seq=2)
    await driver.commit(unit(actor, 2, alarms=now, wake_at=3))
    assert (await image_of(driver, actor)).alarms == (rows[2], *now)


async def test_runs_of_crons_come_back_by_name_and_number_and_are_trimmed_before_new_ones_come(driver: Driver) -> None:
    actor, other = await create(driver, 1), await create(driver, 2)
    runs = (
        run("x", 2, result="error", attempt=3, error=FAILED),
        run("x", 1),
        run("y", 1, result="skipped", attempt=0, number=3, until=9),
        run("x", 3),
    )
    await driver.commit(unit(actor, 1, runs=runs))
    await driver.commit(unit(other, 1, runs=(run("x", 9),)))
    assert (await image_of(driver, actor)).runs == (runs[1], runs[0], runs[3], runs[2])
    await driver.commit(unit(actor, 2, runs_trimmed=(("x", 3), ("z", 9)), runs=(run("x", 4),)))
    assert (await image_of(driver, actor)).runs == (runs[3], run("x", 4), runs[2])
    # A cron that is deleted and set again begins to count anew.
    await driver.commit(unit(actor, 3, runs_trimmed=(("x", 2**53 - 1),), runs=(run("x", 1),)))
    assert (await image_of(driver, actor)).runs == (run("x", 1), runs[2])
    assert (await image_of(driver, other)).runs == (run("x", 9),)


async def test_wake_at_is_written_with_alarms_or_a_claim_and_otherwise_left(driver: Driver) -> None:
    actor = await create(driver, 1)

    async def wake_at() -> int | None:
        return (await image_of(driver, actor)).record.wake_at  # type: ignore[no-any-return]

    await driver.commit(unit(actor, 1, wake_at=70))
    assert await wake_at() == 70
    await driver.commit(unit(actor, 2, wake_at=99))
    assert await wake_at() == 70
    await driver.commit(unit(actor, 3, wake_at=50, alarms=(alarm(),)))
    assert await wake_at() == 50
    await driver.commit(unit(actor, 4, wake_at=None))
    assert await wake_at() == 50
    await driver.commit(unit(actor, 5, wake_at=None, alarms_gone=(("a", 1),)))
    assert await wake_at() is None
    await driver.commit(unit(actor, 6, wake_at=30, alarms_gone=(("a", 1),)))
    await driver.commit(unit(actor, 7, wake_at=None, epoch=2, claims=True))
    assert await wake_at() is None


async def test_due_actors_are_those_before_the_time_the_earliest_first(driver: Driver) -> None:
    for number, at in enumerate([50, 10, None, 30, 10, 51]):
        actor = await create(driver, number)
        await driver.commit(unit(actor, 1, wake_at=at))
    assert await driver.due_actors(51, 10) == [(10, ident(1)), (10, ident(4)), (30, ident(3)), (50, ident(0))]
    assert await driver.due_actors(51, 2) == [(10, ident(1)), (10, ident(4))]
    assert await driver.due_actors(10, 10) == []


async def test_connections_come_back_whole_and_their_indexes_move(driver: Driver) -> None:
    actor = await create(driver, 1)
    full = connection(
        2,
        headers=(("user-agent", "x"), ("origin", "y")),
        params=b'{"p":1}',
        state=b"null",
        tags=("a", "ü"),
        subscriptions=("s",),
        protocol="cbor",
        hibernatable=False,
        sent_index=3,
        settled_ahead=(4, 6),
        path="/websocket/a?b=c",
    )
    plain = connection(1)
    await driver.commit(unit(actor, 1, connections=(full, plain)))
    assert (await image_of(driver, actor)).connections == (plain, full)
    await driver.commit(
        unit(actor, 2, indexes=(index(1, 1), index(9, 5), index(1, 3, (5, 2**53 + 1), 20), index(2, 2**62)))
    )
    one, two = (await image_of(driver, actor)).connections
    assert (one.msg_index, one.settled_ahead, one.last_seen_at) == (3, (5, 2**53 + 1), 20)
    assert (two.msg_index, two.settled_ahead, two.headers, two.tags) == (2**62, (), full.headers, full.tags)
    # Within a unit: rows, then indexes, then those that go.
    fresh = connection(3)
    await driver.commit(
        unit(
            actor,
            3,
            connections=(fresh, connection(1, path="/again")),
            indexes=(IndexUpdate(fresh.conn_id, 8, (), 8),),
            connections_gone=(full.conn_id, ident(1234)),
        )
    )
    one, three = (await image_of(driver, actor)).connections
    assert (one.path, one.msg_index, three.msg_index) == ("/again", 0, 8)


async def test_strays_are_actors_with_a_connection_of_another_gateway(driver: Driver) -> None:
    for number, gateways in enumerate([["a"], ["b"], ["a", "b", "c"], ["c", "d"], []]):
        actor = await create(driver, number)
        rows = tuple(connection(place, gateway_id=gateway) for place, gateway in enumerate(gateways))
        await driver.commit(unit(actor, 1, connections=rows))
    assert sorted(await driver.strays("b", 10)) == [ident(0), ident(2), ident(3)]
    assert len(await driver.strays("b", 2)) == 2
    assert sorted(await driver.strays("z", 10)) == [ident(0), ident(1), ident(2), ident(3)]


async def test_attempts_are_kept_by_event_and_go_by_event(driver: Driver) -> None:
    actor = await create(driver, 1)
    rows = (
        AttemptRow("message", "c2", 1, 2, 1),
        AttemptRow("message", "c1", 2**60, 2, 1),
        AttemptRow("closed", "c1", 0, 2, 1),
        AttemptRow("message", "c1", 7, 2, 0),
    )
    await driver.commit(unit(actor, 1, attempts=rows))
    assert (await image_of(driver, actor)).attempts == (rows[2], rows[3], rows[1], rows[0])
    again = AttemptRow("message", "c1", 7, 3, 2)
    await driver.commit(
        unit(actor, 2, attempts=(again,), attempts_gone=(("closed", "c1", 0), ("message", "c2", 1), ("x", "y", 1)))
    )
    assert (await image_of(driver, actor)).attempts == (again, rows[1])


async def test_dead_letters_come_back_the_oldest_first(driver: Driver) -> None:
    actor, other = await create(driver, 1), await create(driver, 2)
    await driver.commit(unit(actor, 1, dead_letters=(letter(9), letter(3))))
    await driver.commit(unit(other, 1, dead_letters=(letter(5),)))
    await driver.commit(unit(actor, 2, dead_letters=(letter(3),)))
    assert await driver.dead_letters(actor) == [letter(9), letter(3), letter(3)]


async def test_the_oldest_dead_letters_go_and_their_number_is_in_the_image(driver: Driver) -> None:
    actor, other = await create(driver, 1), await create(driver, 2)
    await driver.commit(unit(other, 1, dead_letters=(letter(5),)))
    await driver.commit(unit(actor, 1, dead_letters=(letter(1), letter(2), letter(3))))
    assert (await image_of(driver, actor)).letters == 3
    await driver.commit(unit(actor, 2, dead_letters=(letter(4),), dead_letters_dropped=2))
    assert await driver.dead_letters(actor) == [letter(3), letter(4)]
    assert (await image_of(driver, actor)).letters == 2
    await driver.commit(unit(actor, 3, dead_letters=(letter(6),), dead_letters_dropped=3))
    assert await driver.dead_letters(actor) == []
    assert await driver.dead_letters(other) == [letter(5)]


async def test_a_change_of_the_actor_is_written_as_a_whole(driver: Driver) -> None:
    actor = await create(driver, 1, input=b"[1]")
    await driver.commit(
        unit(
            actor,
            1,
            actor=change(lifecycle="failed", attempt=3, retry_at=99, last_error=FAILED, started_once=False),
        )
    )
    record = (await image_of(driver, actor)).record
    assert (record.lifecycle, record.attempt, record.retry_at, record.last_error) == ("failed", 3, 99, FAILED)
    assert (record.input, record.started_once) == (b"[1]", False)
    await driver.commit(unit(actor, 2, actor=change(version=4, module="cd" * 32, slept_at=77, drop_input=True)))
    record = (await image_of(driver, actor)).record
    assert (record.lifecycle, record.attempt, record.retry_at, record.last_error) == ("asleep", 0, None, None)
    assert (record.version, record.module, record.started_at, record.slept_at) == (4, "cd" * 32, 10, 77)
    assert (record.input, record.started_once) == (None, True)
    await driver.commit(unit(actor, 3))
    assert (await image_of(driver, actor)).record.slept_at == 77
