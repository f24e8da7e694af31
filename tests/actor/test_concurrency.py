"""What interleaves in one actor and what does not (D4), on schedules drawn from seeds."""

from __future__ import annotations

import random

import anyio
import pytest

from tests.actor.fake_gateway import Socket
from tests.actor.harness import Harness
from tests.actor.interleaving import WORKER

pytestmark = pytest.mark.anyio

CONNECTIONS, MESSAGES = 5, 8


@pytest.mark.parametrize("seed", range(3))
async def test_connections_interleave_and_the_messages_of_one_do_not(h: Harness, seed: int) -> None:
    own = random.Random(seed)
    actor = await h.new(WORKER)
    sockets = {f"/{name}": await h.open(actor, path=f"/{name}") for name in range(CONNECTIONS)}
    for _ in range(MESSAGES):
        for socket in own.sample(list(sockets.values()), CONNECTIONS):
            socket.send(str(own.choice((0, 10, 100, 1_000))))
    await h.advance(MESSAGES)
    begun = [name for name, _ in await h.call(actor, "read", "begun")]
    done = await h.call(actor, "read", "done")
    for path, socket in sockets.items():
        names = [f"{path}{index}" for index in range(1, MESSAGES + 1)]
        assert [name for name in begun if name.startswith(path)] == names
        assert [name for name in done if name.startswith(path)] == names
        assert socket.frames == [str(index) for index in range(1, MESSAGES + 1)]
    assert begun != done, "connections did interleave"


async def test_a_message_begins_only_when_the_former_of_its_connection_has_settled(h: Harness) -> None:
    actor = await h.new(WORKER)
    socket = await h.open(actor)
    for _ in range(3):
        socket.send("1000")
    for count in (1, 2, 3):
        await h.rest()
        assert len(await h.call(actor, "read", "begun")) == count
        assert await h.call(actor, "read", "done") == list(range(1, count))
        await h.advance(1)
    assert await h.call(actor, "read", "done") == [1, 2, 3]


async def test_actions_begin_in_order_and_interleave_at_their_awaits(h: Harness) -> None:
    actor = await h.new(WORKER)
    waits = {"a": 3_000, "b": 1_000, "c": 0, "d": 2_000, "e": 1_500}
    answered: list[str] = []

    async def ask(name: str) -> None:
        await h.call(actor, "work", name, waits[name])
        answered.append(name)

    async with anyio.create_task_group() as tasks:
        for name in waits:
            tasks.start_soon(ask, name)
        await h.advance(4)
    assert [name for name, _ in await h.call(actor, "read", "begun")] == list(waits)
    in_time = sorted(waits, key=lambda name: waits[name])
    assert await h.call(actor, "read", "done") == in_time
    assert answered == in_time


async def test_a_slow_handler_on_one_connection_holds_up_no_other(h: Harness) -> None:
    actor = await h.new(WORKER)
    slow, quick = await h.open(actor, path="/slow"), await h.open(actor, path="/quick")
    slow.send("30000")
    slow.send("0")
    began = h.clock.monotonic()
    for _ in range(50):
        quick.send("0")
    await quick.received(50)
    assert await h.call(actor, "inc") == 1
    assert h.clock.monotonic() == began
    assert (quick.acked, slow.acked, slow.frames) == (50, 0, [])
    await h.advance(30)
    assert (slow.acked, slow.frames) == (2, ["1", "2"])


async def test_a_handler_that_throws_or_is_lost_lets_its_connection_go_on(h: Harness) -> None:
    actor = await h.probe()
    sockets: list[Socket] = [await h.open(actor) for _ in range(3)]
    for socket, first in zip(sockets, ("throw", "crash<2", "wait:1000"), strict=True):
        socket.send(first)
        socket.send("echo next")
    await h.advance(2)
    assert [socket.frames[-1] for socket in sockets] == ["echo next"] * 3
    assert [socket.acked for socket in sockets] == [2, 2, 2]
