"""The example `reminder`, on a real host."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.end_to_end.host import TestHost

pytestmark = pytest.mark.anyio

FAR = 3_600_000


async def page(host: TestHost, actor: str) -> Any:
    answer = await host.http.get(f"/gateway/{actor}/request/")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_rung(host: TestHost, actor: str, count: int) -> list[Any]:
    while len(rung := (await page(host, actor))["rung"]) < count:
        await anyio.lowlevel.checkpoint()
    return list(rung)


async def test_reminders_ring_while_the_actor_sleeps(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("reminder", (examples / "reminder" / "actor.js").read_bytes())
        actor = await host.actor("reminder", "me")
        await host.call(actor, "remindIn", 200, "tea")
        await host.call(actor, "snooze", "standup", 200, "stand up")
        await host.http.post(f"/actors/{actor}/sleep")
        while (await host.snapshot(actor))["alarms"]:
            await anyio.lowlevel.checkpoint()
        rung = await until_rung(host, actor, 2)
        assert sorted(each["text"] for each in rung) == ["stand up", "tea"]
        assert [(each["name"], each["attempt"]) for each in rung if "name" in each] == [("standup", 1)]
        assert (await page(host, actor))["waiting"] == []


async def test_the_page_lists_what_waits_by_time_and_cancel_takes_it_off(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("reminder", (examples / "reminder" / "actor.js").read_bytes())
        actor = await host.actor("reminder", "me")
        later = await host.call(actor, "remindIn", 2 * FAR, "later")
        await host.call(actor, "snooze", "soon", FAR, "soon")
        await host.call(actor, "snooze", "soon", FAR, "soon, moved")
        at = 4_000_000_000_000
        await host.call(actor, "remindAt", at, "one day")
        waiting = (await page(host, actor))["waiting"]
        assert [each["text"] for each in waiting] == ["soon, moved", "later", "one day"]
        assert waiting[2]["at"] == at
        assert await host.call(actor, "cancel", later) is True
        assert await host.call(actor, "cancel", "soon") is True
        assert await host.call(actor, "cancel", "soon") is False
        assert [each["text"] for each in (await page(host, actor))["waiting"]] == ["one day"]


async def test_a_reminder_repeats_on_the_calendar_of_a_time_zone_until_it_is_stopped(
    host: TestHost, examples: Path
) -> None:
    with anyio.fail_after(20):
        await host.deploy("reminder", (examples / "reminder" / "actor.js").read_bytes())
        actor = await host.actor("reminder", "me")
        at = await host.call(actor, "repeat", "report", "30 8 * * MON-FRI", "Asia/Kolkata", "the report")
        when = datetime.fromtimestamp(at / 1_000, UTC)
        assert (when.hour, when.minute, when.weekday() < 5) == (3, 0, True)
        await host.call(actor, "repeatEvery", "stretch", FAR, "stretch")
        assert {each["id"] for each in (await page(host, actor))["waiting"]} == {"report", "stretch"}
        assert {cron["name"] for cron in (await host.snapshot(actor))["crons"]} == {"report", "stretch"}
        answer = await host.try_call(actor, "repeat", "x", "30 25 * * *", "UTC", "never")
        assert answer.status_code == 500
        assert await host.call(actor, "stop", "report") is True
        assert await host.call(actor, "stop", "report") is False
        assert [each["id"] for each in (await page(host, actor))["waiting"]] == ["stretch"]


async def test_what_is_not_a_reminder_is_refused(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("reminder", (examples / "reminder" / "actor.js").read_bytes())
        actor = await host.actor("reminder", "me")
        answer = await host.try_call(actor, "remindIn", 5)
        assert (answer.status_code, answer.json()["code"]) == (400, "no_text")
        assert (await host.http.post(f"/gateway/{actor}/request/")).status_code == 405
        assert (await page(host, actor)) == {"waiting": [], "rung": []}
