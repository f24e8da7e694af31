"""Starts, sleeps, what holds them up, and what is each actor's own, the same on every kind of actor."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.behaviour.kinds import World, on_every_kind

pytestmark = pytest.mark.anyio


@on_every_kind("starts")
async def test_the_input_is_seen_in_creation_only_and_forgotten(thing: World) -> None:
    actor = await thing.actor(input=b'"oak"')
    assert await thing.h.storage.driver.kv_size(actor) == (0, 0), "to create it runs none of its code"
    assert await thing.call(actor, "get") == {"count": 0, "made": "oak"}
    assert (await thing.h.record(actor)).input is None
    await thing.sleep(actor)
    assert (await thing.call(actor, "get"))["made"] == "oak"
    assert thing.notes(actor) == ["create oak", "wake", "sleep", "wake"]


@on_every_kind("starts")
async def test_a_start_that_throws_is_rolled_back_refused_for_a_while_and_tried_again(thing: World) -> None:
    actor = await thing.actor()
    began = thing.clock.now_ms()
    await thing.call(actor, "break_starts", began + 2_500)
    await thing.sleep(actor)
    error = await thing.h.error(actor, "add", 1)
    assert (error.name, error.retryable, error.retry_after) == ("actor/start_failed", True, 1.0)
    assert "secret" not in error.message
    assert thing.notes(actor) == ["create -", "wake", "sleep"], "nothing of that start is written"
    record = await thing.h.record(actor)
    assert (record.lifecycle, record.attempt, record.retry_at) == ("failed", 1, began + 1_000)
    jobs = thing.h.executor.jobs
    await thing.h.advance(0.5)
    assert (await thing.h.error(actor, "add", 1)).retry_after == 1.0
    assert thing.h.executor.jobs == jobs, "before its time it is not tried"
    await thing.h.advance(0.5)
    assert (await thing.h.error(actor, "add", 1)).retry_after == 2.0
    assert (await thing.h.record(actor)).attempt == 2
    await thing.h.advance(2)
    assert await thing.call(actor, "add", 1) == 1
    record = await thing.h.record(actor)
    assert (record.lifecycle, record.attempt, record.last_error) == ("asleep", 0, None)
    assert thing.h.count("start_failures") == 2


@on_every_kind("starts")
async def test_a_message_that_waits_for_a_broken_start_is_handled_when_it_works(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    await thing.call(actor, "break_starts", thing.clock.now_ms() + 2_500)
    await thing.sleep(actor)
    assert await thing.talk(socket, "one", "index") == []
    await thing.h.advance(2.9)
    assert socket.frames[1:] == []
    await thing.h.advance(0.2)
    assert socket.frames[1:] == ["one", "2"]
    assert socket.closed is None


@on_every_kind("sleep")
async def test_an_idle_actor_falls_asleep_and_is_told(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 1)
    await thing.h.advance(29.9)
    assert thing.h.state(actor) == "running"
    await thing.h.advance(0.2)
    assert thing.h.state(actor) == "absent"
    assert thing.notes(actor) == ["create -", "wake", "sleep"]
    assert (await thing.h.record(actor)).lifecycle == "asleep"


@on_every_kind("sleep")
async def test_it_may_wish_to_sleep(thing: World) -> None:
    actor = await thing.actor()
    assert await thing.call(actor, "doze") is None
    await thing.h.rest()
    assert thing.h.state(actor) == "absent"
    assert thing.notes(actor) == ["create -", "wake", "sleep"]


@on_every_kind("sleep")
async def test_what_keeps_it_awake_holds_the_idle_clock(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "hold", 100_000)
    await thing.h.advance(99)
    assert thing.h.state(actor) == "running"
    await thing.h.advance(2)
    assert thing.notes(actor) == ["create -", "wake", "held"]
    await thing.h.advance(30)
    assert thing.h.state(actor) == "absent"


@on_every_kind("sleep")
async def test_a_stop_waits_for_what_keeps_it_awake(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "hold", 5_000)
    await thing.call(actor, "doze")
    await thing.h.advance(4)
    assert thing.h.state(actor) == "stopping"
    await thing.h.advance(1)
    assert thing.h.state(actor) == "absent"
    assert thing.notes(actor) == ["create -", "wake", "sleep", "held"]


@on_every_kind("destroy")
@pytest.mark.parametrize("within", [True, False])
async def test_its_end_runs_the_last_hook_closes_its_sockets_and_frees_its_key(thing: World, within: bool) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    await thing.call(actor, "add", 5)
    with capture_logs() as lines:
        if within:
            assert await thing.call(actor, "end") == "goodbye"
        else:
            await thing.h.placement.destroy(actor)
        await thing.h.rest()
    assert [line["text"] for line in lines if line["event"] == "guest log"] == ["create -;wake;destroyed"]
    assert await socket.ended() == (1000, "actor.destroyed")
    assert (await thing.h.error(actor, "add", 1)).name == "actor/not_found"
    assert await thing.h.storage.driver.hydrate(actor) is None
    again = await thing.actor()
    assert again != actor
    assert (await thing.call(again, "get"))["count"] == 0


@on_every_kind("destroy")
async def test_one_that_sleeps_is_woken_for_its_last_hook(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 5)
    await thing.sleep(actor)
    with capture_logs() as lines:
        await thing.h.placement.destroy(actor)
        await thing.h.rest()
    texts = [line["text"] for line in lines if line["event"] == "guest log"]
    assert texts == ["create -;wake;sleep;wake;destroyed"]


@on_every_kind("randomness")
async def test_every_actor_and_every_start_has_a_stream_of_its_own(thing: World) -> None:
    first, second = await thing.actor("a"), await thing.actor("b")
    found: list[Any] = []
    for actor in (first, second):
        found += [await thing.call(actor, "noise", 16), await thing.call(actor, "noise", 16)]
        await thing.sleep(actor)
        found.append(await thing.call(actor, "noise", 16))
    assert {len(one) for one in found} == {32}
    assert len(set(found)) == 6


@on_every_kind("log")
async def test_a_line_of_its_log_is_a_field_of_ours_with_its_level(thing: World) -> None:
    actor = await thing.actor()
    with capture_logs() as lines:
        await thing.call(actor, "write", 'hello "log"\nevent=forged')
    found = [line for line in lines if line["event"] == "guest log"]
    assert [(line["text"], line["log_level"], line["actor_id"]) for line in found] == [
        ('hello "log"\nevent=forged', "warning", actor)
    ]


@on_every_kind("faults")
async def test_code_that_crashes_loses_its_isolate_and_what_it_had_written_stays(thing: World) -> None:
    actor = await thing.actor()
    socket = await thing.open(actor)
    await thing.talk(socket, "seen")
    await thing.call(actor, "add", 2)
    assert (await thing.h.error(actor, "trap")).group == "guest"
    await thing.h.rest()
    assert await thing.call(actor, "add", 1) == 3
    assert await thing.talk(socket, "seen", "restored", "index") == ["2", "yes", "4"]
    assert thing.h.count("guest_faults") == 1


@on_every_kind("deadline")
async def test_code_that_loops_is_stopped(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 2)
    assert (await thing.h.error(actor, "loop")).name == "guest/deadline"
    assert await thing.call(actor, "add", 1) == 3


@on_every_kind("memory")
async def test_code_that_hoards_is_stopped_and_the_actor_goes_on(thing: World) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 2)
    error = await thing.h.error(actor, "hoard")
    assert error.group in ("guest", "internal")
    await thing.h.rest()
    assert await thing.call(actor, "add", 1) == 3
