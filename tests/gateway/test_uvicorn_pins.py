"""What the host relies on in the server below it, held on to one by one: a new uvicorn that behaves otherwise fails
here, and not in a deployment."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from host.gateway.auth import AuthPolicy
from host.gateway.protocols import HttpProtocol, WebSocketProtocol
from host.gateway.server import FRAME_SLACK, HostServer, bind
from host.model.limits import Limits
from host.model.tunnel import Opened, SocketMessage
from tests.gateway.support import World

pytestmark = pytest.mark.anyio

DEFAULT_PING_TIMEOUT = 20.0


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def dial(server: HostServer, path: str, **more: Any) -> connect:
    more = {"compression": None, "proxy": None, "close_timeout": 2, **more}
    return connect(f"ws://127.0.0.1:{server.port}{path}", **more)


def protocol_of(server: HostServer) -> WebSocketProtocol:
    (protocol,) = [each for each in server.server_state.connections if isinstance(each, WebSocketProtocol)]
    return protocol


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not reached():
            await anyio.lowlevel.checkpoint()


def test_the_server_is_configured_as_the_design_says() -> None:
    limits = Limits()
    with bind("127.0.0.1", 0) as sock:
        config = HostServer(World(AuthPolicy(dev=True)).app, sock, limits).config
    config.load()
    assert (config.ws_protocol_class, config.http_protocol_class) == (WebSocketProtocol, HttpProtocol)
    assert (config.ws_ping_interval, config.ws_ping_timeout) == (20.0, 120.0)
    assert config.ws_per_message_deflate is False
    assert config.ws_max_size == limits.message + FRAME_SLACK
    assert (config.log_config, config.access_log) == (None, False)
    assert logging.getLogger("uvicorn.error").level == logging.WARNING
    assert logging.getLogger("uvicorn.access").handlers == []
    assert logging.getLogger("uvicorn.access").propagate is False
    assert config.lifespan == "off"
    assert config.timeout_graceful_shutdown is not None
    # a client that closes its idle connections after a minute does so before the server does
    assert config.timeout_keep_alive > 60


async def test_a_socket_that_is_not_read_stays_open_for_longer_than_the_longest_wake() -> None:
    world = World(AuthPolicy(dev=True), Limits(incoming_messages=1))
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        for text in ("a", "b", "c"):
            await client.send(text)
        await world.service.until(lambda: len(world.service.messages) == 1)
        protocol = protocol_of(server)
        await until(lambda: protocol.read_paused)
        protocol.send_keepalive_ping()
        assert protocol.pong_timer is not None
        left = protocol.pong_timer.when() - asyncio.get_running_loop().time()
        assert left > world.limits.wake_timeout / 1_000 > DEFAULT_PING_TIMEOUT
        assert world.service.closed == []
        world.service.on_event = lambda event: world.sockets.ack(event.conn_id, event.index)
        world.sockets.ack(world.service.opened[0].conn_id, 1)
        await world.service.until(lambda: len(world.service.messages) == 3)


async def test_a_pong_is_heard_once_the_socket_is_read_again_and_the_deadline_goes() -> None:
    world = World(AuthPolicy(dev=True), Limits(incoming_messages=1))
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        await client.send("a")
        await world.service.until(lambda: len(world.service.messages) == 1)
        await client.send("b")
        protocol = protocol_of(server)
        await until(lambda: protocol.read_paused)
        protocol.send_keepalive_ping()
        await client.send("c")
        async with httpx.AsyncClient() as http:  # some round trips: the pong is there, and unread
            for _ in range(3):
                await http.get(f"http://127.0.0.1:{server.port}/health")
        assert protocol.pong_timer is not None
        world.service.on_event = lambda event: world.sockets.ack(event.conn_id, event.index)
        world.sockets.ack(world.service.opened[0].conn_id, 1)
        await world.service.until(lambda: len(world.service.messages) == 3)
        await until(lambda: protocol.pong_timer is None)
        assert world.service.closed == []
        world.sockets.frame(world.service.opened[0].conn_id, "alive")
        assert await client.recv() == "alive"


async def test_no_compression_is_agreed_on_even_if_the_client_offers_it(world: World) -> None:
    record = await world.actor()
    path = f"/gateway/{record.actor_id}/websocket/"
    async with world.serving() as server, dial(server, path, compression="deflate") as client:
        assert client.response is not None
        assert "sec-websocket-extensions" not in client.response.headers
        assert client.protocol.extensions == []


async def test_signals_stay_with_the_node(world: World) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with world.serving():
        assert {number: signal.getsignal(number) for number in before} == before
    assert {number: signal.getsignal(number) for number in before} == before


# --- how a client goes ------------------------------------------------------------------------------------------------


async def close_frame(client: ClientConnection, payload: bytes) -> None:
    client.transport.write(b"\x88" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload)


async def with_a_code(client: ClientConnection) -> None:
    await close_frame(client, struct.pack("!H", 3_001) + b"bye")


async def with_no_code(client: ClientConnection) -> None:
    await close_frame(client, b"")


async def going_away(client: ClientConnection) -> None:
    await close_frame(client, struct.pack("!H", CloseCode.GOING_AWAY))


async def by_a_reset(client: ClientConnection) -> None:
    raw = client.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


async def by_the_end_of_the_stream(client: ClientConnection) -> None:
    client.transport.abort()


async def by_a_malformed_frame(client: ClientConnection) -> None:
    client.transport.write(b"\xff\x80\0\0\0\0")


async def by_text_that_is_none(client: ClientConnection) -> None:
    client.transport.write(b"\x81\x81\0\0\0\0\xff")


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (with_a_code, (3_001, "bye", True)),
        (with_no_code, (1_005, "", True)),
        (going_away, (1_001, "", True)),
        (by_a_reset, (1_006, "", False)),
        (by_the_end_of_the_stream, (1_006, "", False)),
        (by_a_malformed_frame, (1_002, None, False)),
        (by_text_that_is_none, (1_007, None, False)),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
async def test_a_close_is_told_from_a_drop_by_what_came_over_the_wire(
    world: World, way: Any, told: tuple[int, str | None, bool]
) -> None:
    record = await world.actor()
    async with world.serving() as server:
        client = await dial(server, f"/gateway/{record.actor_id}/websocket/")
        await client.send("x")
        await world.service.until(lambda: bool(world.service.messages))
        await way(client)
        await world.service.until(lambda: bool(world.service.closed))
        await client.close()
    (closed,) = world.service.closed
    assert (closed.code, closed.clean) == (told[0], told[2])
    assert told[1] in (None, closed.reason)


async def test_a_socket_is_closed_by_the_server_itself_only_after_the_drain(world: World) -> None:
    record = await world.actor()
    order: list[str] = []
    with anyio.fail_after(10):
        server = HostServer(world.app, bind("127.0.0.1", 0), world.limits)
        async with anyio.create_task_group() as tasks:
            await tasks.start(server.run)
            client = await dial(server, f"/gateway/{record.actor_id}/websocket/")
            await world.service.until(lambda: bool(world.service.opened))

            async def drain() -> None:
                assert server.should_exit is False
                await client.send("during the drain")
                await world.service.until(lambda: bool(world.service.messages))
                assert protocol_of(server).transport.is_closing() is False
                order.append("drained")

            await server.stop(drain)
            assert server.should_exit is True
            await client.wait_closed()
            order.append(f"closed {client.close_code}")
    assert order == ["drained", "closed 1012"]


# --- no secret in any log ---------------------------------------------------------------------------------------------

SECRET = "s3cr3t-5f2e"
OTHERS = ("websockets.client", "httpx", "httpcore", "asyncio")


async def test_no_secret_of_any_route_reaches_a_log_or_the_terminal(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(AuthPolicy(admin_token=SECRET))
    record = await world.actor()
    at = f"/gateway/{record.actor_id}"
    bearer = {"authorization": f"Bearer {SECRET}"}

    def actor(event: Any) -> None:
        if isinstance(event, SocketMessage):
            raise RuntimeError("the service broke")
        if isinstance(event, Opened):
            world.sockets.opened(event.conn_id)

    with capture_logs() as lines:
        async with world.serving() as server:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
                for method, path, headers in (
                    ("GET", f"/limits?token={SECRET}", {}),
                    ("GET", f"/nothing/{SECRET}", bearer),
                    ("POST", f"{at}@{SECRET}/action/x", {}),
                    ("POST", f"{at}/action/x?rvt-token={SECRET}", {}),
                    ("GET", f"{at}/request/?password={SECRET}", bearer),
                    ("GET", f"{at}/session", {"x-dormice-session": SECRET, **bearer}),
                    ("GET", f"/actors/{record.actor_id}/snapshot", {"x-rivet-token": SECRET}),
                    ("PUT", "/actors", {**bearer, "cookie": SECRET}),
                ):
                    await http.request(method, path, headers=headers)
                world.service.fail = RuntimeError("it broke")
                await http.post(f"{at}@{SECRET}/action/x", headers=bearer)
                world.service.fail = None
            offered = [Subprotocol("rivet"), Subprotocol(f"rivet_token.{SECRET}")]
            async with dial(server, f"{at}/websocket/{SECRET}?dm-session={SECRET * 4}", subprotocols=offered):
                pass
            async with dial(server, f"{at}@{SECRET}/websocket/?k={SECRET}"):
                pass
            with pytest.raises(InvalidStatus):
                await dial(server, f"{at}@x{SECRET}/websocket/?k={SECRET}")
            world.service.on_event = actor
            async with dial(server, f"{at}@{SECRET}/websocket/?k={SECRET}", additional_headers=bearer) as client:
                await client.send("breaks the service")
                await client.wait_closed()
            raw = await anyio.connect_tcp("127.0.0.1", server.port)
            async with raw:
                await raw.send(f"GET /{SECRET} HTTP/1.1\r\nhost: {SECRET}\r\n{SECRET}\r\n\r\n".encode())
    told = [entry.getMessage() + repr(entry.args) for entry in caplog.records if not entry.name.startswith(OTHERS)]
    assert lines
    assert SECRET not in repr(lines)
    assert SECRET not in repr(told)
    out, err = capfd.readouterr()
    assert SECRET not in out + err


async def test_an_upgrade_that_is_refused_is_no_error_of_the_application_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(AuthPolicy(dev=True))
    with caplog.at_level(logging.WARNING, logger="uvicorn.error"):
        async with world.serving() as server:
            with pytest.raises(InvalidStatus) as refused:
                async with dial(server, f"/gateway/{'f' * 32}/websocket/"):
                    raise AssertionError("it was let in")
            assert refused.value.response.status_code == 404
            assert b'"not_found"' in (refused.value.response.body or b"")
            await until(lambda: not server.server_state.tasks)
    assert [record.getMessage() for record in caplog.records] == []
