"""A web server of the test's own on a free port of loopback, for modules that are loaded from a URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream

__all__ = ["serve_bytes"]


@asynccontextmanager
async def serve_bytes(body: bytes, content_type: str) -> AsyncGenerator[str]:
    """Answers every request with `body`; gives the URL."""
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )

    async def answer(stream: SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            await stream.send(head.encode() + body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, answer)
        yield f"http://127.0.0.1:{port}/module.js"
        tasks.cancel_scope.cancel()
