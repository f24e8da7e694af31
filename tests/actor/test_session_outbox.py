"""The actor's side of sessions: frames are numbered, go to disk with the turn that sent them, and leave after it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from host.actor.outbox import Outbox
from host.model.effects import OutboxTrim, SendClose, SendFrame, TurnEffects
from host.model.limits import Limits
from host.model.records import ConnectionRow
from host.storage.memory import MemoryDriver
from tests.actor.fake_gateway import Socket
from tests.actor.harness import CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

HASH = b"h" * 32


def row(conn: str = "c", **more: Any) -> ConnectionRow:
    return replace(ConnectionRow(conn, "gw", "ray", 1, 0, "/", 0, 0, session=HASH), **more)


# the ring ------------------------------------------------------------------------------------------------------------


def test_frames_of_sessions_are_numbered_and_those_of_others_are_not() -> None:
    rows = {"c": row(sent_index=4, sent_bytes=40), "plain": row("plain", session=None)}
    box = Outbox(rows, Limits())
    close = SendClose("c", 1000, "")
    sent = (SendFrame("c", "ü"), SendFrame("plain", "p"), SendFrame("c", b"123"), SendFrame("gone", "g"), close)
    numbered = box.number(TurnEffects(outputs=sent))
    assert [getattr(output, "index", None) for output in numbered.outputs] == [5, 0, 6, 0, None]
    frames, trims = box.take()
    assert [(frame.index, frame.start, frame.size, frame.data) for frame in frames] == [
        (5, 40, 2, "ü"),
        (6, 42, 3, b"123"),
    ]
    assert (rows["c"].sent_index, rows["c"].sent_bytes) == (6, 45)
    assert trims == ()
    assert not box
    assert box.take() == ((), ())


def test_effects_without_a_session_s_frames_are_left_as_they_are() -> None:
    effects = TurnEffects(outputs=(SendFrame("c", "a"),))
    assert Outbox({"c": row(session=None)}, Limits()).number(effects) is effects


@pytest.mark.parametrize(
    ("limits", "trim"),
    [
        (Limits(outbox_frames=3, outbox=100), OutboxTrim("c", 3, -75)),
        (Limits(outbox_frames=9, outbox=12), OutboxTrim("c", -3, 13)),
    ],
)
def test_a_ring_that_is_full_begins_later(limits: Limits, trim: OutboxTrim) -> None:
    box = Outbox({"c": row()}, limits)
    box.number(TurnEffects(outputs=tuple(SendFrame("c", "12345") for _ in range(5))))
    assert box.take()[1] == (trim,)


# the actor -----------------------------------------------------------------------------------------------------------


async def session(h: Harness, actor: str) -> Socket:
    """A session connection, with its open settled; its probe has said welcome."""
    opened = h.gateway.open
    socket = await opened(actor, session=HASH)
    await h.gateway.until(lambda: socket.open_acked)
    return socket


async def kept(h: Harness, actor: str, socket: Socket, after: int = 0) -> list[tuple[int, str | bytes]]:
    found = await h.storage.driver.outbox(actor, socket.conn, after)
    assert found is not None
    return [(frame.index, frame.data) for frame in found.frames]


async def test_a_frame_of_a_session_is_on_disk_before_it_leaves_and_leaves_with_its_number(h: Harness) -> None:
    actor = await h.probe()
    socket = await session(h, actor)
    h.storage.hold()
    socket.send("echo a")
    await h.storage.until_held()
    await h.rest()
    assert socket.frames == ["welcome"]
    h.storage.release()
    await socket.received(2)
    assert socket.indexes == [1, 2]
    assert await kept(h, actor, socket) == [(1, "welcome"), (2, "echo a")]
    assert [line.session for line in (await h.image(actor)).connections] == [HASH]


async def test_numbers_go_on_after_a_sleep_and_after_a_fault(h: Harness) -> None:
    actor = await h.probe()
    socket = await session(h, actor)
    await h.asleep(actor)
    socket.send("echo a")
    await socket.received(2)
    socket.send("crash<2")
    socket.send("echo b")
    await h.gateway.until(lambda: "echo b" in socket.frames)
    indexes = socket.indexes
    assert indexes == list(range(1, len(indexes) + 1))
    assert [data for _, data in await kept(h, actor, socket)] == socket.frames


async def test_frames_of_a_commit_that_failed_are_sent_anew_under_the_same_numbers(shelf: CodeShelf) -> None:
    driver = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        actor = await h.probe()
        socket = await session(h, actor)
        driver.fail_next("unavailable")
        socket.send("echo a")
        await h.rest()
        assert socket.frames == ["welcome"]
        await h.advance(5)
        await socket.received(2)
        assert socket.indexes == [1, 2]
        assert await kept(h, actor, socket) == [(1, "welcome"), (2, "echo a")]


async def test_the_ring_of_a_session_is_bounded_on_disk(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(outbox_frames=3)) as h:
        actor = await h.probe()
        socket = await session(h, actor)
        for n in range(5):
            socket.send(f"echo {n}")
        await socket.received(6)
        await h.rest()
        assert await kept(h, actor, socket) == [(4, "echo 2"), (5, "echo 3"), (6, "echo 4")]


async def test_a_session_without_its_client_lets_its_actor_sleep_and_is_told_of_its_end_once(h: Harness) -> None:
    """The gateway still holds it: no stale connection, no close event, until the window is over."""
    actor = await h.probe()
    socket = await session(h, actor)
    await h.asleep(actor)
    await h.call(actor, "inc", 1)
    assert len((await h.image(actor)).connections) == 1
    await h.asleep(actor)
    socket.close(1006, "session.expired")
    await h.rest()
    assert (await h.image(actor)).connections == ()
    assert await h.storage.driver.outbox(actor, socket.conn, 0) is None
