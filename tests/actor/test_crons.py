"""Crons: actions that run again and again, in one life and over many, on time and late, whatever becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from host.storage.memory import MemoryDriver
from tests.actor.guests import scripted, settle
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

GUEST = """
import { actor, UserError } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
export default actor({
  state: { ran: [], wakes: 0 },
  async onWake(c) {
    c.state.wakes += 1;
    if (c.state.atWake) await c.cron.every({ name: "wake", interval: 60000, action: "tick", args: ["wake"] });
  },
  actions: {
    async tick(c, how, fire) {
      c.state.ran.push([fire.name, Date.now(), fire.scheduledAt, fire.attempt, fire.kind]);
      if (how.wait) await later(how.wait);
      if (how.waitOnce && c.state.ran.length === 1) await later(how.waitOnce);
      if (how.crash) for (let i = 0; i < 3000; i++) c.kv.get("x").catch(() => {});
      if (how.throws > fire.attempt - 1) throw new UserError("on purpose", { code: "no" });
      if (how.again) await c.cron.every({ name: fire.name, interval: how.again, action: "tick", args: [{}] });
      if (how.stop) return await c.cron.delete(fire.name);
      return "dropped";
    },
    set: (c, options) => c.cron.set(options),
    every: (c, options) => c.cron.every(options),
    list: (c) => c.cron.list(),
    get: async (c, name) => (await c.cron.get(name)) ?? null,
    delete: (c, name) => c.cron.delete(name),
    history: (c, name, limit) => c.cron.history(name, { limit }),
    atWake(c) { c.state.atWake = true; },
    crash(c) { for (let i = 0; i < 3000; i++) c.kv.get("x").catch(() => {}); },
    end(c) { c.destroy(); },
  },
});
"""


async def made(h: Harness) -> str:
    return await h.new(GUEST, limits={"host_calls": 500})


async def ran(h: Harness, actor: str) -> list[list[Any]]:
    """[name, when, scheduled, attempt, kind] of every attempt that is committed."""
    found: list[list[Any]] = (await h.document(actor))["ran"]
    return found


async def history(h: Harness, actor: str, name: str = "x") -> list[dict[str, Any]]:
    """The latest first."""
    found: list[dict[str, Any]] = await h.call(actor, "history", name)
    return found


async def every(h: Harness, actor: str, seconds: float, how: Any = None, **more: Any) -> int:
    """Sets one that is called x; gives back when its cadence begins."""
    options = {"name": "x", "interval": int(seconds * SECOND), "action": "tick", "args": [how or {}], **more}
    await h.call(actor, "every", options)
    return h.clock.now_ms()


async def to(h: Harness, at: int) -> None:
    """Jumps to a time on the wall."""
    h.clock.jump((at - h.clock.now_ms()) / 1_000)
    await h.advance(0)


def local(zone: str, *at: int) -> int:
    return int(datetime(*at, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000  # type: ignore[arg-type, misc]


# --- on time ---------------------------------------------------------------------------------------------------------


async def test_an_interval_runs_at_its_anchor_plus_n_times_the_interval(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60)
    await h.advance(59.999)
    assert await ran(h, actor) == []
    await h.advance(0.001)
    assert await ran(h, actor) == [["x", anchor + MINUTE, anchor + MINUTE, 1, "every"]]
    await h.advance(600)
    assert [one[1] for one in await ran(h, actor)] == [anchor + n * MINUTE for n in range(1, 12)]


async def test_an_expression_wakes_a_sleeping_actor_at_its_time_in_its_zone(h: Harness) -> None:
    actor = await made(h)
    await h.call(
        actor,
        "set",
        {"name": "x", "expression": "30 8 * * MON-FRI", "timezone": "Europe/Berlin", "action": "tick", "args": [{}]},
    )
    job = await h.call(actor, "get", "x")
    due = job["nextRunAt"]
    when = datetime.fromtimestamp(due / 1_000, ZoneInfo("Europe/Berlin"))
    assert (when.hour, when.minute, when.weekday() < 5) == (8, 30, True)
    await h.asleep(actor)
    await to(h, due - SECOND)
    assert (await ran(h, actor), h.state(actor)) == ([], "absent")
    await h.advance(1)
    assert await ran(h, actor) == [["x", due, due, 1, "cron"]]
    assert (await h.document(actor))["wakes"] == 2
    following = (await h.record(actor)).wake_at
    assert following is not None
    assert following > due


async def test_a_run_that_began_late_does_not_move_the_cadence(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60, {"wait": 50_000})
    await h.advance(60 * 4 + 55)
    assert [one[1] - anchor for one in await ran(h, actor)] == [MINUTE, 2 * MINUTE, 3 * MINUTE, 4 * MINUTE]
    newest = (await history(h, actor))[0]
    assert (newest["firedAt"] - anchor, newest["finishedAt"] - newest["firedAt"]) == (4 * MINUTE, 50 * SECOND)


async def test_one_that_is_set_at_every_wake_keeps_its_cadence(h: Harness) -> None:
    actor = await made(h)
    await h.call(actor, "atWake")
    await h.asleep(actor)
    await h.call(actor, "list")
    anchor = h.clock.now_ms()
    for n in range(1, 6):
        await h.advance(31)
        await h.asleep(actor)
        await h.call(actor, "list")
        await h.advance(29)
        assert [one[1] - anchor for one in await ran(h, actor)] == [k * MINUTE for k in range(1, n + 1)]


# --- what is late, or in the way -------------------------------------------------------------------------------------


async def test_times_that_come_while_a_run_is_in_work_are_skipped_and_on_record(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 10, {"waitOnce": 35_000})
    await h.advance(10 + 35 + 5)
    assert [one[1] - anchor for one in await ran(h, actor)] == [10 * SECOND, 50 * SECOND]
    second, skipped, first = await history(h, actor)
    assert (first["result"], first["scheduledAt"] - anchor, first["finishedAt"] - anchor) == ("ok", 10_000, 45_000)
    assert skipped == {
        "action": "tick",
        "scheduledAt": anchor + 20_000,
        "firedAt": anchor + 45_000,
        "finishedAt": anchor + 45_000,
        "result": "skipped",
        "count": 3,
        "until": anchor + 40_000,
    }
    assert (second["result"], second["scheduledAt"] - anchor, second["attempt"]) == ("ok", 50_000, 1)


async def test_d10_what_is_skipped_is_counted_and_logged_without_a_history_too(h: Harness) -> None:
    actor = await made(h)
    await every(h, actor, 10, {"waitOnce": 35_000}, maxHistory=0)
    with capture_logs() as logs:
        await h.advance(10 + 35)
    assert await history(h, actor) == []
    assert h.count("crons_skipped", "passed") == 3
    assert [(line["cron"], line["times"]) for line in logs if line["event"] == "cron skipped"] == [("x", 3)]


async def test_after_a_time_without_a_host_it_runs_once_and_tells_what_it_missed(shelf: CodeShelf) -> None:
    driver: Any = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        actor = await made(h)
        anchor = await every(h, actor, 60)
        await h.call(actor, "set", {"name": "c", "expression": "0 * * * *", "action": "tick", "args": [{}]})
        first_hour = (await h.call(actor, "get", "c"))["nextRunAt"]
    async with open_harness(shelf, driver) as h:
        await to(h, anchor + DAY + 30 * SECOND)
        rows = await ran(h, actor)
        assert sorted((name, scheduled, attempt) for name, _, scheduled, attempt, _ in rows) == [
            ("c", first_hour, 1),
            ("x", anchor + MINUTE, 1),
        ]
        skipped, late = await history(h, actor)
        assert (late["scheduledAt"], late["result"]) == (anchor + MINUTE, "ok")
        assert (skipped["result"], skipped["scheduledAt"], skipped["count"]) == ("skipped", anchor + 2 * MINUTE, 1_000)
        hours, _ = await history(h, actor, "c")
        assert (hours["count"], hours["until"] - hours["scheduledAt"]) == (23, 22 * HOUR)
        # And the cadence is what it was.
        await h.advance(30)
        assert (await ran(h, actor))[-1][2] == anchor + DAY + MINUTE


async def test_a_clock_that_is_set_back_runs_nothing_twice(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60)
    await h.advance(60)
    h.clock.set_wall(-HOUR)
    await h.advance(3_600 + 59)
    assert [one[2] for one in await ran(h, actor)] == [anchor + MINUTE]
    await h.advance(32)
    assert [one[2] - anchor for one in await ran(h, actor)] == [MINUTE, 2 * MINUTE]


async def test_a_module_without_an_sdk_sets_one_by_the_host_call_and_gets_it_as_an_alarm(h: Harness) -> None:
    call = {"call": "cron_set", "cron": "x", "action": "go", "args": [1], "expression": "0 * * * *"}
    guest = scripted(settle(1), settle(2, call=call), settle(3), settle(4))
    actor = await h.new(guest)
    await h.call(actor, "anything")
    ((first, payload),) = [(row.scheduled_at, row.payload) for row in (await h.image(actor)).alarms]
    assert (first % HOUR, payload) == (0, b'{"action":"go","args":[1]}')
    for n in (1, 2):
        await to(h, first + (n - 1) * HOUR)
        assert [row.scheduled_at for row in (await h.image(actor)).alarms] == [first + n * HOUR]
    assert [(run.scheduled_at, run.result) for run in (await h.image(actor)).runs] == [
        (first, "ok"),
        (first + HOUR, "ok"),
    ]


# --- failures --------------------------------------------------------------------------------------------------------


async def test_one_that_fails_is_tried_again_under_its_name_and_the_sixth_time_given_up(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 20, {"throws": 6})
    await h.advance(20 + 2 + 4 + 8 + 16 + 32)
    assert [one[2:4] for one in await ran(h, actor)] == [[anchor + 20_000, attempt] for attempt in range(1, 7)]
    (letter,) = await h.letters(actor)
    assert (letter.kind, letter.ref, letter.reason, letter.attempts) == ("alarm", "$cron:x", "user/no", 6)
    skipped, *failures = await history(h, actor)
    assert [(one["result"], one["attempt"], one["error"]) for one in failures] == [
        ("error", attempt, {"group": "user", "code": "no", "message": "on purpose"}) for attempt in range(6, 0, -1)
    ]
    assert (skipped["scheduledAt"] - anchor, skipped["count"], skipped["until"] - anchor) == (40_000, 3, 80_000)
    # It goes on at its next time, with a first attempt.
    await h.advance(18)
    assert (await ran(h, actor))[-1][2:4] == [anchor + 100_000, 1]


async def test_a_fault_counts_as_a_failure_of_the_run_and_the_cadence_goes_on(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 3_600, {"crash": True})
    await h.advance(3_600)
    assert h.count("guest_faults", "guest/budget") == 6
    assert [(one.ref, one.attempts) for one in await h.letters(actor)] == [("$cron:x", 6)]
    runs = await history(h, actor)
    assert [(one["result"], one["attempt"], one["error"]["code"]) for one in runs] == [
        ("error", attempt, "budget") for attempt in range(6, 0, -1)
    ]
    assert (await h.call(actor, "get", "x"))["nextRunAt"] == anchor + 2 * HOUR


async def test_a_run_whose_isolate_goes_is_run_again_as_a_further_attempt(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60, {"waitOnce": 20_000})
    await h.advance(65)
    assert (await h.error(actor, "crash")).name == "guest/budget"
    await h.advance(30)
    assert [one[2:4] for one in await ran(h, actor)] == [[anchor + MINUTE, 1], [anchor + MINUTE, 2]]
    assert [(one["result"], one["attempt"]) for one in await history(h, actor)] == [("ok", 2)]


async def test_an_action_that_an_upgrade_took_away_fails_its_runs_until_it_is_deleted(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60)
    await h.asleep(actor)
    await h.define(GUEST.replace("async tick(c", "async tock(c"), limits={"host_calls": 500})
    await h.advance(60)
    assert [(one["result"], one["error"]["code"]) for one in await history(h, actor)] == [("error", "action_not_found")]
    assert (await h.call(actor, "get", "x"))["nextRunAt"] == anchor + MINUTE
    assert await h.call(actor, "delete", "x") is True
    await h.advance(600)
    assert (await h.image(actor)).alarms == ()


async def test_it_survives_an_upgrade_and_runs_the_new_code(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60)
    await h.advance(60)
    await h.define(GUEST.replace("fire.kind]", '"new"]'), limits={"host_calls": 500})
    await h.asleep(actor)
    await h.advance(60)
    assert [one[2:] for one in await ran(h, actor)] == [
        [anchor + MINUTE, 1, "every"],
        [anchor + 2 * MINUTE, 1, "new"],
    ]


# --- setting, replacing, deleting ------------------------------------------------------------------------------------


async def test_what_it_runs_is_changed_without_touching_its_times(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 60)
    await h.advance(30)
    await every(h, actor, 60, {"stop": True}, maxHistory=7)
    assert await h.call(actor, "get", "x") == {
        "name": "x",
        "action": "tick",
        "args": [{"stop": True}],
        "nextRunAt": anchor + MINUTE,
        "maxHistory": 7,
        "kind": "every",
        "interval": MINUTE,
    }
    await h.advance(30)
    assert [one[1] for one in await ran(h, actor)] == [anchor + MINUTE]
    assert await h.call(actor, "list") == []


async def test_other_times_begin_anew_and_take_the_history_with_them(h: Harness) -> None:
    actor = await made(h)
    await every(h, actor, 60)
    await h.advance(90)
    anchor = await every(h, actor, 45)
    await h.advance(45)
    assert (await ran(h, actor))[-1][2] == anchor + 45 * SECOND
    assert [one["result"] for one in await history(h, actor)] == ["ok", "ok"]
    await h.call(actor, "set", {"name": "x", "expression": "@daily".replace("@daily", "0 0 * * *"), "action": "tick"})
    job = await h.call(actor, "get", "x")
    assert (job["kind"], job["timezone"], job["args"]) == ("cron", "UTC", [])
    assert (await h.image(actor)).alarms[0].alarm_id == "$cron:x"


async def test_one_that_its_own_run_sets_anew_or_deletes(h: Harness) -> None:
    actor = await made(h)
    await every(h, actor, 60, {"again": 30_000})
    await h.advance(60)
    anchor = h.clock.now_ms()
    await h.advance(30)
    assert [one[2] for one in await ran(h, actor)][1:] == [anchor + 30_000]
    assert [one["result"] for one in await history(h, actor)] == ["ok", "ok"]
    await every(h, actor, 30, {"stop": True})
    await h.advance(300)
    assert len(await ran(h, actor)) == 3
    assert await history(h, actor) == []
    image = await h.image(actor)
    assert (image.alarms, image.runs, image.record.wake_at) == ((), (), None)


async def test_the_history_is_bounded_on_disk_too_and_survives_sleep(h: Harness) -> None:
    actor = await made(h)
    anchor = await every(h, actor, 10, maxHistory=3)
    await h.advance(100)
    await h.asleep(actor)
    expected = [anchor + n * 10_000 for n in (10, 9, 8)]
    assert [one["scheduledAt"] for one in await history(h, actor)] == expected
    assert [run.scheduled_at for run in (await h.image(actor)).runs] == expected[::-1]
    assert [one["scheduledAt"] for one in await h.call(actor, "history", "x", 1)] == expected[:1]
    await every(h, actor, 10, maxHistory=0)
    assert await history(h, actor) == []
    await h.advance(30)
    assert (await h.image(actor)).runs == ()
    assert (await h.call(actor, "get", "x"))["lastRunAt"] == anchor + 13 * 10_000


async def test_a_destroy_takes_all_of_it(h: Harness) -> None:
    actor = await made(h)
    await every(h, actor, 10)
    await h.advance(20)
    await h.call(actor, "end")
    await h.advance(600)
    assert h.count("commits_refused") == 0
    other = await h.actor()
    assert other != actor
    assert await h.call(other, "list") == []


# --- years ---------------------------------------------------------------------------------------------------------


async def test_a_leap_day_comes_in_leap_years_only(h: Harness) -> None:
    actor = await made(h)
    await h.call(actor, "set", {"name": "x", "expression": "0 12 29 2 *", "action": "tick", "args": [{}]})
    for _ in range(3):
        await h.asleep(actor)
        wake_at = (await h.record(actor)).wake_at
        assert wake_at is not None
        await to(h, wake_at - 1)
        before = len(await ran(h, actor))
        await h.advance(0.001)
        assert len(await ran(h, actor)) == before + 1
    days = [datetime.fromtimestamp(one[2] / 1_000, UTC) for one in await ran(h, actor)]
    assert [(day.month, day.day, day.hour, day.year % 4) for day in days] == [(2, 29, 12, 0)] * 3
    assert [later.year - day.year for day, later in pairwise(days)] == [4, 4]


async def test_a_year_of_half_past_two_in_new_york_runs_every_day_once(h: Harness) -> None:
    zone = "America/New_York"
    await to(h, local(zone, 2027, 1, 1, 0, 0))
    actor = await made(h)
    await h.call(
        actor, "set", {"name": "x", "expression": "30 2 * * *", "timezone": zone, "action": "tick", "args": [{}]}
    )
    for _ in range(365):
        wake_at = (await h.record(actor)).wake_at
        assert wake_at is not None
        await to(h, wake_at)
    times = [datetime.fromtimestamp(one[2] / 1_000, ZoneInfo(zone)) for one in await ran(h, actor)]
    assert len({time.date() for time in times}) == len(times) == 365
    assert {(time.hour, time.minute) for time in times} == {(2, 30), (3, 0)}
    assert [time.strftime("%m-%d %H:%M %Z") for time in times if time.hour == 3] == ["03-14 03:00 EDT"]
    assert [time.strftime("%H:%M %Z") for time in times if time.strftime("%m-%d") == "11-07"] == ["02:30 EST"]
