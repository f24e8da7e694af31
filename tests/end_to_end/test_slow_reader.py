"""A client that does not read: its queue is bounded, it is closed alone, and the actor is told once."""

from __future__ import annotations

import socket as sockets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

SOCKETS = (Path(__file__).parent / "sockets.js").read_bytes()
SLOW = [1013, "ws.slow_reader", False]
FRAME = 250_000
# What the kernel may hold for a socket that nobody reads is a few MiB; by then the host has long noticed.
MOST = 200


@pytest.fixture
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        with anyio.fail_after(30):
            await host.deploy("sockets", SOCKETS)
            yield host


def small_window(host: TestHost) -> sockets.socket:
    """A connected socket with little room in the kernel."""
    made = sockets.socket()
    made.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    made.connect(("127.0.0.1", host.port))
    made.setblocking(False)
    return made


async def read_on(client: ClientConnection, frames: list[int]) -> None:
    """The numbers of the frames, until the socket ends."""
    try:
        while True:
            frame = await client.recv()
            assert len(frame) == FRAME
            frames.append(int(frame[:6]))
    except ConnectionClosed:
        return


async def test_a_client_that_does_not_read_is_closed_and_the_others_get_every_frame(host: TestHost) -> None:
    actor = await host.actor("sockets", "slow reader")
    got: list[list[int]] = [[], []]
    sent = 0
    async with (
        host.socket(actor, "slow", sock=small_window(host), max_queue=1, close_timeout=1) as slow,
        host.socket(actor, "fast/1") as one,
        host.socket(actor, "fast/2") as two,
        anyio.create_task_group() as tasks,
    ):
        for client, frames in zip((one, two), got, strict=True):
            tasks.start_soon(read_on, client, frames)
        while not (await host.call(actor, "all"))["closed"]:
            assert sent < MOST
            await host.call(actor, "broadcast", f"{sent:06d}".ljust(FRAME, "x"))
            sent += 1
        # Those who read go on as if nothing had been.
        for _ in range(5):
            assert await host.call(actor, "broadcast", f"{sent:06d}".ljust(FRAME, "x")) == 2
            sent += 1
        while [len(frames) for frames in got] != [sent, sent]:
            await anyio.lowlevel.checkpoint()
        assert got == [list(range(sent))] * 2
        state = await host.call(actor, "all")
        assert (state["closed"], state["sockets"]) == ([SLOW], 2)
        paths = {row["path"] for row in (await host.snapshot(actor))["connections"]}
        assert paths == {"/fast/1", "/fast/2"}
        # What the slow one still gets is the beginning, whole frames in order, and then the reason.
        late: list[int] = []
        await read_on(slow, late)
        assert late == list(range(len(late)))
        assert len(late) < sent - 5
        assert (slow.close_code, slow.close_reason) == (1013, "ws.slow_reader")
        await one.close()
        await two.close()
    # Told once, also after its TCP connection is gone.
    while len((state := await host.call(actor, "all"))["closed"]) < 3:
        await anyio.lowlevel.checkpoint()
    assert [closed[0] for closed in state["closed"]] == [1013, 1000, 1000]
    assert host.node.metrics.counter("connections_closed", "ws.slow_reader") == 1
    assert host.node.metrics.counter("frames_dropped", "ws.slow_reader") >= 1


async def test_frames_of_many_turns_leave_in_their_order_on_every_connection(host: TestHost) -> None:
    actor = await host.actor("sockets", "order")
    async with host.socket(actor, "numbered/a") as one, host.socket(actor, "numbered/b") as two:
        for number in range(200):
            await one.send(f"a{number}")
            await two.send(f"b{number}")
        assert [await one.recv() for _ in range(200)] == [f"{number + 1} a{number}" for number in range(200)]
        assert [await two.recv() for _ in range(200)] == [f"{number + 1} b{number}" for number in range(200)]
