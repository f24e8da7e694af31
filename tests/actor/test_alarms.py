"""Alarms: when they fire, with what, and what becomes of those that fail."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.actor.harness import Harness

pytestmark = pytest.mark.anyio


async def fired(h: Harness, actor: str) -> list[list[Any]]:
    """[id, attempt, when, scheduled, payload] of every delivery that is committed."""
    found: list[list[Any]] = (await h.document(actor))["fired"]
    return found


async def test_several_alarms_fire_at_their_times_with_their_payloads(h: Harness) -> None:
    actor = await h.probe()
    began = h.clock.now_ms()
    await h.call(actor, "alarm", "b", 2_000, {"two": [2]})
    await h.call(actor, "alarm", "a", 1_000, {"one": 1})
    await h.call(actor, "alarm", "c", 90_000, "far")
    await h.advance(0.999)
    assert await fired(h, actor) == []
    await h.advance(2)
    assert await fired(h, actor) == [
        ["a", 1, began + 1_000, began + 1_000, {"one": 1}],
        ["b", 1, began + 2_000, began + 2_000, {"two": [2]}],
    ]
    assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["c"]
    assert (await h.record(actor)).wake_at == began + 90_000


async def test_a_past_time_fires_now(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarmAt", "x", 1)
    await h.rest()
    assert [one[:2] for one in await fired(h, actor)] == [["x", 1]]


async def test_it_wakes_a_sleeping_actor_and_not_before_its_time(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 300_000)
    due = h.clock.now_ms() + 300_000
    await h.asleep(actor)
    await h.advance(299.9)
    assert h.state(actor) == "absent"
    await h.advance(0.1)
    assert [one[2] for one in await fired(h, actor)] == [due]
    assert (await h.document(actor))["wakes"] == 2


async def test_one_that_is_set_again_replaces_the_former(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, 1)
    await h.call(actor, "alarm", "x", 5_000, 2)
    await h.advance(4.9)
    assert await fired(h, actor) == []
    await h.advance(0.2)
    assert [one[4] for one in await fired(h, actor)] == [2]


async def test_one_that_its_own_handler_sets_again_is_kept(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "again"})
    await h.advance(1)
    assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["x"]
    await h.advance(1)
    assert [one[:2] for one in await fired(h, actor)] == [["x", 1], ["x", 1]]
    assert (await h.image(actor)).alarms == ()


async def test_one_that_is_cancelled_does_not_fire(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000)
    assert await h.call(actor, "cancel", "x") is True
    assert await h.call(actor, "cancel", "x") is False
    await h.advance(2)
    assert await fired(h, actor) == []
    assert (await h.record(actor)).wake_at is None


async def test_one_that_is_cancelled_while_it_is_queued_does_not_fire(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "a", 1_000, {"do": "cancel", "id": "b"})
    await h.call(actor, "alarm", "b", 1_000)
    await h.advance(3)
    assert [one[0] for one in await fired(h, actor)] == ["a"]
    # The name can be used again at once.
    await h.call(actor, "alarm", "b", 1_000)
    await h.advance(1)
    assert [one[0] for one in await fired(h, actor)] == ["a", "b"]


async def test_a_throw_puts_it_off_twice_as_long_each_time_and_the_sixth_gives_it_up(h: Harness) -> None:
    actor = await h.probe()
    began = h.clock.now_ms()
    await h.call(actor, "alarm", "x", 1_000, {"do": "throw"})
    with capture_logs() as logs:
        await h.advance(1 + 2 + 4 + 8 + 16 + 32 - 0.1)
        assert [one[1] for one in await fired(h, actor)] == [1, 2, 3, 4, 5]
        assert [row.alarm_id for row in (await h.image(actor)).alarms] == ["x"]
        await h.advance(0.2)
    deliveries = await fired(h, actor)
    assert [one[1] for one in deliveries] == [1, 2, 3, 4, 5, 6]
    assert [one[2] - began for one in deliveries] == [1_000, 3_000, 7_000, 15_000, 31_000, 63_000]
    assert {one[3] for one in deliveries} == {began + 1_000}
    assert (await h.image(actor)).alarms == ()
    (letter,) = await h.letters(actor)
    assert (letter.kind, letter.ref, letter.attempts, letter.payload) == ("alarm", "x", 6, b'{"do":"throw"}')
    assert h.count("guest_faults") == 0
    assert h.count("dead_letters", "internal/internal_error") == 1
    assert [line["error"] for line in logs if line["event"] == "event given up"] == ["internal/internal_error"]


async def test_one_that_recovers_is_delivered_with_its_attempt_and_then_gone(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "throw<3"})
    await h.advance(10)
    assert [one[1] for one in await fired(h, actor)] == [1, 2, 3]
    assert (await h.image(actor)).alarms == ()
    assert await h.letters(actor) == []


async def test_attempts_survive_sleep(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "throw<2"})
    await h.advance(1)
    await h.asleep(actor)
    await h.advance(2)
    assert [one[1] for one in await fired(h, actor)] == [1, 2]
    assert (await h.document(actor))["wakes"] == 2


async def test_a_fault_delivers_it_again_on_a_fresh_isolate_and_the_sixth_gives_it_up(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "crash"})
    await h.advance(1)
    # The same alarm over and over is one event, so the actor does not count as failed.
    assert h.count("start_failures") == 0
    assert h.count("guest_faults", "guest/budget") == 6
    assert [(one.kind, one.ref, one.attempts) for one in await h.letters(actor)] == [("alarm", "x", 6)]
    assert (await h.image(actor)).alarms == ()
    assert h.count("dead_letters", "guest/budget") == 1
    assert (await h.call(actor, "get"))["fired"] == []


async def test_one_that_times_out_is_put_off_like_one_that_throws(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "never"})
    await h.advance(1 + 60 + 2)
    assert [one[1] for one in await fired(h, actor)] == [1, 2]


async def test_late_ones_fire_once_when_time_has_passed_far_beyond_them(h: Harness) -> None:
    actors = [await h.probe()]
    actors += [await h.actor(key=f"k{n}") for n in range(3)]
    for number, actor in enumerate(actors):
        await h.call(actor, "alarm", "x", 50_000 + number)
    for actor in actors:
        await h.asleep(actor)
    await h.advance(3_600)
    for actor in actors:
        assert [one[:2] for one in await fired(h, actor)] == [["x", 1]]
