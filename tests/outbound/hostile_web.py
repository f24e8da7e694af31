"""The network as a hostile one would be: a server that speaks TLS as `module.test`, and a name server that lies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from tests.outbound.tls import server_context
from tests.outbound.web import answer

__all__ = ["BODY", "PUBLIC", "Names", "Says", "Server", "Wire", "running"]

BODY = b"export default {}"
PUBLIC = "93.184.215.14"
Says = Callable[[str, str], bytes]


class Wire(httpcore.AsyncNetworkBackend):
    """The network: whatever is connected to, the local server answers; keeps where connections were to go."""

    def __init__(self, port: int) -> None:
        self.connected: list[tuple[str, int]] = []
        self._port = port
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        return await self._network.connect_tcp("127.0.0.1", self._port, timeout)


class Server:
    """Speaks TLS as `module.test`. `says` gets path and head and gives the bytes of the answer."""

    def __init__(self, port: int) -> None:
        self.says: Says = lambda path, head: answer("200 OK", BODY)
        self.heads: list[str] = []
        self.wire = Wire(port)


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp, anyio.create_task_group() as tasks:
        server = Server(tcp.extra(SocketAttribute.local_port))

        async def connection(stream: ByteStream) -> None:
            async with stream:
                head = b""
                try:
                    while b"\r\n\r\n" not in head:
                        head += await stream.receive()
                    server.heads.append(head.decode())
                    await stream.send(server.says(head.decode().split(" ")[1], head.decode()))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return  # the client did not like what it saw

        async def quietly(_error: BaseException, stream: Any) -> None:
            await anyio.aclose_forcefully(stream)  # a handshake that the client broke off

        listener = TLSListener(tcp, server_context(), standard_compatible=False)
        listener.handle_handshake_error = quietly  # type: ignore[assignment, method-assign]
        tasks.start_soon(listener.serve, connection)
        yield server
        tasks.cancel_scope.cancel()


class Names:
    """A name server: for each name the answers to come, the last one for ever; an address is its own answer."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        left = self._answers.get(host, [[host]])
        return left.pop(0) if len(left) > 1 else left[0]
