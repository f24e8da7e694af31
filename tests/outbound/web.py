"""A local HTTP server on a free port that says, byte for byte, what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute

Handler = Callable[["Web", str, ByteStream], Awaitable[None]]


class Web:
    """`requests` are the heads received; `url(path)` is where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[str] = []
        self.arrived = anyio.Event()

    def url(self, path: str = "/m", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def answer(status: str, body: bytes = b"", *headers: str, length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "connection: close"]
    if length:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def saying(data: bytes) -> Handler:
    async def handle(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(data)

    return handle


async def silent(_web: Web, _path: str, _stream: ByteStream) -> None:
    """Takes the request and never answers."""
    await anyio.sleep_forever()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Web]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        web = Web(listener.extra(SocketAttribute.local_port))

        async def connection(stream: ByteStream) -> None:
            async with stream:
                head = b""
                try:
                    while b"\r\n\r\n" not in head:
                        head += await stream.receive()
                    web.requests.append(head.decode())
                    web.arrived.set()
                    await handler(web, head.decode().split(" ")[1], stream)
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return  # the client went away: what it does then is the test's business

        tasks.start_soon(listener.serve, connection)
        yield web
        tasks.cancel_scope.cancel()
