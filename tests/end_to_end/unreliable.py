"""A network between client and host that a test can break: a TCP proxy at one address, whatever port the host has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["Network", "unreliable_network"]


class Network:
    """`cut` breaks every connection as a lost network does; `cuts` counts those that it broke. `gate` is awaited with
    the first bytes of each connection before they go on."""

    def __init__(self, port_of_host: Callable[[], int]) -> None:
        self._port_of_host = port_of_host
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0
        self.gate: Callable[[bytes], Awaitable[None]] | None = None

    def cut(self) -> None:
        self.cuts += len(self._open)
        for writer in list(self._open):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        other: asyncio.StreamWriter | None = None
        try:
            first = await reader.read(65_536)
            if self.gate is not None:
                await self.gate(first)
            back, other = await asyncio.open_connection("127.0.0.1", self._port_of_host())
            self._open.add(other)
            other.write(first)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_copy(reader, other))
                pumps.create_task(_copy(back, writer))
        except (OSError, ExceptionGroup):
            pass  # one end is gone: so is the other
        finally:
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()
                    self._open.discard(end)
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@asynccontextmanager
async def unreliable_network(port_of_host: Callable[[], int]) -> AsyncGenerator[Network]:
    network = Network(port_of_host)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        await network.end()
