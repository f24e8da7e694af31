"""Orders of events that once went wrong: each test is one sequence, and what has to come of it."""

from __future__ import annotations

import anyio
import pytest

from host.actor.entries import Entry
from host.actor.hop import HopRunner
from host.bridge.envelopes import Event, SocketClosedEvent
from host.model.definitions import DefinitionOptions
from host.model.errors import InternalError, UnavailableError
from host.model.limits import Limits
from host.placement import alarms, service
from tests.actor.harness import PROBE, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

TIMER_IN_OPEN = """import { actor } from "isolate";
export default actor({
  state: { ticks: 0, closes: [] },
  onWebSocket(c, socket) {
    setTimeout(() => { c.state.ticks += 1; }, 5000);
    socket.onclose = (event) => { c.state.closes.push(event.reason); };
    if (socket.url.includes("throw")) throw new Error("no");
  },
  actions: { get(c) { return c.state; } },
});"""

CRASH_AFTER_WAKE = """import { actor } from "isolate";
export default actor({
  onWake(c) {
    setTimeout(() => { for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); }, 10);
  },
  actions: { get() { return 1; } },
});"""


@pytest.mark.parametrize("path", ["/", "/throw"])
async def test_a_timer_of_an_open_does_not_bring_the_row_of_a_closed_connection_back(h: Harness, path: str) -> None:
    actor = await h.new(TIMER_IN_OPEN)
    socket = await h.gateway.open(actor, path=path)
    await h.rest()
    socket.close(1000, "client")
    await h.rest()
    assert (await h.image(actor)).connections == ()
    await h.advance(6)
    assert (await h.call(actor, "get"))["ticks"] == 1
    assert (await h.image(actor)).connections == ()


async def test_a_destroy_answers_a_handler_that_waits_for_a_timer(h: Harness) -> None:
    actor = await h.probe()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "act", "wait:6000")).name)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await h.rest()
            await h.destroy(actor, 5)
    assert errors == ["actor/aborted"]


async def test_a_timer_that_crashes_after_every_start_fails_the_actor(h: Harness) -> None:
    actor = await h.new(CRASH_AFTER_WAKE, limits={"host_calls": 64})
    await h.call(actor, "get")
    await h.advance(5)
    assert h.state(actor) in ("failed", "absent")
    assert h.storage.hydrations < 10
    assert h.count("start_failures") >= 1


async def test_a_commit_that_breaks_the_storage_layer_answers_everyone_and_loses_no_message(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    errors: list[str] = []

    async def ask(what: str) -> None:
        errors.append((await h.error(actor, "act", what)).group)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "wait:5000")
            await h.rest()
            h.storage.fail_next.append(InternalError("storage refused this write"))
            socket.send("echo kept")
            await h.rest()
    await h.advance(60)
    assert errors == ["actor"]
    assert socket.frames[-1] == "echo kept"
    assert socket.buffer == {}


async def test_a_drain_ends_an_actor_that_wishes_to_sleep_and_may_not(h: Harness) -> None:
    await h.define(PROBE, limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
    actor = await h.actor()
    await h.open(actor)
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "running"
    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.placement.drain)
            await h.advance(20)
    assert (await h.record(actor)).lifecycle == "asleep"


async def test_a_message_behind_an_open_that_throws_is_not_delivered(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "get")
    h.executor.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "inc", 1)
        await h.executor.until_held()
        socket = await h.gateway.open(actor, path="/throw")
        socket.send("echo never")
        h.executor.release()
    await h.rest()
    assert h.count("events_failed") == 1
    assert h.count("messages_refused", "connection_closed") == 1
    assert socket.closed is not None
    assert socket.closed[0] == 1011


async def test_a_close_from_both_sides_is_told_once(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    closes: list[int] = []
    real = HopRunner._event_of

    def spy(self: HopRunner, entry: Entry) -> Event:
        event = real(self, entry)
        if isinstance(event, SocketClosedEvent):
            closes.append(event.code)
        return event

    monkeypatch.setattr(HopRunner, "_event_of", spy)
    actor = await h.probe()
    socket = await h.open(actor)
    h.executor.hold()
    socket.send("bye")
    await h.executor.until_held()
    socket.close(1000, "client")
    h.executor.release()
    await h.rest()
    assert len(closes) == 1

    late = await h.open(actor)
    await h.call(actor, "put", "start", "wait:1000")
    await h.asleep(actor)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "inc", 1)
        await h.rest()
        late.close(1000, "client")
        await h.advance(2)
    await h.rest()
    assert len(closes) == 2


async def test_a_message_refused_by_a_full_node_is_delivered_when_there_is_room(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        first = await h.probe()
        socket = await h.open(first)
        await h.asleep(first)
        _second, end = await h.busy()
        socket.send("echo late")
        await h.rest()
        assert "echo late" not in socket.frames
        await end()
        await h.rest()
        assert socket.frames[-1] == "echo late"


async def test_a_poke_of_a_running_actor_does_not_wake_it_again_later(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    h.placement._poke(actor, "stale connections")
    await h.rest()
    starts = h.storage.hydrations
    await h.asleep(actor)
    await h.rest()
    assert h.state(actor) == "absent"
    assert h.storage.hydrations - starts <= 1  # a look by the test itself


async def test_an_actor_that_just_worked_does_not_sleep_on_an_old_idle_time(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.advance(29)
    h.executor.hold()
    socket.send("echo x")
    await h.executor.until_held()
    await h.advance(2)
    h.executor.release()
    await h.rest()
    assert h.state(actor) == "running"


async def test_an_isolate_is_closed_even_when_no_thread_has_room(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    full = UnavailableError("node", "full", "no thread has room")
    h.executor.break_next += [full, full]
    with anyio.fail_after(3):
        assert (await h.error(actor, "inc", 1)).name == "node/full"
    await h.rest()
    assert h.count("actor_tasks_failed") == 0
    await h.advance(3)
    assert await h.call(actor, "inc", 1) == 2


async def test_alarms_that_wait_do_not_hold_up_those_behind_them(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "PAGE", 1)
    first = await h.probe()
    second = await h.actor(key="second")
    await h.call(first, "alarm", "x", 70_000, {"do": "wait:20000"})
    await h.call(second, "alarm", "y", 70_001, None)
    await h.asleep(first)
    await h.asleep(second)
    await h.advance(72)
    assert h.state(second) == "running"


async def test_an_actor_that_cannot_start_does_not_hold_up_the_sweep(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STRAYS_PER_SECOND", 1)
    actors = sorted([await h.probe(), *[await h.actor(key=f"k{number}") for number in range(2)]])
    sockets = [await h.open(actor) for actor in actors]
    await h.call(actors[0], "put", "start", "throw")
    for actor in actors:
        await h.asleep(actor)
    for socket in sockets:
        del h.gateway.held[socket.conn]
    h.gateway.gateway_id = "8" * 32
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sweep_strays)
        await h.advance(60)
        left = [len((await h.image(actor)).connections) for actor in actors]
        tasks.cancel_scope.cancel()
    assert left == [1, 0, 0]
