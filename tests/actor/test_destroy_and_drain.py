"""Destroy beats everything; a drain puts everything to sleep."""

from __future__ import annotations

import anyio
import pytest

from host.model.errors import CallerError, DormiceError
from tests.actor.harness import TENANT, Harness

pytestmark = pytest.mark.anyio

# Of a stop that the host wants over, in seconds.
GRACE = 5


async def gone(h: Harness, actor: str) -> None:
    """Every trace of it but the tombstone of its key."""
    await h.rest()
    assert await h.storage.driver.hydrate(actor) is None
    assert await h.storage.kv_size(actor) == (0, 0)
    assert h.placement.directory.counts() == {}
    for what in (h.placement.destroy(actor), h.placement.record(actor), h.placement.snapshot(actor)):
        with pytest.raises(CallerError) as refused:
            await what
        assert refused.value.name == "actor/not_found"
    assert (await h.error(actor, "get")).name == "actor/not_found"
    record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
    assert (created, record.generation) == (True, 2)
    assert record.actor_id != actor


async def test_while_it_runs(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "alarm", "x", 1_000)
    await h.placement.destroy(actor)
    assert socket.closed == (1000, "actor.destroyed")
    await gone(h, actor)
    await h.advance(2)
    assert h.count("socket_closes", "actor.destroyed") == h.count("actors_destroyed") == 1


async def test_while_it_sleeps(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "alarm", "x", 50_000)
    await h.asleep(actor)
    starts = h.storage.hydrations
    await h.placement.destroy(actor)
    assert socket.closed == (1000, "actor.destroyed")
    await h.advance(100)
    assert h.storage.hydrations == starts + 1
    await gone(h, actor)


@pytest.mark.parametrize("where", ["hydrating", "waking the isolate", "in the guest", "waiting"])
async def test_while_it_starts(h: Harness, where: str) -> None:
    actor = await h.probe(input={"start": "wait:1000"})
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "inc", 1)).name)

    async with anyio.create_task_group() as tasks:
        if where == "hydrating":
            h.storage.hold_starts()
        elif where == "waking the isolate":
            h.executor.hold()
        tasks.start_soon(ask)
        if where == "in the guest":
            await h.rest()
            h.executor.hold()
            await h.clock.advance(1)
            await h.executor.until_held()
        await h.rest()
        assert h.state(actor) in ("starting", "absent")
        await h.placement.destroy(actor)
        h.storage.release()
        h.executor.release()
        await h.rest()
    assert errors == ["actor/not_found"]
    assert h.count("actor_tasks_failed") == 0
    await gone(h, actor)


async def test_during_a_running_hop_everyone_who_waits_is_told(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    errors: list[str] = []

    async def ask(what: str) -> None:
        errors.append((await h.error(actor, "act", what)).name)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "wait:1000")
            await h.rest()
            h.executor.hold()
            tasks.start_soon(ask, "settles in the hop")
            tasks.start_soon(ask, "wait:10")
            socket.send("echo a")
            await h.executor.until_held()
            tasks.start_soon(ask, "comes after the hop")
            await h.rest()
            await h.destroy(actor, GRACE)
            assert socket.closed == (1000, "actor.destroyed")
            h.executor.release()
    assert len(errors) == 4
    assert set(errors) <= {"actor/aborted", "actor/destroyed", "actor/not_found"}
    assert socket.frames == ["welcome"]
    await gone(h, actor)


async def test_while_a_commit_is_under_way(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.hold()
    socket.send("echo a")
    await h.storage.until_held()
    await h.destroy(actor, GRACE)
    h.storage.release()
    await h.rest()
    assert socket.frames == ["welcome"]
    assert socket.acked == 0
    await gone(h, actor)


async def test_while_it_has_failed(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    await h.error(actor, "inc", 1)
    await h.placement.destroy(actor)
    await gone(h, actor)


async def test_while_it_falls_asleep(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "never")
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "stopping"
    await h.destroy(actor, GRACE)
    await gone(h, actor)


async def test_concurrent_destroys_are_one(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    outcomes: list[str] = []

    async def destroy() -> None:
        try:
            await h.placement.destroy(actor)
            outcomes.append("done")
        except DormiceError as error:
            outcomes.append(error.name)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(destroy)
    assert outcomes == ["done"] * 5
    assert h.count("actors_destroyed") == 1
    await gone(h, actor)


async def test_a_drain_puts_everyone_to_sleep_and_refuses_new_work(h: Harness) -> None:
    actors = [await h.probe()] + [await h.actor(key=f"k{n}") for n in range(4)]
    sockets = [await h.open(actor) for actor in actors]
    await h.placement.drain()
    assert h.placement.directory.counts() == {}
    for actor, socket in zip(actors, sockets, strict=True):
        assert (await h.record(actor)).lifecycle == "asleep"
        assert (await h.document(actor))["sleeps"] == 1
        assert socket.closed is None
        assert (await h.error(actor, "get")).name == "node/draining"
    sockets[0].send("echo late")
    assert h.count("starts_refused", "node.draining") == 6
    assert h.count("events_refused", "node/draining") == 1
    assert list(sockets[0].buffer) == [1]


async def test_a_drain_waits_for_handlers_within_their_grace(h: Harness) -> None:
    actor = await h.probe()
    outputs: list[str] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "act", "wait:4000"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        tasks.start_soon(h.placement.drain)
        await h.advance(4)
    assert outputs == ["did wait:4000"]
    assert (await h.record(actor)).lifecycle == "asleep"


@pytest.mark.parametrize("where", ["hydrating", "waking the isolate"])
async def test_a_drain_reaches_an_actor_that_starts(h: Harness, where: str) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.asleep(actor)
    if where == "hydrating":
        h.storage.hold_starts()
    else:
        h.executor.hold()
    socket.send("echo a")
    await (h.storage.until_start_held() if where == "hydrating" else h.executor.until_held())
    drained = anyio.Event()

    async def drain() -> None:
        await h.placement.drain()
        drained.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain)
        await h.rest()
        h.storage.release()
        h.executor.release()
        await h.rest()
        done_at_once = drained.is_set()
        await h.advance(60)
    assert done_at_once
    assert h.placement.directory.counts() == {}
    # What was not acknowledged stays with the gateway.
    assert list(socket.buffer) == ([] if socket.acked else [1])


async def test_an_action_that_waits_behind_a_drain_is_told_that_the_node_drains(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "stop", "wait:1000")
    await h.call(actor, "sleep")
    await h.rest()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "inc", 1)).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        tasks.start_soon(h.placement.drain)
        await h.advance(1)
    assert errors == ["node/draining"]
