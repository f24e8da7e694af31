"""Connections inside the process: one end of a socket pair is served as if it had come in, and no port is open.

What a client in the same program cannot do by calling the application (a WebSocket), it does over one of these; limits,
refusals and closes are those of any other client.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.server import ServerState

from host.gateway.server import server_config
from host.model.limits import Limits

__all__ = ["InProcess"]


class InProcess:
    """Belongs to the event loop that it is used on."""

    def __init__(self, app: Any, limits: Limits) -> None:
        self._config = server_config(app, limits)
        self._config.load()
        self._state = ServerState()

    async def dial(self) -> socket.socket:
        """The client's end of a new connection."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(self._protocol, theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return ours

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self._config.http_protocol_class
        protocol: asyncio.Protocol = make(config=self._config, server_state=self._state, app_state={})
        return protocol
