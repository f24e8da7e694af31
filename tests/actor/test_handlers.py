"""Handlers that take too long, wait for nothing, or throw."""

from __future__ import annotations

import anyio
import pytest
from structlog.testing import capture_logs

from host.model.definitions import DefinitionOptions
from tests.actor.guests import Step, error, raw, scripted, settle
from tests.actor.harness import PROBE, Harness

pytestmark = pytest.mark.anyio


async def ends_with(h: Harness, actor: str, what: str, seconds: float) -> str:
    """The error of an action that is given that much time."""
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "act", what)).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.advance(seconds - 0.1)
        assert errors == []
        await h.advance(0.2)
    return errors[0]


async def test_a_handler_that_waits_too_long_for_a_timer_has_timed_out(h: Harness) -> None:
    actor = await h.probe()
    assert await ends_with(h, actor, "wait:70000", 60) == "actor/action_timed_out"


async def test_a_handler_that_waits_for_nothing_is_stuck(h: Harness) -> None:
    actor = await h.probe()
    assert await ends_with(h, actor, "never", 60) == "guest/stuck"


async def test_a_definition_may_choose_another_time(h: Harness) -> None:
    await h.define(PROBE, options=DefinitionOptions(action_timeout=2_000))
    actor = await h.actor()
    assert await ends_with(h, actor, "wait:3000", 2) == "actor/action_timed_out"


async def test_the_guest_may_settle_an_event_once_after_the_host_did_and_lives_on(h: Harness) -> None:
    actor = await h.probe()
    assert await ends_with(h, actor, "wait:61000", 60) == "actor/action_timed_out"
    await h.advance(2)
    assert h.count("guest_faults") == 0
    # What the handler did, before and after, counts: it threw nothing.
    assert (await h.call(actor, "get"))["n"] == 1
    assert (await h.call(actor, "get"))["wakes"] == 1


async def test_a_message_that_times_out_moves_its_index_on_and_the_next_is_delivered(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("never")
    socket.send("echo next")
    await h.advance(59)
    assert socket.frames == ["welcome"]
    await h.advance(2)
    assert socket.frames == ["welcome", "echo next"]
    assert socket.closed is None
    assert await h.index(socket) == socket.acked == 2
    assert h.count("events_failed", "guest/stuck") == 1


async def test_an_event_that_nothing_can_settle_any_more_is_stuck_once_stop_has_settled(h: Harness) -> None:
    actor = await h.probe()
    await h.open(actor)
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
        await h.advance(15)


async def test_a_throw_in_a_message_handler_is_no_fault(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    with capture_logs() as logs:
        socket.send("throw")
        socket.send("echo on")
        await socket.received(2)
        await h.rest()
    assert socket.closed is None
    assert await h.index(socket) == socket.acked == 2
    state = await h.call(actor, "get")
    assert (state["wakes"], state["got"]) == (1, ["throw", "echo on"])
    assert (h.count("guest_faults"), h.count("events_failed", "internal/internal_error")) == (0, 1)
    (line,) = [line for line in logs if line["event"] == "handler failed"]
    assert "on purpose" in line["detail"]


async def test_what_a_throwing_handler_wrote_is_committed(h: Harness) -> None:
    actor = await h.probe()
    failed = await h.error(actor, "act", "throw")
    assert failed.name == "internal/internal_error"
    assert "on purpose" not in failed.message
    assert (await h.document(actor))["n"] == 1


async def test_a_user_error_reaches_the_caller_as_it_is(h: Harness) -> None:
    actor = await h.probe()
    failed = await h.error(actor, "act", "user:broke")
    assert (failed.name, failed.message) == ("user/broke", "no")


async def test_a_guest_cannot_forge_an_error_of_the_host(h: Harness) -> None:
    actor = await h.new(scripted(settle(1), error(2, "actor", "destroyed"), error(3, "storage", "unavailable")))
    assert (await h.error(actor, "x")).name == "internal/internal_error"
    assert (await h.error(actor, "x")).name == "internal/internal_error"


@pytest.mark.parametrize(("path", "reason"), [("/throw", "internal.internal_error"), ("/user", "user.no_entry")])
async def test_a_throw_when_a_socket_opens_closes_it_and_its_row_goes(h: Harness, path: str, reason: str) -> None:
    actor = await h.probe()
    other = await h.open(actor)
    socket = await h.open(actor, path=path)
    assert socket.closed == (1011, reason)
    await h.rest()
    assert [row.conn_id for row in (await h.image(actor)).connections] == [other.conn]
    assert other.closed is None
    assert h.count("socket_closes", "open_failed") == 1


async def test_a_fault_when_a_socket_opens_closes_it_with_the_code_and_its_row_goes(h: Harness) -> None:
    actor = await h.probe()
    other = await h.open(actor)
    socket = await h.open(actor, path="/crash")
    assert socket.closed == (1011, "guest.budget")
    other.send("echo on")
    assert (await other.received(2))[1] == "echo on"
    await h.rest()
    assert [row.conn_id for row in (await h.image(actor)).connections] == [other.conn]


async def test_an_unknown_action_is_told_before_and_after_the_actor_runs(h: Harness) -> None:
    actor = await h.probe()
    for _ in range(2):
        assert (await h.error(actor, "nope")).name == "actor/action_not_found"


async def test_an_answer_that_is_too_long_is_an_error_of_the_message(h: Harness) -> None:
    js = "import {actor} from 'isolate'; export default actor({actions: {big: (c, n) => 'x'.repeat(n)}});"
    actor = await h.new(js, limits={"action": 1_000})
    assert len(await h.call(actor, "big", 900)) == 900
    assert (await h.error(actor, "big", 1_100)).name == "message/outgoing_too_long"


HOSTILE = [
    raw("this is no JSON"),
    raw('{"settled":[{"event":2},{"event":2}],"pending":0}'),
    raw('{"settled":[{"event":99}],"pending":0}'),
    raw('{"settled":[{"event":1}],"pending":0}'),
    raw('{"settled":[{"event":2,"result":1,"error":{"group":"a","code":"b","message":"c"}}],"pending":0}'),
    raw('{"settled":[],"pending":-1}'),
    raw('{"settled":[{"event":2,"result":["$Nonsense",1]}],"pending":0}'),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_reply_that_lies_is_a_fault_of_that_event_alone(h: Harness, hostile: Step) -> None:
    actor = await h.new(scripted(settle(1), hostile))
    assert (await h.error(actor, "x")).name == "guest/bad_reply"
    await h.rest()
    assert h.state(actor) == "running"
    assert h.count("guest_faults", "guest/bad_reply") == 1


async def test_a_loop_without_end_is_stopped_and_others_work_on(h: Harness) -> None:
    js = "import {actor} from 'isolate'; export default actor({actions: {loop() { for (;;) ; }, ok: () => 1}});"
    actor = await h.new(js, limits={"turn_deadline": 50})
    other = await h.actor(key="other")
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "loop")).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        assert await h.call(other, "ok") == 1
    assert errors == ["guest/deadline"]
    assert await h.call(actor, "ok") == 1
