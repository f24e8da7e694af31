"""The application behind the real server, with real WebSocket clients, on both event loops."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from host.gateway.auth import AuthPolicy
from host.gateway.protocols import WebSocketProtocol
from host.gateway.server import HostServer, bind
from host.model.errors import CallerError, UnavailableError
from host.model.limits import Limits
from host.model.tunnel import Opened, SocketClosed, SocketMessage, Visitor
from tests.gateway.support import World

pytestmark = pytest.mark.anyio

TOKEN = "admin-token-51c0"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def url(server: HostServer, path: str) -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


def dial(server: HostServer, path: str, **more: Any) -> connect:
    return connect(url(server, path), compression=None, max_size=None, proxy=None, close_timeout=2, **more)


async def refused(server: HostServer, path: str, **more: Any) -> tuple[int, dict[str, Any], Any]:
    with pytest.raises(InvalidStatus) as caught:
        async with dial(server, path, **more):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}"), response.headers


async def closing(client: ClientConnection) -> tuple[int, str]:
    """Reads to the end, and tells how it ended."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed:
        pass  # it always ends so
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


async def test_a_socket_from_the_welcome_to_the_clients_close(world: World) -> None:
    record = await world.actor("room", "lobby")

    def actor(event: Any) -> None:
        if isinstance(event, Opened):
            world.sockets.frame(event.conn_id, "welcome")
            world.sockets.opened(event.conn_id)
        elif isinstance(event, SocketMessage):
            assert isinstance(event.data, str | bytes)
            world.sockets.frame(event.conn_id, event.data)
            world.sockets.ack(event.conn_id, event.index)

    world.service.on_event = actor
    async with world.serving() as server:
        async with dial(server, f"/gateway/{record.actor_id}/websocket/a%2Fb?x=1") as client:
            assert client.response is not None
            assert client.response.headers["x-rivet-actor"] == record.actor_id
            assert client.response.headers["x-rivet-actor-key"] == "lobby"
            assert client.subprotocol is None
            assert await client.recv() == "welcome"
            for sent in ("text", b"\x00data", "ü", ""):
                await client.send(sent)
                assert await client.recv() == sent
            await client.close(3005, "bye")
        await world.service.until(lambda: bool(world.service.closed))

    opened = world.service.opened[0]
    assert (opened.actor_id, opened.path, opened.gateway_id) == (record.actor_id, "/a%2Fb?x=1", "gw")
    assert (opened.conn_id, opened.request_id) == (opened.conn_id, client.response.headers["x-rivet-ray-id"])
    assert [message.index for message in world.service.messages] == [1, 2, 3, 4]
    assert world.service.closed == [SocketClosed(record.actor_id, opened.conn_id, 3005, "bye", True)]


async def test_the_stock_clients_sub_protocol_is_answered_and_its_parameters_are_read(world: World) -> None:
    offered = ["rivet", "rivet_encoding.bare", "rivet_conn_params.%7B%22a%22%3A1%7D"]
    async with (
        world.serving() as server,
        dial(
            server,
            "/gateway/room/websocket?rvt-method=getOrCreate&rvt-key=k",
            subprotocols=[Subprotocol(name) for name in offered],
            additional_headers={"cookie": "c=1", "authorization": "Bearer x", "x-request-id": "r1"},
            origin="http://page.example",
        ) as client,
    ):
        assert client.subprotocol == "rivet"
        await world.service.until(lambda: bool(world.service.opened))
    opened = world.service.opened[0]
    assert (opened.path, opened.params) == ("/", b'{"a":1}')
    headers = dict(opened.headers)
    assert headers["origin"] == "http://page.example"
    assert headers["x-request-id"] == "r1"
    assert not {"cookie", "authorization"} & headers.keys()


async def test_a_refused_upgrade_has_the_status_and_body_of_http(world: World) -> None:
    record = await world.actor()
    path = f"/gateway/{record.actor_id}/websocket/"
    failure = UnavailableError("actor", "start_failed", "it does not start", retry_after=3.0)
    world.service.refuse_open = failure
    world.service.fail = failure
    async with world.serving() as server:
        status, body, headers = await refused(server, path)
        async with httpx.AsyncClient() as http:
            same = await http.post(f"http://127.0.0.1:{server.port}/gateway/{record.actor_id}/action/x")
    assert (status, body) == (503, same.json())
    assert same.status_code == 503
    assert (headers["retry-after"], headers["content-type"]) == ("3", "application/json")
    assert len(headers["x-rivet-ray-id"]) == 16
    assert world.service.events == []


async def test_an_upgrade_by_key_reaches_the_next_actor_when_its_actor_is_gone_in_between(world: World) -> None:
    gone: list[str] = []

    async def going(opened: Opened, visitor: Visitor | None = None) -> bytes | None:
        if not gone:
            gone.append(opened.actor_id)
            await world.driver.finish_destroy(opened.actor_id)
            raise CallerError("actor", "not_found", "gone")
        return None

    world.service.open_socket = going  # type: ignore[method-assign]
    path = "/gateway/room/websocket?rvt-method=getOrCreate&rvt-key=k"
    async with world.serving() as server, dial(server, path) as client:
        assert client.response is not None
        found = await world.service.find("default", "room", ("k",))
        assert found is not None
        assert client.response.headers["x-rivet-actor"] == found.actor_id
        assert found.actor_id not in gone


async def test_upgrades_that_cannot_be_are_refused_before_the_handshake(world: World) -> None:
    record = await world.actor()
    at = f"/gateway/{record.actor_id}"
    async with world.serving() as server:
        for path, status, error in (
            (f"/gateway/{'f' * 32}/websocket/", 404, "actor/not_found"),
            (f"{at}/connect/more", 404, "request/not_found"),
            (f"{at}/request/x", 404, "request/not_found"),
            ("/health", 404, "request/not_found"),
            ("/gateway/room/websocket/?rvt-method=get&rvt-method=get", 400, "guard/query_duplicate_param"),
            ("/gateway/nobody/websocket/?rvt-method=getOrCreate", 404, "definition/not_found"),
        ):
            found, body, _ = await refused(server, path)
            assert (found, f"{body['group']}/{body['code']}") == (status, error)
        status, body, _ = await refused(server, f"{at}/websocket/", additional_headers={"x-rivet-conn-params": "{"})
        assert (status, body["code"]) == (400, "invalid")
        status, body, _ = await refused(server, f"{at}/websocket/", additional_headers={"host": "evil.example"})
        assert (status, body["code"]) == (403, "forbidden"), "two hosts are none"
        world.service.refuse_open = RuntimeError("secret")
        status, body, _ = await refused(server, f"{at}/websocket/")
        assert (status, body["message"]) == (500, "An internal error occurred")
        world.service.refuse_open = None
        world.status = "draining"
        status, body, _ = await refused(server, f"{at}/websocket/")
        assert (status, body["code"]) == (503, "draining")
    assert world.service.events == []


async def test_tokens_of_an_upgrade_may_be_in_the_path_the_headers_or_a_sub_protocol() -> None:
    world = World(AuthPolicy(admin_token=TOKEN))
    record = await world.actor()
    at = f"/gateway/{record.actor_id}"
    async with world.serving() as server:
        status, body, _ = await refused(server, f"{at}/websocket/")
        assert (status, body["code"]) == (401, "unauthenticated")
        status, body, _ = await refused(server, f"{at}@wrong/websocket/")
        assert (status, body["code"]) == (403, "forbidden")
        async with dial(server, f"{at}@{TOKEN}/websocket/"):
            pass
        async with dial(server, f"{at}/websocket/", additional_headers={"authorization": f"Bearer {TOKEN}"}):
            pass
        async with dial(server, f"{at}/websocket/", additional_headers={"x-rivet-token": TOKEN}):
            pass
        offered = [Subprotocol("rivet"), Subprotocol(f"rivet_token.{TOKEN}")]
        async with dial(server, f"{at}/websocket/", subprotocols=offered) as client:
            assert client.subprotocol == "rivet"


async def test_no_token_and_no_query_string_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(AuthPolicy(admin_token=TOKEN))
    record = await world.actor()
    with capture_logs() as lines:
        async with world.serving() as server:
            async with dial(server, f"/gateway/{record.actor_id}@{TOKEN}/websocket/?password=hunter2") as client:
                await client.send("x")
                await world.service.until(lambda: bool(world.service.messages))
            await refused(server, f"/gateway/{record.actor_id}@{TOKEN}x/websocket/?password=hunter2")
            async with httpx.AsyncClient() as http:
                await http.get(f"http://127.0.0.1:{server.port}/limits?password=hunter2")
    of_the_host = [entry.getMessage() for entry in caplog.records if entry.name.startswith("uvicorn")]
    assert lines
    for secret in (TOKEN, "hunter2"):
        assert secret not in repr(lines)
        assert secret not in repr(of_the_host)


@pytest.fixture
def small() -> World:
    return World(AuthPolicy(dev=True), Limits(message=1_000, incoming_messages=8, outgoing_queue=100_000))


async def test_a_client_is_slowed_down_when_the_actor_does_not_acknowledge(small: World) -> None:
    record = await small.actor()
    service = small.service
    async with small.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        for n in range(50):
            await client.send(str(n))
        await service.until(lambda: len(service.messages) == 8)
        async with httpx.AsyncClient() as http:  # some round trips later there are still eight
            for _ in range(3):
                await http.get(f"http://127.0.0.1:{server.port}/health")
        assert len(service.messages) == 8
        conn_id = service.opened[0].conn_id

        def acknowledge(event: Any) -> None:
            if isinstance(event, SocketMessage):
                small.sockets.ack(conn_id, event.index)

        service.on_event = acknowledge
        small.sockets.ack(conn_id, 8)
        await service.until(lambda: len(service.messages) == 50)
    assert [(message.index, message.data) for message in service.messages] == [(n + 1, str(n)) for n in range(50)]


@pytest.mark.parametrize("size", [1_001, 200_000])
async def test_a_message_that_is_too_long_closes_1009(small: World, size: int) -> None:
    record = await small.actor()
    async with small.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        await client.send("x" * 1_000)
        await client.send("x" * size)
        assert await closing(client) == (1009, "message.incoming_too_long")
        await small.service.until(lambda: bool(small.service.closed))
    assert [message.data for message in small.service.messages] == ["x" * 1_000]
    assert [(each.code, each.clean) for each in small.service.closed] == [(1009, False)]


async def flood(world: World, conn_id: str) -> None:
    """Sends until the client is found too slow, which the kernel's buffers put off for some megabytes."""
    for _ in range(400):
        world.sockets.frame(conn_id, b"x" * 64_000)
        if world.service.closed:
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("the client was never found too slow")


async def test_a_client_that_does_not_read_is_closed_1013(small: World) -> None:
    record = await small.actor()
    async with (
        small.serving() as server,
        dial(server, f"/gateway/{record.actor_id}/websocket/", max_queue=1) as client,
    ):
        await small.service.until(lambda: bool(small.service.opened))
        await flood(small, small.service.opened[0].conn_id)
        assert await closing(client) == (1013, "ws.slow_reader")
    assert [(each.code, each.reason) for each in small.service.closed] == [(1013, "ws.slow_reader")]


async def test_a_client_that_never_reads_again_is_dropped_after_the_grace(small: World) -> None:
    record = await small.actor()
    async with small.serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(
                f"GET /gateway/{record.actor_id}/websocket/ HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
                "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                "".encode()
            )
            await small.service.until(lambda: bool(small.service.opened))
            await flood(small, small.service.opened[0].conn_id)
            assert len(server.server_state.connections) == 1
            small.clock.advance(11)
            while server.server_state.connections:
                await anyio.lowlevel.checkpoint()


def protocol_of(server: HostServer) -> WebSocketProtocol:
    (protocol,) = server.server_state.connections
    assert isinstance(protocol, WebSocketProtocol)
    return protocol


async def test_an_idle_socket_keeps_nothing_of_its_handshake(world: World) -> None:
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        await client.send("x")
        await world.service.until(lambda: bool(world.service.messages))
        protocol = protocol_of(server)
        assert (len(protocol.request.headers), len(protocol.response.headers)) == (0, 0)
        assert protocol.scope["headers"] == []


async def test_a_client_that_answers_no_ping_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.gateway.protocols.DROP_AFTER", 0.0)
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/"):
        await world.service.until(lambda: bool(world.service.opened))
        protocol = protocol_of(server)
        protocol.transport.pause_reading()
        protocol.keepalive_timeout()
        await world.service.until(lambda: bool(world.service.closed))
    assert [(each.code, each.clean) for each in world.service.closed] == [(1006, False)]


async def test_a_client_that_pings_without_reading_is_dropped(world: World) -> None:
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        await world.service.until(lambda: bool(world.service.opened))
        protocol_of(server).pause_writing()
        await client.ping()
        await world.service.until(lambda: bool(world.service.closed))
    assert [(each.code, each.clean) for each in world.service.closed] == [(1006, False)]


async def test_a_dropped_client_is_told_from_one_that_closes(world: World) -> None:
    record = await world.actor()
    async with world.serving() as server:
        client = await dial(server, f"/gateway/{record.actor_id}/websocket/")
        await client.send("x")
        await world.service.until(lambda: bool(world.service.messages))
        client.transport.abort()
        await world.service.until(lambda: bool(world.service.closed))
    assert [(each.code, each.clean) for each in world.service.closed] == [(1006, False)]


async def test_a_close_by_the_actor_comes_after_its_frames(world: World) -> None:
    record = await world.actor()

    def actor(event: Any) -> None:
        if isinstance(event, Opened):
            for n in range(100):
                world.sockets.frame(event.conn_id, str(n))
            world.sockets.close(event.conn_id, 4001, "kicked")

    world.service.on_event = actor
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        assert [await client.recv() for _ in range(100)] == [str(n) for n in range(100)]
        assert await closing(client) == (4001, "kicked")
    assert world.service.closed == []


async def test_a_rebind_replays_what_the_client_sent_while_nobody_was_there(world: World) -> None:
    record = await world.actor()
    async with world.serving() as server, dial(server, f"/gateway/{record.actor_id}/websocket/") as client:
        for n in range(6):
            await client.send(str(n))
        await world.service.until(lambda: len(world.service.messages) == 6)
        conn_id = world.service.opened[0].conn_id
        world.sockets.opened(conn_id)
        world.service.events.clear()
        assert world.sockets.rebind(conn_id, 2)
        assert [message.data for message in world.service.messages] == ["2", "3", "4", "5"]
        world.sockets.frame(conn_id, "back")
        assert await client.recv() == "back"


async def test_the_server_stops_in_stages(world: World) -> None:
    record = await world.actor()
    stages: list[str] = []
    with anyio.fail_after(10):
        server = HostServer(world.app, bind("127.0.0.1", 0), world.limits)
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(server.run)
            assert port == server.port != 0
            client = await dial(server, f"/gateway/{record.actor_id}/websocket/")
            await world.service.until(lambda: bool(world.service.opened))

            async def drain() -> None:
                with pytest.raises(OSError, match=r"."):
                    await anyio.connect_tcp("127.0.0.1", port)
                await client.send("still served")
                await world.service.until(lambda: bool(world.service.messages))
                stages.append("drained")
                world.sockets.close_all()

            await server.stop(drain)
            stages.append("stopped")
            assert await closing(client) == (1012, "node.draining")
            await server.stop(drain)
    assert stages == ["drained", "stopped"]
    assert world.service.closed == [], "the actors sleep: the next start of the host tells them"


async def test_a_server_that_stops_before_the_gateway_closes_its_sockets_tells_actors_of_a_drop(world: World) -> None:
    record = await world.actor()
    with anyio.fail_after(10):
        server = HostServer(world.app, bind("127.0.0.1", 0), world.limits)
        async with anyio.create_task_group() as tasks:
            await tasks.start(server.run)
            client = await dial(server, f"/gateway/{record.actor_id}/websocket/")
            await world.service.until(lambda: bool(world.service.opened))
            await server.stop()
            assert (await closing(client))[0] == 1012
    assert [(each.code, each.clean) for each in world.service.closed] == [(1006, False)]


async def raw_answer(port: int, request: bytes) -> bytes:
    stream = await anyio.connect_tcp("127.0.0.1", port)
    async with stream:
        await stream.send(request)
        answer = b""
        with anyio.fail_after(5):
            try:
                while chunk := await stream.receive():
                    answer += chunk
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer
    return answer


async def test_request_lines_and_headers_are_bounded(world: World) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    async with world.serving() as server:
        for request, status in (
            (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: " + b"y" * 70_000 + b"\r\n\r\n", b"400"),
            (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nhost: localhost\r\n" + upgrade + b"\r\n", b"414"),
            (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + upgrade + b"\r\n", b"400"),
            (b"nonsense\r\n\r\n", b"400"),
        ):
            answer = await raw_answer(server.port, request)
            assert answer.split(b" ")[1] == status, answer[:80]


async def test_a_body_is_read_no_further_than_its_limit(small: World) -> None:
    async with small.serving() as server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        big = await http.put("/definitions/x", content=b"x" * 70_000)
        assert (big.status_code, big.json()["code"]) == (413, "too_large")
        after = await http.get("/health")
        assert after.status_code == 200


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(OSError, match=r"."):
            bind("127.0.0.1", taken.getsockname()[1])


async def test_an_error_of_the_caller_in_the_service_refuses_the_upgrade(world: World) -> None:
    record = await world.actor()
    world.service.refuse_open = CallerError("user", "no_entry", "members only", metadata=b'{"a":1}')
    async with world.serving() as server:
        status, body, _ = await refused(server, f"/gateway/{record.actor_id}/websocket/")
    assert (status, body["group"], body["code"], body["metadata"]) == (400, "user", "no_entry", {"a": 1})
