"""Indexes of one connection that settle out of order, while isolate or process are lost at every point:
what has settled is not delivered again, and nothing is lost (D2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from host.model.effects import CommitUnit
from host.model.errors import UnavailableError
from host.model.limits import Limits
from host.placement.api import ActorService
from host.storage.driver import Fenced
from host.storage.memory import MemoryDriver
from tests.actor.fake_gateway import Socket
from tests.actor.harness import CodeShelf, Harness, open_harness
from tests.actor.interleaving import WORKER, Interleaving

pytestmark = pytest.mark.anyio

# ms that the handler of each message waits: 2 and 4 settle at once, 3 before 1, 1 last but one.
PLAN = (4_000, 0, 2_000, 0, 6_000, 1_000)


class Trapdoor(MemoryDriver):
    """Storage that gives way once, at the n-th commit: before it applies, or right after, when the process dies with it
    on disk and nothing released."""

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self.commits = 0
        self.at = at
        self.how = how
        self.dead = anyio.Event()

    async def commit(self, unit: CommitUnit) -> None:
        self.commits += 1
        if self.commits != self.at:
            await super().commit(unit)
        elif self.how == "unavailable":
            raise UnavailableError("storage", "unavailable", "the disk is full")
        elif self.how == "fenced":
            raise Fenced(unit.actor_id)
        else:
            if self.how == "dies after":
                await super().commit(unit)
            self.dead.set()
            await anyio.sleep_forever()


@asynccontextmanager
async def interleaved(shelf: CodeShelf, driver: Any = None, limits: Limits | None = None) -> AsyncIterator[Harness]:
    async with open_harness(shelf, driver, limits=limits) as h:
        h.gateway.attach(cast(ActorService, Interleaving(h.placement)))
        yield h


async def opened(h: Harness) -> tuple[str, Socket]:
    actor = await h.new(WORKER, limits={"host_calls": 64})
    socket = await h.open(actor)
    await h.rest()
    return actor, socket


async def row_of(h: Harness, actor: str) -> tuple[int, tuple[int, ...]]:
    (row,) = (await h.image(actor)).connections
    return row.msg_index, row.settled_ahead


def came_back(h: Harness, socket: Socket) -> Socket:
    """The client of a host that died, with what it has not seen acknowledged."""
    again = Socket(h.gateway, socket.opened)
    again.last, again.acked, again.buffer, again.open_acked = socket.last, socket.acked, dict(socket.buffer), True
    h.gateway.held[socket.conn] = again
    return again


async def check_history(h: Harness, actor: str, socket: Socket) -> None:
    """Every message took effect once; the index is whole, acknowledged, and nothing is left above it."""
    done = await h.call(actor, "read", "done")
    assert sorted(done) == list(range(1, len(PLAN) + 1)), done
    begun: list[list[int]] = await h.call(actor, "read", "begun")
    settled_at_once = [index for index, ms in enumerate(PLAN, 1) if not ms]
    assert [index for index, _ in begun if index in settled_at_once] == settled_at_once
    first = [index for index, attempt in begun if attempt == 1]
    assert sorted(set(first)) == list(range(1, len(PLAN) + 1))
    assert await row_of(h, actor) == (len(PLAN), ())
    assert (socket.acked, socket.buffer) == (len(PLAN), {})


async def test_d2_the_index_waits_for_the_gap_and_what_settled_above_it_is_kept_beside_it(shelf: CodeShelf) -> None:
    async with interleaved(shelf) as h:
        actor, socket = await opened(h)
        for ms in PLAN:
            socket.send(str(ms))
        await h.rest()
        assert await row_of(h, actor) == (0, (2, 4))
        assert socket.acked == 0
        await h.advance(1)
        assert await row_of(h, actor) == (0, (2, 4, 6))
        await h.advance(1)
        assert await row_of(h, actor) == (0, (2, 3, 4, 6))
        assert socket.acked == 0
        await h.advance(2)
        assert await row_of(h, actor) == (4, (6,))
        assert socket.acked == 4
        await h.advance(2)
        await check_history(h, actor, socket)
        indexes = [row.msg_index for unit in h.storage.units for row in unit.indexes]
        assert indexes == sorted(indexes)


@pytest.mark.parametrize("how", ["unavailable", "fenced", "dies before", "dies after"])
async def test_d2_nothing_that_settled_ahead_is_delivered_again_whichever_commit_the_actor_is_lost_at(
    shelf: CodeShelf, how: str
) -> None:
    tried = 0
    for at in range(3, 40):  # 1 and 2 are the start and the opening
        driver = Trapdoor(at, how)
        with anyio.fail_after(20):
            if not await run_with(shelf, driver):
                break
        tried += 1
    assert tried >= 5, "every commit of the scenario was one to be lost at"


async def run_with(shelf: CodeShelf, driver: Trapdoor) -> bool:
    """Whether the loss happened. What the action asks at the end is not part of the scenario."""
    async with interleaved(shelf, driver) as h:
        actor, socket = await opened(h)
        for ms in PLAN:
            socket.send(str(ms))
            await part_of_a_second(h, driver)
        for _ in range(8):
            if driver.dead.is_set():
                break
            await part_of_a_second(h, driver, 1.0)
        if not driver.dead.is_set():
            lost = driver.commits >= driver.at
            driver.at = 0
            await h.advance(40)
            await check_history(h, actor, socket)
            return lost
    driver.at = 0
    async with interleaved(shelf, driver) as h:
        again = came_back(h, socket)
        await h.call(actor, "inc")
        await h.rest()
        for ms in PLAN[again.last :]:
            again.send(str(ms))
        await h.advance(40)
        await check_history(h, actor, again)
    return True


async def part_of_a_second(h: Harness, driver: Trapdoor, seconds: float = 0.0) -> None:
    """Time goes on, unless the process is dead: then nothing comes to rest any more."""
    async with anyio.create_task_group() as tasks:

        async def give_up() -> None:
            await driver.dead.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(give_up)
        await h.advance(seconds)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("after", [0.0, 0.5, 1.5, 3.0, 5.0])
async def test_d2_nor_is_it_after_another_events_fault_or_a_sleep(shelf: CodeShelf, after: float) -> None:
    async with interleaved(shelf) as h:
        actor, socket = await opened(h)
        for ms in PLAN:
            socket.send(str(ms))
        await h.advance(after)
        before = await row_of(h, actor)
        assert (await h.error(actor, "crash")).name == "guest/budget"
        await h.rest()
        assert await row_of(h, actor) == before
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.placement.sleep, actor)  # ends with what is in work, or with the grace
            await h.advance(40)
        await check_history(h, actor, socket)


async def test_d2_a_message_further_above_the_watermark_than_allowed_does_not_begin(shelf: CodeShelf) -> None:
    async with interleaved(shelf, limits=Limits(settled_ahead=4)) as h:
        actor, socket = await opened(h)
        socket.send("5000")
        for _ in range(9):
            socket.send("0")
        await h.rest()
        assert await row_of(h, actor) == (0, (2, 3, 4))
        # Another connection is not held up, and neither is an action.
        other = await h.open(actor)
        other.send("0")
        assert await other.received(1) == ["1"]
        assert await h.call(actor, "inc") == 1
        await h.advance(5)
        assert socket.acked == 10
        assert [name for name, _ in await h.call(actor, "read", "begun")] == [1, 2, 3, 4, 1, *range(5, 11)]
        assert max(len(row.settled_ahead) for unit in h.storage.units for row in unit.indexes) == 3


async def test_d2_the_bound_holds_at_its_full_size(shelf: CodeShelf) -> None:
    async with interleaved(shelf) as h:
        actor, socket = await opened(h)
        socket.send("5000")
        for _ in range(1_100):
            socket.send("0")
        await h.rest()
        index, ahead = await row_of(h, actor)
        assert (index, ahead[0], ahead[-1], len(ahead)) == (0, 2, 1_024, 1_023)
        await h.advance(5)
        assert await row_of(h, actor) == (1_101, ())
        assert socket.acked == 1_101


async def test_d4_a_close_waits_for_every_message_of_its_connection(shelf: CodeShelf) -> None:
    async with interleaved(shelf) as h:
        actor, socket = await opened(h)
        for ms in (2_000, 1_000):
            socket.send(str(ms))
        socket.close()
        await h.advance(1.5)
        assert await h.call(actor, "read", "done") == [2]
        await h.advance(1)
        assert await h.call(actor, "read", "done") == [2, 1, "closed"]
        assert (await h.image(actor)).connections == ()
