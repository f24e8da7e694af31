"""The matrix: every fail point crossed with every blow that needs no process to die."""

from __future__ import annotations

import pytest

from host.bridge.host_calls import HOST_CALLS
from host.model.failpoints import AFTER_CALL, FailPoint
from tests.actor.guests import scripted, settle
from tests.actor.harness import CodeShelf, open_harness
from tests.crash.cells import APART, CELLS, IMPOSSIBLE, Blow, in_process, real_kills
from tests.crash.outside import Outside
from tests.crash.striker import Striker
from tests.crash.writer import WRITER

pytestmark = pytest.mark.anyio

# A guest that makes the one call that JavaScript never makes, in each message.
CLOCKED = scripted(settle(1), settle(2), *(settle(event, call={"call": "now"}) for event in range(3, 12)))
# One that ends itself when it is told to, and says that it did.
ENDED = """
import { actor } from "isolate";
export default actor({
  state: { n: 0 },
  async onDestroy(c) { await c.kv.put("ended", "1"); },
  onWebSocket(c, ws) { ws.onmessage = (e) => { c.state.n += 1; ws.send("bye"); if (e.data === "end") c.destroy(); }; },
});
"""


def cell_id(cell: object) -> str:
    assert isinstance(cell, FailPoint | Blow)
    return cell.name.lower()


def test_there_is_a_point_behind_every_host_call() -> None:
    assert AFTER_CALL.keys() == {row.name for row in HOST_CALLS}


def test_every_cell_is_tested_or_listed_with_its_reason() -> None:
    tested = [*in_process(), *((point, Blow.KILL) for point in real_kills())]
    assert len(tested) + len(IMPOSSIBLE) == len(CELLS)
    assert {*tested, *IMPOSSIBLE} == set(CELLS)
    assert all(IMPOSSIBLE.values())


@pytest.mark.parametrize("point", [point for point in FailPoint if point not in APART], ids=cell_id)
async def test_the_scenario_passes_every_fail_point(shelf: CodeShelf, point: FailPoint) -> None:
    striker, outside = await run(shelf, point, None, 1)
    assert striker.hits > 0
    assert outside.broken() == []
    assert outside.once.told == outside.once.asked
    assert [len(line.told) for line in outside.lines.values()] == [9, 2]
    assert len(outside.rows()) == 9 + 2 + 4


@pytest.mark.parametrize("nth", [1, 2, 5], ids=lambda nth: f"hit{nth}")
@pytest.mark.parametrize(("point", "blow"), [cell for cell in in_process() if cell[0] not in APART], ids=cell_id)
async def test_a_blow_breaks_nothing(shelf: CodeShelf, point: FailPoint, blow: Blow, nth: int) -> None:
    striker, outside = await run(shelf, point, blow, nth)
    if nth > 1 and not striker.struck:
        assert striker.hits < nth  # passed less often than that
        return
    assert striker.struck
    check = {Blow.DESTROY: destroyed, Blow.CLOSE: gone, Blow.FORGET: gone}.get(blow, settled)
    await check(outside)


async def run(shelf: CodeShelf, point: FailPoint, blow: Blow | None, nth: int) -> tuple[Striker, Outside]:
    striker = Striker(point, blow, nth)
    async with open_harness(shelf, failpoints=striker.failpoints) as h:
        actor = await h.new(WRITER)
        striker.aim(h, actor)
        outside = Outside(h, actor)
        await outside.scenario()
        await h.rest()
        return striker, outside


async def settled(outside: Outside) -> None:
    """A trap, or a gateway that posts again: every message of the connections that live took effect, once."""
    assert outside.broken() == []
    for label, socket in outside.sockets.items():
        if socket.closed is None:
            assert (socket.acked, socket.buffer) == (socket.last, {}), label
        took = [row.index for row in outside.rows() if row.source == label]
        assert took == list(range(1, socket.last + 1))
    # An open that faults is not tried again: that socket is closed.
    refused = [socket for socket in outside.sockets.values() if socket.closed == (1011, "guest.trap")]
    assert outside.h.count("dead_letters") == len(refused)


async def gone(outside: Outside) -> None:
    """The connections ended: what was acknowledged is there, nothing twice, and the actor was told once of each."""
    assert outside.broken() == []
    closes = outside.closes()
    assert len(set(closes)) == len(closes)
    image = await outside.h.image(outside.actor_id)
    held = {row.conn_id for row in image.connections}
    for label, socket in outside.sockets.items():
        assert (socket.closed is None) == (socket.conn in held), label


async def destroyed(outside: Outside) -> None:
    """Nothing of it is left, its connections are closed, and its key makes another one."""
    h = outside.h
    assert await h.storage.driver.hydrate(outside.actor_id) is None
    assert outside.rows() == []
    assert all(socket.closed is not None for socket in outside.sockets.values())
    outside.read_frames()
    for line in outside.lines.values():
        assert line.told == sorted(set(line.told))
        assert line.marks == sorted(line.marks)
    again = await h.storage.driver.find("default", "a", ("k",))
    assert again is None


@pytest.mark.parametrize("blow", [blow for point, blow in in_process() if point is FailPoint.CALL_NOW], ids=cell_id)
async def test_a_blow_at_the_call_that_only_wasm_makes_breaks_nothing(shelf: CodeShelf, blow: Blow) -> None:
    striker = Striker(FailPoint.CALL_NOW, blow, 2)
    async with open_harness(shelf, failpoints=striker.failpoints) as h:
        actor = await h.new(CLOCKED)
        striker.aim(h, actor)
        socket = await h.open(actor)
        for _ in range(4):
            socket.send("x")
            await h.rest()
        await h.advance(5)
        assert striker.struck
        assert [line[2] for line in h.happened("ack")] == sorted(line[2] for line in h.happened("ack"))  # type: ignore[type-var]
        if blow in (Blow.TRAP, Blow.REPOST):
            assert (await h.index(socket), socket.acked) == (4, 4)
        elif blow is Blow.DESTROY:
            assert await h.storage.driver.hydrate(actor) is None
        else:
            assert (await h.image(actor)).connections == ()


@pytest.mark.parametrize("blow", [blow for point, blow in in_process() if point is FailPoint.CALL_DESTROY], ids=cell_id)
async def test_a_blow_at_the_call_that_ends_an_actor_does_not_keep_it(shelf: CodeShelf, blow: Blow) -> None:
    striker = Striker(FailPoint.CALL_DESTROY, blow, 1)
    async with open_harness(shelf, failpoints=striker.failpoints) as h:
        actor = await h.new(ENDED)
        striker.aim(h, actor)
        socket = await h.open(actor)
        socket.send("hello")
        socket.send("end")
        await h.rest()
        await h.advance(5)
        assert striker.struck
        assert await h.storage.driver.hydrate(actor, destroying=True) is None
        assert await h.storage.driver.kv_size(actor) == (0, 0)
        assert socket.closed is not None
        assert (await h.actor()) != actor
        assert h.count("actors_destroyed") == 1
