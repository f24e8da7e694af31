"""The client's raw sockets, against a WebSocket server of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from host.client import Client, SocketClosed
from host.model.errors import DormiceError

pytestmark = pytest.mark.anyio

Refuse = Callable[[ServerConnection, Request], Response | None]


@asynccontextmanager
async def listening(
    handler: Callable[[ServerConnection], Awaitable[None]], refuse: Refuse | None = None
) -> AsyncIterator[Client]:
    async with serve(handler, "127.0.0.1", 0, subprotocols=None, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", token="t0") as client:
            with anyio.fail_after(5):
                yield client


async def test_text_and_bytes_go_both_ways_with_path_and_token() -> None:
    seen: list[str] = []

    async def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.extend((connection.request.path, connection.request.headers["authorization"]))
        async for frame in connection:
            await connection.send(frame)

    async with listening(echo) as client, await client.connect("id", "room/a?x=1") as socket:
        await socket.send("text")
        await socket.send(b"\x00\x01")
        assert [await socket.receive(), await socket.receive()] == ["text", b"\x00\x01"]
    assert seen == ["/gateway/id/websocket/room/a?x=1", "Bearer t0"]


async def test_a_close_of_the_host_comes_with_code_and_reason() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.send("last")
        await connection.close(1011, "actor.poison_message")

    async with listening(close) as client, client.connect("id") as socket:
        assert await socket.receive() == "last"
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
        with pytest.raises(SocketClosed):
            await socket.send("late")
    assert (caught.value.code, caught.value.reason) == (1011, "actor.poison_message")


async def test_a_cut_connection_is_1006_and_iteration_ends() -> None:
    async def cut(connection: ServerConnection) -> None:
        await connection.send("one")
        connection.transport.abort()

    async with listening(cut) as client, await client.connect("id") as socket:
        assert [frame async for frame in socket] == ["one"]
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
    assert caught.value.code == 1006


async def test_a_refused_upgrade_raises_the_hosts_error() -> None:
    def refuse(_connection: ServerConnection, _request: Request) -> Response:
        body = b'{"group":"actor","code":"start_failed","message":"it threw"}'
        headers = Headers({"retry-after": "3", "content-length": str(len(body))})
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, "no", headers, body)

    async def never(_connection: ServerConnection) -> None:
        raise AssertionError("not reached")

    async with listening(never, refuse) as client:
        with pytest.raises(DormiceError) as caught:
            await client.connect("id")
    assert caught.value.name == "actor/start_failed"
    assert caught.value.retry_after == 3.0


async def test_nobody_listening_is_an_error_of_the_client() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with Client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(DormiceError) as caught:
            await client.connect("id")
    assert caught.value.name == "client/unreachable"
