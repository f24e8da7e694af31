"""The socket gateway on scripted ASGI callables: what it posts, buffers, replays and sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from host.gateway.auth import AuthPolicy
from host.gateway.sockets import SocketGateway
from host.model.errors import DormiceError
from host.model.limits import Limits
from host.model.tunnel import Opened, SocketClosed, SocketMessage
from tests.gateway.support import World

pytestmark = pytest.mark.anyio


def opened(conn_id: str = "c1", actor_id: str = "a1") -> Opened:
    return Opened(actor_id, conn_id, "gw", "ray", "/", (), None, 0)


class Client:
    """The other end of a scripted socket."""

    def __init__(self) -> None:
        self._to_host, self._incoming = anyio.create_memory_object_stream[dict[str, Any]](10_000)
        self.sent: list[Any] = []
        self.close: tuple[int, str] | None = None
        self.reading = anyio.Event()
        self.reading.set()
        self.lost = False
        self.aborted = 0
        self.reads = 0

    def text(self, *texts: str) -> None:
        for text in texts:
            self._to_host.send_nowait({"type": "websocket.receive", "text": text})

    def data(self, data: bytes) -> None:
        self._to_host.send_nowait({"type": "websocket.receive", "bytes": data})

    def leave(self, code: int = 1000, **reason: str) -> None:
        self._to_host.send_nowait({"type": "websocket.disconnect", "code": code, **reason})

    async def receive(self) -> dict[str, Any]:
        message = await self._incoming.receive()
        self.reads += 1
        return message

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        if self.lost:
            raise OSError("the client is gone")
        if message["type"] == "websocket.close":
            self.close = (message["code"], message["reason"])
        else:
            self.sent.append(message.get("text", message.get("bytes")))

    def abort(self) -> None:
        self.aborted += 1


@asynccontextmanager
async def holding(sockets: SocketGateway, client: Client, what: Opened | None = None) -> AsyncIterator[None]:
    """Holds the client's socket for the length of the block; then all is acknowledged and the client leaves, if it is
    still there."""
    what = what or opened()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sockets.hold, what, client.receive, client.send, client.abort)
            await settle()
            yield
            sockets.ack(what.conn_id, 1_000_000)
            client.leave(1000, reason="")
    client._to_host.close()
    client._incoming.close()


@pytest.fixture
def limits() -> Limits:
    return Limits(incoming_messages=4, incoming_buffer=100, message=50, outgoing_queue=100, connections=2)


@pytest.fixture
def world(limits: Limits) -> World:
    return World(AuthPolicy(dev=True), limits)


async def settle() -> None:
    """Enough rounds of the event loop for everything in these tests to have run as far as it can."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


async def test_a_socket_is_opened_then_its_messages_are_posted_in_order_then_its_close(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("one")
        client.data(b"two")
        await settle()
        client.leave(3001, reason="bye")
    assert world.service.events == [
        opened(),
        SocketMessage("a1", "c1", 1, "one"),
        SocketMessage("a1", "c1", 2, b"two"),
        SocketClosed("a1", "c1", 3001, "bye", True),
    ]
    assert len(world.sockets) == 0
    assert world.metrics.gauge_value("connections") == 0


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1005, {"reason": ""}, (1005, "", True)),
        (1005, {}, (1006, "", False)),
        (1006, {"reason": ""}, (1006, "", False)),
        (1012, {}, (1006, "", False)),
        (1002, {"reason": "bad frame"}, (1002, "bad frame", False)),
    ],
)
async def test_a_drop_is_told_from_a_clients_close(
    world: World, code: int, reason: dict[str, str], told: tuple[int, str, bool]
) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.leave(code, **reason)
        await settle()
    assert [(each.code, each.reason, each.clean) for each in world.service.closed] == [told]


async def test_a_socket_with_too_many_unacknowledged_messages_is_not_read_until_some_are_acknowledged(
    world: World,
) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text(*"abcdefgh")
        await settle()
        assert (len(world.service.messages), client.reads) == (4, 4)
        world.sockets.ack("c1", 1)
        await settle()
        assert (len(world.service.messages), client.reads) == (5, 5)
        world.sockets.ack("c1", 5)
        await settle()
        assert [message.index for message in world.service.messages] == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_bytes_bound_the_buffer_too_and_one_message_may_exceed_it(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a" * 50, "b" * 49, "c" * 50, "d")
        await settle()
        assert [message.index for message in world.service.messages] == [1, 2, 3]
        world.sockets.ack("c1", 1)
        await settle()
        assert [message.index for message in world.service.messages] == [1, 2, 3, 4]


async def test_a_message_over_the_limit_closes_1009_and_tells_the_actor(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("fine", "é" * 26, "late")
        await settle()
        assert client.close == (1009, "message.incoming_too_long")
    assert [message.data for message in world.service.messages] == ["fine"]
    assert world.service.closed == [SocketClosed("a1", "c1", 1009, "message.incoming_too_long", False)]
    assert world.metrics.counter("connections_closed", "message.incoming_too_long") == 1


async def test_rebind_frees_what_is_acknowledged_and_posts_the_rest_again_in_order(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a", "b", "c")
        await settle()
        world.sockets.opened("c1")
        world.service.events.clear()
        assert world.sockets.rebind("c1", 1)
        assert world.service.events == [SocketMessage("a1", "c1", 2, "b"), SocketMessage("a1", "c1", 3, "c")]
        client.text("d")
        await settle()
        assert world.service.messages[-1].index == 4


async def test_rebind_posts_the_open_again_if_it_was_never_acknowledged(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a")
        await settle()
        world.service.events.clear()
        assert world.sockets.is_open_acked("c1") is False
        assert world.sockets.rebind("c1", 0)
        assert world.service.events == [opened(), SocketMessage("a1", "c1", 1, "a")]
        world.sockets.opened("c1")
        world.service.events.clear()
        assert world.sockets.rebind("c1", 0)
        assert world.service.events == [SocketMessage("a1", "c1", 1, "a")]


async def test_rebind_of_an_unknown_connection_says_so(world: World) -> None:
    assert world.sockets.rebind("nobody", 0) is False
    assert world.sockets.is_open_acked("nobody") is None


async def test_rebind_beyond_the_last_message_closes_that_connection_alone(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        assert world.sockets.rebind("c1", 5) is False
        await settle()
        assert client.close == (1011, "ws.restore_error")


async def test_a_resend_asked_for_in_the_middle_of_a_replay_takes_its_place(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a", "b", "c", "d")
        await settle()
        world.sockets.opened("c1")
        world.service.events.clear()

        def on_event(event: Any) -> None:
            if len(world.service.messages) == 2:  # the actor lost the first one
                assert world.sockets.resend("c1", 0)

        world.service.on_event = on_event
        world.sockets.rebind("c1", 0)
        assert [message.index for message in world.service.messages] == [1, 2, 1, 2, 3, 4]


async def test_what_is_acknowledged_during_a_replay_is_not_posted_again(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a", "b", "c")
        await settle()
        world.sockets.opened("c1")
        world.service.events.clear()
        world.service.on_event = lambda event: world.sockets.ack("c1", 2)
        world.sockets.rebind("c1", 0)
        assert [message.index for message in world.service.messages] == [1, 3]


async def test_resend_gives_what_is_buffered_or_says_that_it_cannot(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text("a", "b", "c")
        await settle()
        world.sockets.ack("c1", 1)
        world.service.events.clear()
        assert world.sockets.resend("c1", 2)
        assert [message.index for message in world.service.messages] == [3]
        assert not world.sockets.resend("c1", 0)
        assert not world.sockets.resend("c1", 4)
        assert world.sockets.resend("c1", 3)
        assert not world.sockets.resend("nobody", 0)


async def test_the_gateway_names_what_it_holds_for_an_actor_the_oldest_first(world: World) -> None:
    first, second, other = Client(), Client(), Client()
    async with (
        holding(world.sockets, first, opened("c1")),
        holding(world.sockets, second, opened("c2")),
        holding(world.sockets, other, opened("c3", "a2")),
    ):
        assert [each.conn_id for each in world.sockets.connections_of("a1")] == ["c1", "c2"]
        assert [each.conn_id for each in world.sockets.connections_of("a2")] == ["c3"]
    assert world.sockets.connections_of("a1") == []


async def test_frames_leave_in_order_and_a_close_comes_after_them(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        world.sockets.frame("c1", "one")
        world.sockets.frame("c1", b"two")
        world.sockets.close("c1", 4000, "done")
        world.sockets.frame("c1", "late")
        await settle()
        assert (client.sent, client.close) == (["one", b"two"], (4000, "done"))
    assert world.service.closed == [], "a close that the actor asked for does not come back"
    assert world.metrics.counter("frames_dropped", "unknown_connection") == 1


async def test_frames_queued_while_the_writer_sends_follow_in_order(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.reading = anyio.Event()
        for n in range(5):
            world.sockets.frame("c1", str(n))
            await settle()
        client.reading.set()
        await settle()
        assert client.sent == ["0", "1", "2", "3", "4"]


async def test_a_client_that_does_not_keep_up_is_closed_1013_without_its_backlog(world: World) -> None:
    client = Client()
    client.reading = anyio.Event()
    async with holding(world.sockets, client):
        for _ in range(3):
            world.sockets.frame("c1", "x" * 50)
            await settle()
        assert world.service.closed == [SocketClosed("a1", "c1", 1013, "ws.slow_reader", False)]
        client.reading.set()
        await settle()
        assert client.sent == ["x" * 50], "the frame on its way, and nothing behind it"
        assert client.close == (1013, "ws.slow_reader")
    assert world.metrics.counter("connections_closed", "ws.slow_reader") == 1
    assert world.metrics.counter("frames_dropped", "ws.slow_reader") == 2


async def test_the_queue_has_room_again_once_frames_have_left(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        for _ in range(10):
            world.sockets.frame("c1", "x" * 60)
            await settle()
        assert len(client.sent) == 10


async def test_a_client_that_takes_no_close_frame_is_dropped_after_the_grace(world: World) -> None:
    client = Client()
    client.reading = anyio.Event()
    async with holding(world.sockets, client):
        world.sockets.frame("c1", "x")
        world.sockets.close("c1", 1000, "")
        await settle()
        world.clock.advance(9.9)
        assert client.aborted == 0
        world.clock.advance(0.2)
        assert client.aborted == 1
        client.lost = True
        client.reading.set()


async def test_a_close_asked_for_while_the_reader_waits_for_room_ends_the_socket(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text(*"abcdef")
        await settle()
        world.sockets.close("c1", 1000, "actor.destroyed")
        await settle()
        assert client.close == (1000, "actor.destroyed")
        assert len(world.service.messages) == 4


async def test_a_client_lost_while_the_reader_waits_for_room_is_noticed_by_the_next_frame(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        client.text(*"abcd")
        await settle()
        client.leave(1006)
        client.lost = True
        await settle()
        assert world.service.closed == []
        world.sockets.frame("c1", "x")
        await settle()
        assert [each.code for each in world.service.closed] == [1006]


async def test_when_the_host_stops_sockets_are_closed_and_no_actor_is_told(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        world.sockets.frame("c1", "last")
        world.sockets.close_all()
        await settle()
        assert (client.sent, client.close) == (["last"], (1012, "node.draining"))
    assert world.service.closed == []
    with pytest.raises(DormiceError) as refused:
        await world.sockets.admit(opened("c9"))
    assert refused.value.name == "node/draining"


async def test_an_actor_has_a_bound_on_connections(world: World) -> None:
    first, second = Client(), Client()
    async with holding(world.sockets, first, opened("c1")), holding(world.sockets, second, opened("c2")):
        with pytest.raises(DormiceError) as refused:
            await world.sockets.admit(opened("c3"))
        assert refused.value.name == "limit/exceeded"
        await world.sockets.admit(opened("c3", "another"))


async def test_calls_about_connections_that_are_gone_do_nothing(world: World) -> None:
    world.sockets.ack("nobody", 3)
    world.sockets.opened("nobody")
    world.sockets.close("nobody", 1000, "")
    world.sockets.frame("nobody", "x")
    assert world.metrics.counter("frames_dropped") == 1
    await anyio.lowlevel.checkpoint()
