"""Falling asleep while things happen: at each moment of a sleep, whatever comes takes effect once, after the wake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from host.model.definitions import DefinitionOptions
from tests.actor.fake_gateway import Socket
from tests.actor.harness import PROBE, Harness

pytestmark = pytest.mark.anyio

Moment = Callable[[Harness, str], Awaitable[None]]


async def during_on_sleep(h: Harness, actor: str) -> None:
    await h.call(actor, "put", "stop", "wait:5000")
    await h.call(actor, "sleep")
    await h.advance(1)
    assert h.state(actor) == "stopping"


async def during_the_commit_of_on_sleep(h: Harness, actor: str) -> None:
    h.storage.hold()
    await h.call(actor, "sleep")
    await h.rest()
    assert (h.state(actor), h.storage.units[-1].actor) == ("stopping", None)


async def during_the_final_commit(h: Harness, actor: str) -> None:
    await during_the_commit_of_on_sleep(h, actor)
    h.storage.release()
    h.storage.hold()
    await h.rest()
    assert (h.state(actor), (await h.document(actor))["sleeps"]) == ("stopping", 1)


async def while_it_sleeps(h: Harness, actor: str) -> None:
    await h.asleep(actor)


async def before_the_start_is_read(h: Harness, actor: str) -> None:
    await h.asleep(actor)
    h.storage.hold_starts()
    h.placement._poke(actor, "test")
    await h.storage.until_start_held()


async def during_the_start(h: Harness, actor: str) -> None:
    await h.call(actor, "put", "start", "wait:5000")
    await h.asleep(actor)
    h.placement._poke(actor, "test")
    await h.rest()
    assert h.state(actor) == "starting"


async def during_the_commit_of_the_start(h: Harness, actor: str) -> None:
    await h.asleep(actor)
    h.storage.hold()
    h.placement._poke(actor, "test")
    await h.storage.until_held()
    assert h.state(actor) == "starting"


MOMENTS = [
    during_on_sleep,
    during_the_commit_of_on_sleep,
    during_the_final_commit,
    while_it_sleeps,
    before_the_start_is_read,
    during_the_start,
    during_the_commit_of_the_start,
]
at_each_moment = pytest.mark.parametrize("moment", MOMENTS, ids=[moment.__name__ for moment in MOMENTS])


async def let_go(h: Harness) -> None:
    """Whatever was held back goes on, and all of it comes to its end."""
    h.storage.release()
    await h.advance(6)
    await h.advance(6)


async def one_start_more(h: Harness, actor: str) -> None:
    state = await h.document(actor)
    assert (state["wakes"], state["sleeps"]) == (2, 1)


@at_each_moment
async def test_messages_are_delivered_once_and_in_order_after_the_wake(h: Harness, moment: Moment) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await moment(h, actor)
    for text in ("echo a", "echo b", "echo c"):
        socket.send(text)
    assert socket.frames == ["welcome"]
    await let_go(h)
    assert socket.frames == ["welcome", "echo a", "echo b", "echo c"]
    assert (await h.document(actor))["got"] == ["echo a", "echo b", "echo c"]
    assert await h.index(socket) == socket.acked == 3
    await one_start_more(h, actor)


@at_each_moment
async def test_a_client_that_closes_is_told_once(h: Harness, moment: Moment) -> None:
    actor = await h.probe()
    leaving, staying = await h.open(actor), await h.open(actor)
    await moment(h, actor)
    leaving.close(4001, "tired")
    await let_go(h)
    assert (await h.document(actor))["closes"] == [[4001, "tired"]]
    assert [row.conn_id for row in (await h.image(actor)).connections] == [staying.conn]
    assert (h.count("socket_closes"), staying.closed) == (0, None)
    await one_start_more(h, actor)
    # And not again by a further start.
    for hook in ("start", "stop"):
        await h.call(actor, "put", hook, "")
    await h.asleep(actor)
    assert (await h.call(actor, "get"))["closes"] == [[4001, "tired"]]


@at_each_moment
async def test_a_client_that_sends_and_closes_is_heard_to_the_end(h: Harness, moment: Moment) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await moment(h, actor)
    socket.send("echo last words")
    socket.close(1000, "done")
    await let_go(h)
    state = await h.document(actor)
    assert (state["got"], state["closes"]) == (["echo last words"], [[1000, "done"]])
    assert (await h.image(actor)).connections == ()
    await one_start_more(h, actor)


@at_each_moment
async def test_an_action_is_answered_once(h: Harness, moment: Moment) -> None:
    actor = await h.probe()
    assert await h.call(actor, "inc", 1) == 1
    outputs: list[int] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "inc", 1))

    await moment(h, actor)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        await let_go(h)
    assert outputs == [2]
    await one_start_more(h, actor)


async def test_timers_do_not_hold_it_awake_and_are_gone_after_the_stop(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    await h.asleep(actor)
    idle = h.clock.pending
    for seconds in (40, 50, 3_600):
        await h.call(actor, "timer", seconds * 1_000)
    await h.advance(30.1)
    assert h.state(actor) == "absent"
    assert h.clock.pending == idle
    await h.call(actor, "inc", 1)
    await h.advance(25)
    assert (await h.call(actor, "get"))["n"] == 2


async def test_a_timer_that_is_due_during_on_sleep_still_comes(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "wait:5000")
    await h.call(actor, "timer", 2_000)
    await h.call(actor, "sleep")
    await h.advance(6)
    assert h.state(actor) == "absent"
    assert (await h.document(actor))["n"] == 100


async def not_hibernating(h: Harness) -> tuple[str, Socket]:
    await h.define(PROBE, limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
    actor = await h.actor()
    return actor, await h.open(actor)


async def test_with_a_connection_that_cannot_hibernate_it_never_becomes_idle(h: Harness) -> None:
    actor, socket = await not_hibernating(h)
    await h.advance(3_600)
    assert h.state(actor) == "running"
    socket.close()
    await h.advance(29.9)
    assert h.state(actor) == "running"
    await h.advance(0.2)
    assert h.state(actor) == "absent"
    assert (await h.document(actor))["closes"] == [[1000, ""]]


async def test_such_a_connection_is_closed_by_a_restart_and_the_actor_told_once(h: Harness) -> None:
    actor, socket = await not_hibernating(h)
    socket.send("echo a")
    await socket.received(2)
    assert (await h.error(actor, "act", "crash")).group == "guest"
    await h.rest()
    assert socket.closed == (1012, "actor.restarted")
    assert h.state(actor) == "running"
    state = await h.call(actor, "get")
    assert (state["closes"], state["wakes"]) == ([[1012, "actor.restarted"]], 2)
    assert (await h.image(actor)).connections == ()
    assert h.count("socket_closes", "actor.restarted") == 1
    await h.advance(31)
    assert (await h.call(actor, "get"))["closes"] == [[1012, "actor.restarted"]]


async def test_a_sleep_that_is_asked_for_with_handlers_in_work_waits_for_them(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    outputs: list[str] = []

    async def act(what: str) -> None:
        outputs.append(await h.call(actor, "act", what))

    async with anyio.create_task_group() as tasks:
        for seconds in (3, 6, 9):
            tasks.start_soon(act, f"wait:{seconds}000")
        socket.send("wait:8000")
        await h.rest()
        await h.call(actor, "sleep")
        await h.rest()
        assert h.state(actor) == "stopping"
        await h.advance(8.9)
        assert (h.state(actor), len(outputs)) == ("stopping", 2)
        await h.advance(0.2)
    assert outputs == ["did wait:3000", "did wait:6000", "did wait:9000"]
    await h.rest()
    assert h.state(actor) == "absent"
    assert socket.frames == ["welcome", "did wait:8000"]
    assert await h.index(socket) == 1
    assert (await h.image(actor)).attempts == ()


async def test_a_handler_that_asks_for_sleep_may_go_on_and_the_next_message_waits_for_the_wake(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("sleep+wait:4000")
    socket.send("echo next")
    await h.advance(3.9)
    assert (h.state(actor), socket.frames) == ("stopping", ["welcome"])
    await h.advance(0.2)
    assert await socket.received(2) == ["welcome", "echo next"]
    await h.rest()
    await one_start_more(h, actor)
    assert (await h.document(actor))["got"] == ["sleep+wait:4000", "echo next"]


async def test_an_alarm_that_the_grace_ran_out_on_is_fired_again_after_the_wake(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "slow", 1_000, {"do": "wait:20000"})
    await h.advance(1)
    await h.call(actor, "sleep")
    await h.advance(15.1)
    assert [(row.alarm_id, row.faults) for row in (await h.image(actor)).alarms] == [("slow", 1)]
    await h.advance(20)
    state = await h.document(actor)
    assert [fired[:2] for fired in state["fired"]] == [["slow", 1], ["slow", 2]]
    assert (await h.image(actor)).alarms == ()


async def test_after_the_grace_a_message_in_work_comes_before_those_that_waited(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:20000")
    await h.rest()
    await h.call(actor, "sleep")
    socket.send("echo second")
    await h.advance(15.1)
    assert socket.frames == ["welcome"]
    await h.advance(20)
    assert socket.frames == ["welcome", "did wait:20000", "echo second"]
    assert await h.index(socket) == 2


async def test_a_handler_that_nothing_can_settle_does_not_hold_a_sleep_up_for_the_grace(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("never")
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "act", "never")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        await h.call(actor, "sleep")
        await h.rest()
    assert errors == ["guest/stuck"]
    assert h.state(actor) == "absent"
    # It has settled: its index moves on, and it is not delivered again.
    assert await h.index(socket) == 1
    assert (await h.call(actor, "get"))["got"] == ["never"]


SLOW_ENDS = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
export default actor({
  state: { opens: 0, closes: [] },
  onWebSocket(c, ws, { restored }) {
    ws.onopen = async () => { c.state.opens += 1; ws.send("welcome"); if (ws.path === "/slow") await later(20000); };
    ws.onclose = async (e) => { c.state.closes.push(e.code); if (c.state.closes.length === 1) await later(20000); };
  },
  actions: { sleep(c) { c.sleep(); }, get: (c) => c.state },
});
"""


async def test_an_open_that_the_grace_ran_out_on_closes_its_socket(h: Harness) -> None:
    actor = await h.new(SLOW_ENDS)
    socket = await h.gateway.open(actor, path="/slow")
    await socket.received(1)
    await h.call(actor, "sleep")
    await h.advance(15.1)
    assert socket.closed == (1011, "actor.action_timed_out")
    assert (await h.image(actor)).connections == ()
    assert (await h.call(actor, "get"))["opens"] == 1


async def test_a_close_that_the_grace_ran_out_on_is_delivered_again(h: Harness) -> None:
    actor = await h.new(SLOW_ENDS)
    socket = await h.open(actor)
    socket.close(4001, "tired")
    await h.rest()
    await h.call(actor, "sleep")
    await h.advance(15.1)
    await h.rest()
    assert (await h.document(actor))["closes"] == [4001, 4001]
    image = await h.image(actor)
    assert (image.connections, image.attempts) == ((), ())
