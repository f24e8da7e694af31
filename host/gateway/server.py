"""The HTTP server: uvicorn on a socket that is bound already, stopped in stages by whoever runs it.

uvicorn on its own takes the signals and, when it stops, closes every WebSocket before the application could put its
actors to sleep. Here signals are left to the node, and `stop` is: stop accepting, run the node's drain (gate closed,
actors hibernated and committed), and only then let uvicorn close what is left.

The event loop is the caller's. Request lines are never logged, for they may hold tokens.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus

from host.gateway.protocols import HttpProtocol, WebSocketProtocol
from host.model.limits import Limits

__all__ = ["HostServer", "bind", "server_config"]

# A socket that is not read never sees its pong; uvicorn's own 20 s would drop a client for our back-pressure.
PING_TIMEOUT = 120.0
# Above the message limit the gateway closes a socket itself, and says why; beyond this slack the parser does.
FRAME_SLACK = 64 * 1_024
# Longer than clients keep an idle connection themselves (Node's 4 s, proxies' 60 s): who closes second loses no
# request that the other sends just then.
KEEP_ALIVE = 75
LAST_REQUESTS = 10
BACKLOG = 2_048


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to the address; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets whose protocol says TCP: else
    # an answer in two writes waits 40 ms for the client's delayed acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def server_config(app: Any, limits: Limits) -> uvicorn.Config:
    """How connections are served, wherever they come from."""
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=limits.message + FRAME_SLACK,
        ws_ping_timeout=PING_TIMEOUT,
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_REQUESTS,
    )


class HostServer(uvicorn.Server):
    """`await tasks.start(server.run)` gives the port once connections are accepted."""

    def __init__(self, app: Any, sock: socket.socket, limits: Limits) -> None:
        super().__init__(server_config(app, limits))
        self._sock = sock
        self._status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
        self._stopped = False

    @property
    def port(self) -> int:
        port: int = self._sock.getsockname()[1]
        return port

    async def run(self, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:  # type: ignore[override]
        """Serves until `stop`."""
        self._status = task_status
        await self.serve(sockets=[self._sock])

    async def stop(self, drain: Callable[[], Awaitable[None]] | None = None) -> None:
        """`run` returns soon after this does. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self.stop_accepting()
            if drain is not None:
                await drain()
        finally:
            self.should_exit = True

    def stop_accepting(self) -> None:
        """Closes the listening socket; connections that are open stay."""
        for server in getattr(self, "servers", ()):
            server.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._status.started(self.port)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
