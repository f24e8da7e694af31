"""Falling asleep and waking: by whatever cause, with everything as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest

from host.model.definitions import DefinitionOptions
from host.model.errors import CallerError
from host.storage.datadir import DataDir
from host.storage.sqlite import open_sqlite
from tests.actor.harness import PROBE, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def each(
    request: pytest.FixtureRequest, shelf: CodeShelf, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Harness]:
    """A node on either storage."""
    if request.param == "memory":
        async with open_harness(shelf) as harness:
            yield harness
        return
    path = tmp_path_factory.mktemp("data") / "d"
    with DataDir(path).open(random=lambda size: b"r" * size, now_ms=0) as datadir:
        driver = open_sqlite(datadir)
        await driver.open()
        async with open_harness(shelf, driver) as harness:
            yield harness
        await driver.close()


async def test_it_sleeps_after_thirty_idle_seconds_and_not_before(each: Harness) -> None:
    actor = await each.probe()
    await each.call(actor, "inc", 1)
    await each.advance(29.9)
    assert each.state(actor) == "running"
    await each.advance(0.2)
    assert each.state(actor) == "absent"
    record = await each.record(actor)
    assert record.lifecycle == "asleep"
    assert record.slept_at == each.clock.now_ms() - 100
    assert (await each.document(actor))["sleeps"] == 1


async def test_every_event_begins_the_idle_time_anew(h: Harness) -> None:
    actor = await h.probe()
    for _ in range(3):
        await h.call(actor, "inc", 1)
        await h.advance(20)
        assert h.state(actor) == "running"
    await h.advance(10)
    assert h.state(actor) == "absent"


async def test_a_definition_may_choose_another_idle_time(h: Harness) -> None:
    await h.define(PROBE, options=DefinitionOptions(sleep_timeout=5_000))
    actor = await h.actor()
    await h.call(actor, "inc", 1)
    await h.advance(5)
    assert h.state(actor) == "absent"


async def test_a_handler_in_work_keeps_it_awake_and_a_bare_timer_does_not(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "timer", 100_000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "act", "wait:45000")
        await h.advance(44)
        assert h.state(actor) == "running"
        await h.advance(1)
    await h.advance(30)
    assert h.state(actor) == "absent"
    await h.advance(60)
    assert (await h.document(actor))["n"] == 1


async def test_it_sleeps_when_the_guest_says_so(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "absent"
    assert (await h.document(actor))["sleeps"] == 1


async def cause_action(h: Harness, actor: str) -> None:
    await h.call(actor, "inc", 1)


async def cause_request(h: Harness, actor: str) -> None:
    reply = await h.request(actor, "/x")
    assert (reply.status, reply.body) == (201, b"GET /x 6")


async def cause_message(h: Harness, actor: str) -> None:
    (socket,) = h.gateway.held.values()
    socket.send("index")
    assert await socket.received(2) == ["welcome", "1"]


async def cause_alarm(h: Harness, actor: str) -> None:
    await h.advance(100)
    assert [fired[0] for fired in (await h.document(actor))["fired"]] == ["far"]


async def cause_open(h: Harness, actor: str) -> None:
    socket = await h.open(actor)
    assert await socket.received(1) == ["welcome"]


async def cause_close(h: Harness, actor: str) -> None:
    (socket,) = h.gateway.held.values()
    socket.close(4001, "tired")
    await h.rest()
    assert (await h.document(actor))["closes"] == [[4001, "tired"]]
    assert (await h.image(actor)).connections == ()


CAUSES = [cause_action, cause_request, cause_message, cause_alarm, cause_open, cause_close]


@pytest.mark.parametrize("cause", CAUSES, ids=[cause.__name__[6:] for cause in CAUSES])
async def test_each_cause_wakes_it_with_everything_as_it_was(
    each: Harness, cause: Callable[[Harness, str], Awaitable[None]]
) -> None:
    h = each
    actor = await h.probe()
    await h.open(actor)
    await h.call(actor, "inc", 5)
    await h.call(actor, "put", "key", "kept")
    await h.call(actor, "alarm", "far", 90_000, {"p": 1})
    await h.asleep(actor)
    starts = h.storage.hydrations
    await cause(h, actor)
    await h.rest()
    assert h.storage.hydrations == starts + 1
    state = await h.call(actor, "get")
    assert (state["wakes"], state["sleeps"]) == (2, 1)
    assert state["n"] >= 5
    assert await h.call(actor, "kv", "key") == "kept"
    assert (await h.call(actor, "alarms") == ["far"]) == (cause is not cause_alarm)


async def test_sockets_stay_open_and_the_indexes_go_on(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    for expected in range(1, 7):
        if expected % 2:
            await h.asleep(actor)
        socket.send("index")
        assert (await socket.received(expected + 1))[-1] == str(expected)
    assert socket.frames.count("welcome") == 1
    assert socket.closed is None
    assert await h.index(socket) == socket.acked == 6


async def test_messages_sent_while_asleep_are_delivered_once_and_in_order(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.asleep(actor)
    for text in ("echo a", "echo b", "echo c"):
        socket.send(text)
    await socket.received(4)
    await h.rest()
    assert socket.frames == ["welcome", "echo a", "echo b", "echo c"]
    assert (await h.document(actor))["got"] == ["echo a", "echo b", "echo c"]


async def test_what_was_attached_to_a_connection_comes_back(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("state")
    await h.rest()
    await h.asleep(actor)
    socket.send("state")
    socket.send("count")
    assert (await socket.received(2))[1] == "2 true"


async def test_messages_that_arrive_during_on_sleep_are_kept_and_delivered_after_the_wake(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "put", "stop", "wait:5000")
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "stopping"
    socket.send("echo a")
    socket.send("echo b")
    await h.rest()
    assert socket.frames == ["welcome"]
    await h.advance(5)
    assert await socket.received(3) == ["welcome", "echo a", "echo b"]
    await h.rest()
    state = await h.call(actor, "get")
    assert (state["wakes"], state["sleeps"], state["got"]) == (2, 1, ["echo a", "echo b"])
    assert await h.index(socket) == 2


async def test_an_action_that_arrives_during_on_sleep_is_answered_after_the_wake(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "wait:5000")
    await h.call(actor, "sleep")
    await h.rest()
    outcome: list[int] = []

    async def ask() -> None:
        outcome.append(await h.call(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        assert (outcome, h.state(actor)) == ([], "stopping")
        await h.advance(5)
    assert outcome == [1]


async def test_an_alarm_that_comes_due_during_on_sleep_wakes_it_again(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "wait:5000")
    await h.call(actor, "alarm", "soon", 2_000)
    await h.call(actor, "sleep")
    await h.advance(6)
    state = await h.document(actor)
    assert [fired[0] for fired in state["fired"]] == ["soon"]
    assert state["wakes"] == 2


@pytest.mark.parametrize("how", ["throw", "crash"])
async def test_an_on_sleep_that_fails_does_not_keep_it_awake(h: Harness, how: str) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", how)
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "absent"
    assert (await h.record(actor)).lifecycle == "asleep"
    # A throw is no fault: what it wrote is committed.
    assert (await h.document(actor))["sleeps"] == (1 if how == "throw" else 0)
    await h.call(actor, "put", "stop", "")
    assert (await h.call(actor, "get"))["wakes"] == 2


async def test_an_on_sleep_that_never_ends_is_cut_off_after_the_grace(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "never")
    await h.call(actor, "sleep")
    await h.advance(14.9)
    assert h.state(actor) == "stopping"
    await h.advance(0.2)
    assert h.state(actor) == "absent"


async def test_a_handler_in_work_may_end_within_the_grace(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:10000")
    await h.rest()
    await h.call(actor, "sleep")
    await h.advance(10)
    assert socket.frames == ["welcome", "did wait:10000"]
    await h.rest()
    assert h.state(actor) == "absent"
    assert await h.index(socket) == 1


async def test_a_handler_that_the_grace_ran_out_on_is_delivered_again_or_aborted(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:20000")
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "act", "wait:20000")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        await h.call(actor, "sleep")
        await h.advance(15)
    assert errors == ["actor/aborted"]
    await h.rest()
    assert [(row.kind, row.index, row.attempt) for row in (await h.image(actor)).attempts] == [("message", 1, 2)]
    await h.advance(20)
    assert socket.frames == ["welcome", "did wait:20000"]
    assert (await h.image(actor)).attempts == ()


async def test_a_message_on_which_three_graces_ran_out_is_given_up(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("sleep+wait:50000")
    for _ in range(6):
        await h.advance(15)
    await h.rest()
    assert socket.closed == (1011, "actor.poison_message")
    assert [(one.kind, one.index, one.attempts) for one in await h.letters(actor)] == [("message", 1, 3)]


async def test_a_connection_that_cannot_hibernate_keeps_it_awake(h: Harness) -> None:
    await h.define(PROBE, options=DefinitionOptions(hibernate=False))
    actor = await h.actor()
    socket = await h.open(actor)
    await h.call(actor, "sleep")
    await h.advance(100)
    assert h.state(actor) == "running"
    socket.close()
    await h.rest()
    assert h.state(actor) == "absent"


async def test_two_hundred_requests_to_a_sleeping_actor_make_one_start(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    await h.asleep(actor)
    starts, outputs = h.storage.hydrations, list[int]()

    async def ask() -> None:
        outputs.append(await h.call(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(ask)
    assert outputs == list(range(2, 202))
    assert h.storage.hydrations == starts + 1
    assert (await h.call(actor, "get"))["wakes"] == 2


async def test_an_operator_puts_it_to_sleep_and_finds_it_asleep(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    await h.asleep(actor)
    await h.placement.sleep(actor)
    assert (await h.placement.snapshot(actor)).lifecycle == "asleep"
    with pytest.raises(CallerError) as unknown:
        await h.placement.sleep("f" * 32)
    assert unknown.value.name == "actor/not_found"


async def test_an_operator_may_put_it_to_sleep_while_it_starts(h: Harness) -> None:
    actor = await h.probe(input={"start": "wait:1000"})
    outputs: list[int] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        assert h.state(actor) == "starting"
        tasks.start_soon(h.placement.sleep, actor)
        await h.advance(1)
        await h.advance(1)
    assert outputs == [1]
    assert (await h.document(actor))["sleeps"] == 1


SLEEPY = """
import { actor } from "isolate";
export default actor({
  state: { starts: 0 },
  onWake(c) { c.state.starts += 1; c.sleep(); },
  actions: { starts: (c) => c.state.starts },
});
"""


async def test_one_that_goes_to_sleep_whenever_it_wakes_is_given_what_woke_it_first(h: Harness) -> None:
    actor = await h.new(SLEEPY)
    with anyio.fail_after(3):
        assert await h.call(actor, "starts") == 1
        await h.rest()
        assert h.state(actor) == "absent"
        assert await h.call(actor, "starts") == 2
