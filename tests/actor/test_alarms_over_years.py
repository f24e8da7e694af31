"""Alarms that are years away, hundreds of them, and clocks that jump: none early, none twice, none lost."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from host.storage.memory import MemoryDriver
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

SECOND, DAY = 1_000, 86_400_000
YEAR = 365 * DAY

GUEST = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
export default actor({
  state: { fired: [], wakes: 0 },
  onWake(c) { c.state.wakes += 1; },
  async onAlarm(c, alarm) {
    c.state.fired.push([alarm.id, Date.now(), alarm.attempt, alarm.payload]);
    const how = alarm.payload ?? {};
    if (how.wait) await later(how.wait);
    if (how.cancel) await c.alarms.cancel(alarm.id);
    if (how.again) await c.alarms.set(alarm.id, { after: how.again, payload: "again" });
    if (how.throws) throw new Error("on purpose");
  },
  actions: {
    async set(c, id, at, payload) { await c.alarms.set(id, { at, payload: payload ?? null }); },
    async many(c, list) { for (const [id, at] of list) await c.alarms.set(id, { at, payload: null }); },
    async cancel(c, id) { return await c.alarms.cancel(id); },
    crash(c) { for (let i = 0; i < 3000; i++) c.kv.get("x").catch(() => {}); },
  },
});
"""


async def made(h: Harness) -> str:
    return await h.new(GUEST, limits={"host_calls": 2_000})


async def fired(h: Harness, actor: str) -> list[list[Any]]:
    """[id, when, attempt, payload] of every delivery that is committed."""
    found: list[list[Any]] = (await h.document(actor))["fired"]
    return found


async def to(h: Harness, at: int) -> None:
    """Jumps to a time on the wall."""
    h.clock.jump((at - h.clock.now_ms()) / 1_000)
    await h.advance(0)


async def test_one_that_is_three_years_away_fires_at_its_millisecond(h: Harness) -> None:
    actor = await made(h)
    due = h.clock.now_ms() + 3 * YEAR
    await h.call(actor, "set", "x", due)
    await h.asleep(actor)
    for year in (1, 2):
        await to(h, due - (3 - year) * YEAR)
        assert h.state(actor) == "absent"
    await to(h, due - 90 * SECOND)
    await h.advance(89.999)
    assert (await fired(h, actor), h.state(actor)) == ([], "absent")
    await h.advance(0.001)
    assert await fired(h, actor) == [["x", due, 1, None]]
    assert (await h.record(actor)).wake_at is None
    await h.advance(120)
    await to(h, due + YEAR)
    assert len(await fired(h, actor)) == 1


async def test_a_thousand_alarms_over_three_years_fire_once_each_and_none_early(h: Harness) -> None:
    own = random.Random(3)
    actor = await made(h)
    now = h.clock.now_ms()
    times = sorted(own.sample(range(now + DAY, now + 3 * YEAR, DAY), 50))
    wanted = {f"a{number}": own.choice(times) for number in range(1_000)}
    await h.call(actor, "many", list(wanted.items()))
    for time in times:
        due = [name for name, at in wanted.items() if at <= time]
        before = len([name for name, at in wanted.items() if at < time])
        await to(h, time - SECOND)
        assert len(await fired(h, actor)) == before
        await h.advance(1)
        assert len(await fired(h, actor)) == len(due)
    deliveries = await fired(h, actor)
    assert sorted(one[0] for one in deliveries) == sorted(wanted)
    assert all(when == wanted[name] for name, when, _, _ in deliveries)
    assert [when for _, when, _, _ in deliveries] == sorted(wanted.values())
    assert (await h.image(actor)).alarms == ()
    assert (await h.document(actor))["wakes"] == len(times) + 1


async def test_what_came_due_while_no_host_ran_fires_once_when_one_does(shelf: CodeShelf) -> None:
    driver: Any = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        actors = [await made(h)]
        actors += [await h.actor(key=f"k{number}") for number in range(4)]
        now = h.clock.now_ms()
        for actor in actors:
            for days in (1, 2, 800):
                await h.call(actor, "set", f"d{days}", now + days * DAY)
    async with open_harness(shelf, driver) as h:
        h.clock.jump(YEAR / 1_000)
        await h.advance(1)
        for actor in actors:
            assert [(name, attempt) for name, _, attempt, _ in await fired(h, actor)] == [("d1", 1), ("d2", 1)]
            assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["d800"]
    async with open_harness(shelf, driver) as h:
        h.clock.jump((800 * DAY - 1) / 1_000)
        await h.advance(0)
        assert {h.state(actor) for actor in actors} == {"absent"}
        await h.advance(0.001)
        for actor in actors:
            assert [one[0] for one in await fired(h, actor)] == ["d1", "d2", "d800"]


@pytest.mark.parametrize("asleep", [True, False])
async def test_a_clock_that_is_set_back_makes_none_early_and_none_twice(h: Harness, asleep: bool) -> None:
    actor = await made(h)
    due = h.clock.now_ms() + 20 * SECOND
    await h.call(actor, "set", "x", due)
    if asleep:
        await h.asleep(actor)
    await h.advance(10)
    h.clock.set_wall(-3_600 * SECOND)
    await h.advance(3_609)
    assert await fired(h, actor) == []
    await h.advance(32)
    ((name, when, attempt, _),) = await fired(h, actor)
    assert (name, attempt) == ("x", 1)
    assert due <= when <= due + 31 * SECOND
    h.clock.set_wall(-3_600 * SECOND)
    await h.advance(7_300)
    assert len(await fired(h, actor)) == 1


async def test_a_clock_that_is_set_forward_makes_what_it_passes_fire_soon_and_once(h: Harness) -> None:
    actor = await made(h)
    due = h.clock.now_ms() + YEAR
    await h.call(actor, "set", "x", due)
    await h.call(actor, "set", "later", due + YEAR)
    await h.asleep(actor)
    await h.advance(5)
    h.clock.set_wall(YEAR + DAY)
    await h.advance(31)
    assert [one[0] for one in await fired(h, actor)] == ["x"]
    h.clock.set_wall(-YEAR)
    await h.advance(120)
    assert [one[0] for one in await fired(h, actor)] == ["x"]


@pytest.mark.parametrize("after", [10, 29, 31, 59, 61, 119, 3_601])
async def test_one_on_either_side_of_what_the_alarm_clock_looks_ahead_fires_at_its_time(h: Harness, after: int) -> None:
    actor = await made(h)
    await h.advance(7)
    due = h.clock.now_ms() + after * SECOND
    await h.call(actor, "set", "x", due)
    await h.asleep(actor)
    await h.advance(after - 0.001)
    assert await fired(h, actor) == []
    await h.advance(0.001)
    assert [one[:2] for one in await fired(h, actor)] == [["x", due]]


# --- what a handler does to its own alarm -----------------------------------------------------------------------------


async def test_one_that_is_set_again_while_its_handler_runs_is_kept_and_fires_at_its_new_time(h: Harness) -> None:
    actor = await made(h)
    now = h.clock.now_ms()
    await h.call(actor, "set", "x", now + 1_000, {"wait": 5_000})
    await h.advance(2)
    await h.call(actor, "set", "x", now + 20_000, "new")
    await h.advance(10)
    assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["x"]
    assert len(await fired(h, actor)) == 1
    await h.advance(10)
    assert [one[1:] for one in await fired(h, actor)][1:] == [[now + 20_000, 1, "new"]]
    assert (await h.image(actor)).alarms == ()


async def test_the_new_setting_is_the_one_that_counts_if_the_isolate_goes_meanwhile(h: Harness) -> None:
    actor = await made(h)
    now = h.clock.now_ms()
    await h.call(actor, "set", "x", now + 1_000, {"wait": 30_000})
    await h.advance(2)
    await h.call(actor, "set", "x", now + 20_000, "new")
    assert (await h.error(actor, "crash")).name == "guest/budget"
    await h.advance(60)
    assert [(attempt, payload) for _, _, attempt, payload in await fired(h, actor)] == [
        (1, {"wait": 30_000}),
        (1, "new"),
    ]


async def test_one_that_is_cancelled_while_its_handler_runs_is_gone_even_if_that_fails(h: Harness) -> None:
    actor = await made(h)
    now = h.clock.now_ms()
    await h.call(actor, "set", "x", now + 1_000, {"wait": 5_000, "throws": True})
    await h.advance(2)
    assert await h.call(actor, "cancel", "x") is True
    await h.advance(60)
    assert len(await fired(h, actor)) == 1
    assert (await h.image(actor)).alarms == ()
    assert await h.letters(actor) == []


@pytest.mark.parametrize("throws", [False, True])
async def test_one_that_its_own_handler_cancels_is_gone(h: Harness, throws: bool) -> None:
    actor = await made(h)
    await h.call(actor, "set", "x", h.clock.now_ms() + 1_000, {"cancel": True, "throws": throws})
    await h.advance(300)
    assert [one[2] for one in await fired(h, actor)] == [1]
    assert (await h.image(actor)).alarms == ()
    assert (await h.record(actor)).wake_at is None


async def test_one_that_its_own_handler_sets_again_before_it_throws_is_the_new_one(h: Harness) -> None:
    actor = await made(h)
    now = h.clock.now_ms()
    await h.call(actor, "set", "x", now + 1_000, {"again": 50_000, "throws": True})
    await h.advance(49)
    assert len(await fired(h, actor)) == 1
    await h.advance(3)
    assert [one[1:] for one in await fired(h, actor)][1:] == [[now + 51_000, 1, "again"]]


async def test_a_destroyed_actors_alarm_never_fires(h: Harness) -> None:
    actor = await made(h)
    await h.call(actor, "set", "x", h.clock.now_ms() + 45_000)
    await h.asleep(actor)
    await h.destroy(actor)
    starts = h.storage.hydrations
    with anyio.fail_after(10):
        await h.advance(120)
    assert h.storage.hydrations == starts
