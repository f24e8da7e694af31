"""Storage that fails: before a commit, in it, and by refusing an old instance."""

from __future__ import annotations

import anyio
import pytest

from host.storage.driver import CommitUnknown
from tests.actor.harness import Failed, Harness

pytestmark = pytest.mark.anyio


async def test_a_message_whose_commit_failed_is_delivered_again_as_if_for_the_first_time(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.unavailable()
    socket.send("echo a")
    socket.send("echo b")
    await h.rest()
    assert socket.frames == ["welcome"]
    assert socket.acked == 0
    await h.advance(1)
    assert socket.frames == ["welcome", "echo a", "echo b"]
    state = await h.call(actor, "get")
    assert (state["got"], state["wakes"]) == (["echo a", "echo b"], 2)
    assert await h.index(socket) == socket.acked == 2
    assert (await h.image(actor)).attempts == ()
    assert h.count("commits_refused", "storage/unavailable") == 1


async def test_a_message_keeps_its_attempt_when_the_commit_after_a_fault_fails(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("crash<3")
    h.storage.unavailable()
    await h.rest()
    await h.advance(1)
    # Two faults and one failed commit: the third delivery that counts went well.
    assert socket.frames == ["welcome", "well at 3"]
    assert h.count("guest_faults") == 3
    assert await h.letters(actor) == []


async def test_actions_and_requests_of_the_hop_and_those_that_come_in_the_back_off_are_told(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    h.storage.unavailable()
    assert (await h.error(actor, "inc", 1)).name == "storage/unavailable"
    await h.rest()
    socket = await h.open(actor)
    h.storage.unavailable()
    socket.send("echo a")
    await h.rest()
    error = await h.error(actor, "inc", 1)
    assert (error.name, error.retryable) == ("storage/unavailable", True)
    reply = await h.request(actor)
    assert reply.error is not None
    assert reply.error.name == "storage/unavailable"
    await h.advance(1)
    assert await h.call(actor, "inc", 1) == 2
    assert socket.frames == ["welcome", "echo a"]


async def test_the_back_off_grows_while_storage_keeps_failing_and_starts_anew_after_a_success(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.unavailable(3)
    socket.send("echo a")
    for seconds in (1, 2, 4):
        await h.advance(seconds - 0.1)
        assert socket.frames == ["welcome"]
        await h.advance(0.1)
    assert socket.frames == ["welcome", "echo a"]
    h.storage.unavailable()
    socket.send("echo b")
    await h.advance(1)
    assert socket.frames == ["welcome", "echo a", "echo b"]


async def test_an_open_whose_commit_failed_is_delivered_again(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    h.storage.unavailable()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.open, actor)
        await h.rest()
        assert h.happened("frame", "opened") == []
        await h.advance(1)
    (socket,) = h.gateway.held.values()
    assert socket.frames == ["welcome"]
    assert [row.conn_id for row in (await h.image(actor)).connections] == [socket.conn]


async def test_an_alarm_whose_commit_failed_fires_again_with_its_attempt(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000)
    h.storage.unavailable()
    await h.advance(1)
    assert (await h.document(actor))["fired"] == []
    await h.advance(1)
    assert [one[:2] for one in (await h.document(actor))["fired"]] == [["x", 1]]


async def test_a_start_whose_commit_failed_is_tried_again_and_is_no_failed_start(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.asleep(actor)
    h.storage.unavailable()
    socket.send("echo a")
    await h.rest()
    assert h.count("start_failures") == 0
    await h.advance(1)
    assert socket.frames == ["welcome", "echo a"]
    assert (await h.record(actor)).attempt == 0


async def test_a_sleep_whose_commit_failed_ends_the_instance_all_the_same(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    h.storage.unavailable()
    await h.placement.sleep(actor)
    await h.rest()
    assert h.state(actor) == "absent"
    assert await h.call(actor, "inc", 1) == 2


async def test_a_fenced_instance_ends_without_a_retry_and_the_next_one_reads_the_disk(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.fenced()
    socket.send("echo a")
    await socket.received(2)
    await h.rest()
    assert socket.frames == ["welcome", "echo a"]
    assert h.count("commits_refused", "fenced") == 1
    assert (await h.call(actor, "get"))["wakes"] == 2
    h.storage.fenced()
    assert (await h.error(actor, "inc", 1)).name == "actor/aborted"
    await h.rest()
    await h.advance(0.3)  # fenced twice in a row, it looks again after a moment
    assert (await h.call(actor, "get"))["n"] == 0


async def test_an_action_that_only_waited_behind_a_fenced_hop_is_carried_out_by_the_next_instance(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    outcomes: dict[str, object] = {}

    async def ask(name: str) -> None:
        try:
            outcomes[name] = await h.call(actor, "inc", 10)
        except Failed as failed:
            outcomes[name] = failed.name

    h.executor.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "in the hop")
        await h.executor.until_held()
        tasks.start_soon(ask, "behind it")
        await h.rest()
        h.storage.fenced()
        h.executor.release()
    assert outcomes == {"in the hop": "actor/aborted", "behind it": 11}


async def test_a_commit_of_which_nobody_knows_ends_the_process_and_releases_nothing(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.unknown()
    h.storage.unavailable(5)
    socket.send("echo a")
    await h.rest()
    assert [type(error) for error in h.fatal] == [CommitUnknown]
    assert socket.frames == ["welcome"]
    assert socket.acked == 0


@pytest.mark.parametrize("what", ["destroy", "create"])
async def test_a_destroy_or_creation_of_which_nobody_knows_ends_the_process_too(h: Harness, what: str) -> None:
    actor = await h.probe()
    h.storage.driver.fail_next("unknown")  # type: ignore[attr-defined]
    with pytest.raises(CommitUnknown):
        await (h.placement.destroy(actor) if what == "destroy" else h.actor(key="other"))
    assert [type(error) for error in h.fatal] == [CommitUnknown]


async def test_a_hop_that_breaks_in_the_host_itself_leaves_no_caller_without_an_answer(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    errors: list[str] = []

    async def ask(what: str) -> None:
        errors.append((await h.error(actor, "act", what)).name)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "wait:1000")
            await h.rest()
            h.executor.break_next.append(ZeroDivisionError("a bug of the host"))
            tasks.start_soon(ask, "wait:10")
            await h.rest()
    assert len(errors) == 2
    assert h.count("actor_tasks_failed") == 1
    assert await h.call(actor, "inc", 1) == 3
