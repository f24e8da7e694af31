"""A wake that takes too long does not keep its sockets waiting for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest

from host.model.limits import Limits
from tests.actor.fake_gateway import Socket
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

REFUSED = (1013, "ws.wake_timeout")


async def asleep_and_broken(h: Harness, seconds: float, sockets: int = 2) -> tuple[str, list[Socket]]:
    """An actor that sleeps, and cannot start for so many seconds."""
    actor = await h.probe()
    opened = [await h.open(actor) for _ in range(sockets)]
    await h.call(actor, "put", "start", f"until:{h.clock.now_ms() + int(seconds * 1_000)}")
    await h.asleep(actor)
    return actor, opened


async def test_after_ninety_seconds_the_waiting_sockets_are_closed_and_their_messages_refused(h: Harness) -> None:
    actor, (waiting, quiet) = await asleep_and_broken(h, 1_000)
    for text in ("echo a", "echo b", "echo c"):
        waiting.send(text)
    await h.advance(89.9)
    assert (waiting.closed, h.state(actor)) == (None, "failed")
    await h.advance(0.2)
    assert waiting.closed == REFUSED
    assert waiting.frames == ["welcome"]
    assert h.count("messages_refused", "ws.wake_timeout") == 3
    assert h.count("socket_closes", "ws.wake_timeout") == 1
    assert quiet.closed is None
    assert len((await h.image(actor)).connections) == 2


async def test_once_it_starts_the_actor_is_told_of_that_close_once_and_of_no_message(h: Harness) -> None:
    actor, (waiting, quiet) = await asleep_and_broken(h, 100)
    waiting.send("echo a")
    await h.advance(135)
    assert waiting.closed == REFUSED
    state = await h.document(actor)
    assert state["closes"] == [list(REFUSED)]
    assert (state["got"], state["wakes"]) == ([], 2)
    assert [row.conn_id for row in (await h.image(actor)).connections] == [quiet.conn]
    quiet.send("index")
    assert (await quiet.received(2))[1] == "1"
    assert h.count("socket_closes", "ws.restore_error") == 0


async def test_a_wake_that_ends_in_time_delivers_everything(h: Harness) -> None:
    actor, (waiting, _) = await asleep_and_broken(h, 60)
    waiting.send("echo a")
    await h.advance(89)
    assert (waiting.closed, waiting.frames) == (None, ["welcome", "echo a"])
    # That wake is over: another one has its own time.
    await h.call(actor, "put", "start", f"until:{h.clock.now_ms() + 1_000_000}")
    await h.asleep(actor)
    waiting.send("echo b")
    await h.advance(89)
    assert waiting.closed is None
    await h.advance(2)
    assert waiting.closed == REFUSED


async def test_a_client_that_left_before_is_not_refused_but_told(h: Harness) -> None:
    actor, (leaving, _) = await asleep_and_broken(h, 100)
    leaving.send("echo a")
    leaving.close(4001, "tired")
    await h.advance(135)
    assert h.count("messages_refused", "ws.wake_timeout") == 0
    state = await h.document(actor)
    assert (state["got"], state["closes"]) == (["echo a"], [[4001, "tired"]])


async def test_storage_that_cannot_be_read_is_a_wake_that_takes_too_long_as_well(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.asleep(actor)
    h.storage.hold_starts()
    socket.send("echo a")
    await h.storage.until_start_held()
    await h.advance(90.1)
    assert socket.closed == REFUSED
    h.storage.release()
    await h.rest()
    state = await h.document(actor)
    assert (state["got"], state["closes"]) == ([], [list(REFUSED)])
    assert (await h.image(actor)).connections == ()


async def test_an_open_that_no_actor_ever_took_in_ends_with_its_socket(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "put", "start", f"until:{h.clock.now_ms() + 100_000}")
    h.executor.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.error, actor, "act", "crash")
        await h.executor.until_held()
        socket = await h.gateway.open(actor)
        socket.send("echo a")
        h.executor.release()
    await h.advance(135)
    assert socket.closed == REFUSED
    state = await h.document(actor)
    assert (state["got"], state["closes"]) == ([], [])
    assert (await h.image(actor)).connections == ()


@pytest.fixture
async def full(shelf: CodeShelf) -> AsyncIterator[Harness]:
    """A node with room for one actor."""
    async with open_harness(shelf, limits=Limits(actors=1)) as harness:
        yield harness


async def two_actors(h: Harness) -> tuple[str, str, Callable[[], Awaitable[None]], Socket, Socket]:
    """One that sleeps, with two sockets, and one that has taken its room."""
    sleeping = await h.probe()
    waiting, quiet = await h.open(sleeping), await h.open(sleeping)
    await h.asleep(sleeping)
    awake, end = await h.busy()
    return sleeping, awake, end, waiting, quiet


async def test_a_socket_whose_actor_finds_no_room_waits_no_longer_either(full: Harness) -> None:
    sleeping, awake, end, waiting, quiet = await two_actors(full)
    waiting.send("echo a")
    waiting.send("echo b")
    for _ in range(4):
        await full.advance(20)
        await full.call(awake, "inc", 1)
    await full.advance(9.9)
    assert waiting.closed is None
    await full.call(awake, "inc", 1)
    await full.advance(0.2)
    assert [socket.closed for socket in (waiting, quiet)] == [REFUSED, None]
    assert full.count("messages_refused", "ws.wake_timeout") == 2
    await end()
    await full.rest()
    state = await full.document(sleeping)
    assert (state["got"], state["closes"]) == ([], [[1006, "ws.stale_metadata"]])


async def test_a_socket_whose_actor_finds_room_in_time_is_served(full: Harness) -> None:
    _sleeping, awake, end, waiting, _ = await two_actors(full)
    waiting.send("echo a")
    await full.advance(20)
    await full.call(awake, "inc", 1)
    await end()
    assert await waiting.received(2) == ["welcome", "echo a"]
    await full.advance(100)
    assert (waiting.closed, full.count("messages_refused", "ws.wake_timeout")) == (None, 0)
    assert await full.index(waiting) == 1
