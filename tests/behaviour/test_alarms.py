"""Alarms, actions that are run later, and handlers that wait, the same on every kind of actor."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.behaviour.kinds import World, on_every_kind

pytestmark = pytest.mark.anyio


@on_every_kind("alarms")
async def test_an_alarm_fires_at_its_time_and_wakes_the_actor(thing: World) -> None:
    actor = await thing.actor()
    assert await thing.call(actor, "alarm", "tea", 300_000, 0) == thing.clock.now_ms() + 300_000
    assert await thing.call(actor, "pending") == ["tea"]
    await thing.sleep(actor)
    await thing.h.advance(299)
    assert thing.h.state(actor) == "absent"
    await thing.h.advance(1)
    assert thing.notes(actor) == ["create -", "wake", "sleep", "wake", "alarm tea 0 1"]
    assert await thing.call(actor, "pending") == []


@on_every_kind("alarms")
async def test_one_that_is_set_again_replaces_the_former_and_one_that_is_cancelled_never_fires(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "alarm", "a", 1_000, 0)
    await thing.call(actor, "alarm", "a", 5_000, 1)
    await thing.call(actor, "alarm", "b", 2_000, 0)
    assert await thing.call(actor, "pending") == ["b", "a"]
    assert await thing.call(actor, "cancel", "b") is True
    assert await thing.call(actor, "cancel", "b") is False
    await thing.h.advance(4)
    assert thing.notes(actor) == ["create -", "wake"]
    await thing.h.advance(1)
    assert thing.notes(actor)[2:] == ["alarm a 1 1"]


@on_every_kind("alarms")
async def test_one_whose_handler_throws_comes_again_with_its_attempt(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "alarm", "x", 1_000, 3)
    await thing.h.advance(1)
    assert thing.notes(actor)[2:] == ["alarm x 3 1"]
    await thing.h.advance(2)
    await thing.h.advance(4)
    assert thing.notes(actor)[2:] == ["alarm x 3 1", "alarm x 3 2", "alarm x 3 3"]
    assert await thing.call(actor, "pending") == []


@on_every_kind("alarms")
async def test_one_whose_handler_throws_six_times_is_a_dead_letter(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "alarm", "x", 1_000, 99)
    await thing.h.advance(200)
    assert thing.notes(actor).count("alarm x 99 6") == 1
    (letter,) = await thing.h.letters(actor)
    assert (letter.kind, letter.ref, letter.attempts) == ("alarm", "x", 6)


@on_every_kind("schedule")
async def test_a_scheduled_action_runs_at_its_time_also_after_a_sleep(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "plan", 60_000, 5)
    called_off = await thing.call(actor, "plan", 60_000, 100)
    assert await thing.call(actor, "call_off", called_off) is True
    assert await thing.call(actor, "call_off", called_off) is False
    await thing.sleep(actor)
    await thing.h.advance(60)
    assert await thing.h.document(actor) == {"count": 5, "made": None}


@on_every_kind("schedule")
async def test_what_is_scheduled_is_not_among_the_alarms(thing: World) -> None:
    actor = await thing.actor()
    id = await thing.call(actor, "plan", 60_000, 5)
    assert await thing.call(actor, "pending") == []
    assert await thing.call(actor, "call_off", "no such id") is False
    assert await thing.call(actor, "call_off", id) is True


@on_every_kind("crons")
async def test_a_cron_runs_over_sleeps_and_failures_and_tells_of_it(thing: World) -> None:
    actor = await thing.actor()
    began = thing.clock.now_ms()
    await thing.call(actor, "every", "tick", 60_000, 5)
    await thing.call(actor, "every", "weak", 90_000, -1)
    assert await thing.call(actor, "crons") == [
        ["tick", "count", [5], began + 60_000],
        ["weak", "count", [-1], began + 90_000],
    ]
    assert await thing.call(actor, "pending") == []
    await thing.sleep(actor)
    await thing.h.advance(60)
    await thing.sleep(actor)
    await thing.h.advance(30 + 2 + 4)
    assert [one for one in thing.notes(actor) if one.startswith("count")] == [
        f"count 5 every tick {began + 60_000} 1",
        *(f"count -1 every weak {began + 90_000} {attempt}" for attempt in (1, 2, 3)),
    ]
    assert (await thing.h.document(actor))["count"] == 4
    assert await thing.call(actor, "runs", "weak") == [
        ["ok", began + 90_000, 3],
        ["error", began + 90_000, 2],
        ["error", began + 90_000, 1],
    ]
    assert [await thing.call(actor, "drop", "tick") for _ in range(2)] == [True, False]
    assert [row[0] for row in await thing.call(actor, "crons")] == ["weak"]
    assert await thing.call(actor, "runs", "tick") == []


@on_every_kind("crons")
async def test_a_cron_is_by_the_calendar_of_its_zone_and_what_was_missed_is_told(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "daily", "noon", "0 12 * * *", "Asia/Kolkata", 1)
    ((_, _, _, first),) = await thing.call(actor, "crons")
    assert (first // 60_000) % (24 * 60) == 6 * 60 + 30
    await thing.sleep(actor)
    thing.clock.jump((first - thing.clock.now_ms()) / 1_000 + 3 * 86_400)
    await thing.h.advance(0)
    assert await thing.call(actor, "runs", "noon") == [["skipped", first + 86_400_000, 3], ["ok", first, 1]]
    assert [row[3] for row in await thing.call(actor, "crons")] == [first + 4 * 86_400_000]


@on_every_kind("timers")
async def test_a_handler_that_waits_lets_others_in_and_goes_on(thing: World) -> None:
    actor = await thing.actor()
    answers: list[Any] = []

    async def ask(action: str, *args: Any) -> None:
        answers.append(await thing.call(actor, action, *args))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "wait", 2_000, "slow")
        await thing.h.rest()
        tasks.start_soon(ask, "wait", 1_000, "quick")
        await thing.h.rest()
        tasks.start_soon(ask, "add", 7)
        await thing.h.rest()
        assert answers == [7]
        await thing.h.advance(0.999)
        assert answers == [7]
        await thing.h.advance(0.001)
        assert answers == [7, "quick"]
        await thing.h.advance(1)
    assert answers == [7, "quick", "slow"]
    assert thing.notes(actor)[2:] == ["begin slow", "begin quick", "end quick", "end slow"]


@on_every_kind("timers")
async def test_what_waits_when_the_actor_has_to_stop_is_aborted_and_does_not_go_on(thing: World) -> None:
    actor = await thing.actor()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await thing.h.error(actor, "wait", 40_000, "long")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await thing.h.rest()
        tasks.start_soon(thing.h.placement.sleep, actor)
        await thing.h.advance(15)
    assert errors == ["actor/aborted"]
    await thing.h.advance(60)
    assert thing.h.state(actor) == "absent"
    assert thing.notes(actor)[2:] == ["begin long", "sleep"]


@on_every_kind("time-outs")
async def test_a_handler_that_takes_too_long_is_answered_and_the_actor_goes_on(thing: World) -> None:
    actor = await thing.actor()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await thing.h.error(actor, "wait", 90_000, "late")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await thing.h.advance(59.9)
        assert errors == []
        await thing.h.advance(0.1)
    assert errors == ["actor/action_timed_out"]
    assert await thing.call(actor, "add", 1) == 1
    await thing.h.advance(20)
    assert await thing.call(actor, "add", 1) == 2
    await thing.h.advance(10)
    assert thing.notes(actor)[2:] == ["begin late", "end late"]
    assert thing.h.count("guest_faults") == 0


@on_every_kind("time-outs")
async def test_a_handler_that_waits_for_nothing_is_stuck(thing: World) -> None:
    actor = await thing.actor()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await thing.h.error(actor, "never")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await thing.h.advance(60)
    assert errors == ["guest/stuck"]
    assert await thing.call(actor, "add", 1) == 1


@on_every_kind("time")
async def test_time_is_that_of_the_turn(thing: World) -> None:
    actor = await thing.actor()
    began = thing.clock.now_ms()
    assert await thing.call(actor, "time") == began
    await thing.h.advance(1.5)
    assert await thing.call(actor, "time") == began + 1_500
