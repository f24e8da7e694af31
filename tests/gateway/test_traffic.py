"""Much traffic through one socket: the buffer is bounded all the time, and every counter ends at zero."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect

from host.gateway.auth import AuthPolicy
from host.gateway.connection import Connection
from host.gateway.server import HostServer, bind
from host.model.limits import Limits
from host.model.tunnel import Opened, SocketMessage
from tests.gateway.support import World

pytestmark = pytest.mark.anyio

MIB = 1 << 20
TOTAL = 300 * MIB
LARGEST = 256 * 1_024


class FastActor:
    """Takes messages in order, and acknowledges them in lumps: some at once, some only when the gateway reads no more;
    now and then it acknowledges again what it has, asks for a resend, or takes an older acknowledgement back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.own = random.Random(300)
        self.taken = self.acked = self.bytes = self.duplicates = self.highest = 0
        self.done = anyio.Event()
        self.end = -1

    def __call__(self, event: Any) -> None:
        self.world.service.events.clear()
        if isinstance(event, Opened):
            self.world.sockets.opened(event.conn_id)
        elif isinstance(event, SocketMessage):
            self._take(event)

    def _take(self, message: SocketMessage) -> None:
        if message.index <= self.taken:
            self.duplicates += 1
            return
        assert message.index == self.taken + 1
        self.taken = message.index
        assert isinstance(message.data, str | bytes)
        self.bytes += len(message.data)
        conn = held(self.world)
        self.highest = max(self.highest, conn.buffered)
        limits = self.world.limits
        full = conn.buffered >= limits.incoming_buffer or conn.unacknowledged >= limits.incoming_messages
        if self.own.random() < 0.02:
            assert self.world.sockets.resend(message.conn_id, self.acked)
        if full or self.own.random() < 0.1 or self.taken == self.end:
            self.acked = self.taken
            self.world.sockets.ack(message.conn_id, self.acked)
        elif self.own.random() < 0.1:
            self.world.sockets.ack(message.conn_id, max(0, self.acked - 3))
        if self.taken == self.end:
            self.done.set()


def held(world: World) -> Connection:
    (conn,) = world.sockets._held
    return conn


async def test_three_hundred_mebibytes_through_one_socket_leave_every_counter_at_zero() -> None:
    world = World(AuthPolicy(dev=True))
    actor = world.service.on_event = FastActor(world)
    record = await world.actor()
    own = random.Random(1)
    block = own.randbytes(LARGEST)
    sizes: list[int] = []
    while sum(sizes) < TOTAL:
        sizes.append(own.randint(LARGEST // 2, LARGEST) if own.random() < 0.7 else own.randint(0, 2_000))
    actor.end = len(sizes)
    with anyio.fail_after(20):
        server = HostServer(world.app, bind("127.0.0.1", 0), world.limits)
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(server.run)
            address = f"ws://127.0.0.1:{port}/gateway/{record.actor_id}/websocket/"
            async with connect(address, compression=None, max_size=None, proxy=None) as client:
                for size in sizes:
                    await client.send(block[:size])
                await actor.done.wait()
                conn = held(world)
                assert (conn.unacknowledged, conn.buffered, conn.queued, conn.outgoing) == (0, 0, 0, [])
                assert conn.after(0) == []
                assert conn.next_index == len(sizes) + 1
            assert actor.bytes == sum(sizes) >= TOTAL
            assert actor.duplicates > 100
            assert actor.highest < world.limits.incoming_buffer + LARGEST
            await world.service.until(lambda: len(world.sockets) == 0)
            await server.stop()
    assert world.metrics.gauge_value("connections") == 0


async def test_nothing_is_read_while_the_buffer_is_full_and_the_client_feels_it() -> None:
    world = World(AuthPolicy(dev=True), Limits(incoming_buffer=100_000))
    record = await world.actor()
    async with world.serving() as server:
        address = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/websocket/"
        async with connect(address, compression=None, proxy=None) as client:
            sent = 0

            async def flood() -> None:
                nonlocal sent
                for _ in range(400):
                    await client.send(b"x" * 50_000)
                    sent += 1

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(flood)
                await world.service.until(lambda: len(world.service.messages) == 2)
                before = -1
                while before != sent:  # until the kernel takes no more either
                    before = sent
                    for _ in range(200):
                        await anyio.lowlevel.checkpoint()
                assert 2 <= sent < 400
                conn = held(world)
                assert (conn.buffered, conn.unacknowledged) == (100_000, 2)
                (protocol,) = server.server_state.connections
                assert protocol.read_paused  # type: ignore[union-attr]
                world.service.on_event = lambda event: world.sockets.ack(event.conn_id, event.index)
                world.sockets.ack(conn.conn_id, 2)
                await world.service.until(lambda: len(world.service.messages) == 400)
            assert (conn.buffered, conn.unacknowledged) == (0, 0)
            assert [message.index for message in world.service.messages] == list(range(1, 401))
