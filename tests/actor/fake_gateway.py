"""A gateway without a network: holds connections, buffers messages until they are acknowledged, and writes down in one
order what it is told. Implements `host.model.ports.GatewayPort`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
from msgspec.structs import replace

from host.model.tunnel import (
    ActionRequest,
    Opened,
    SocketClosed,
    SocketMessage,
    SocketProtocol,
    Subscription,
    Visitor,
)
from host.placement.api import ActorService

__all__ = ["FakeGateway", "Line", "Socket"]

# One thing that happened: what, to which connection or actor, and the details.
Line = tuple[object, ...]


class Socket:
    """One client. `frames` are what it was sent, `closed` the (code, reason) that it was closed with."""

    def __init__(self, gateway: FakeGateway, opened: Opened) -> None:
        self.opened = opened
        self.conn = opened.conn_id
        self.frames: list[str | bytes] = []
        self.indexes: list[int] = []
        self.closed: tuple[int, str] | None = None
        self.acked = 0
        self.open_acked = False
        self.last = 0
        self.buffer: dict[int, SocketMessage] = {}
        self._gateway = gateway

    def send(self, data: str | bytes | ActionRequest | Subscription) -> None:
        self.last += 1
        message = SocketMessage(self.opened.actor_id, self.conn, self.last, data)
        self.buffer[self.last] = message
        self._gateway.service.post_message(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """The client closes."""
        self._gateway.held.pop(self.conn, None)
        self._gateway.service.post_closed(SocketClosed(self.opened.actor_id, self.conn, code, reason, True))

    async def received(self, count: int) -> list[str | bytes]:
        """The frames, once there are so many."""
        await self._gateway.until(lambda: len(self.frames) >= count)
        return self.frames

    async def ended(self) -> tuple[int, str]:
        await self._gateway.until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed


class FakeGateway:
    def __init__(self, history: list[Line]) -> None:
        self.gateway_id = "9" * 32
        self.history = history
        self.held: dict[str, Socket] = {}
        self.rebind_fails: set[str] = set()
        self.resends = True
        self._service: ActorService | None = None
        self._made = 0
        self._changed = anyio.Event()

    def attach(self, service: ActorService) -> None:
        self._service = service

    @property
    def service(self) -> ActorService:
        assert self._service is not None
        return self._service

    async def open(
        self,
        actor_id: str,
        *,
        conn_id: str | None = None,
        path: str = "/",
        params: bytes | None = None,
        session: bytes | None = None,
        protocol: SocketProtocol = "",
        visitor: Visitor | None = None,
    ) -> Socket:
        """As the real one: waits for the actor, accepts, then queues the open event."""
        self._made += 1
        opened = Opened(
            actor_id=actor_id,
            conn_id=conn_id or f"{self._made:032x}",
            gateway_id=self.gateway_id,
            request_id=f"r{self._made}",
            path=path,
            headers=(),
            params=params,
            at=0,
            session=session,
            protocol=protocol,
        )
        asked = await self.service.open_socket(opened, visitor)
        socket = self.place(opened if asked is None else replace(opened, auth=asked))
        self.service.post_opened(socket.opened)
        return socket

    def place(self, opened: Opened) -> Socket:
        """Holds a socket whose handshake is done."""
        socket = self.held[opened.conn_id] = Socket(self, opened)
        return socket

    async def until(self, reached: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not reached():
                await self._changed.wait()

    def note(self, *line: object) -> None:
        """Something happened, here or elsewhere."""
        self.history.append(line)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # --- the port ------------------------------------------------------------------------------------------------

    def connections_of(self, actor_id: str) -> Sequence[Opened]:
        return [socket.opened for socket in self.held.values() if socket.opened.actor_id == actor_id]

    def is_open_acked(self, conn_id: str) -> bool | None:
        socket = self.held.get(conn_id)
        return None if socket is None else socket.open_acked

    def rebind(self, conn_id: str, msg_index: int) -> bool:
        self.note("rebind", conn_id, msg_index)
        if conn_id in self.rebind_fails:
            raise RuntimeError("the binding failed")
        socket = self.held.get(conn_id)
        if socket is None:
            return False
        self._free(socket, msg_index)
        if not socket.open_acked:
            self.service.post_opened(socket.opened)
        for message in list(socket.buffer.values()):
            self.service.post_message(message)
        return True

    def opened(self, conn_id: str) -> None:
        self.note("opened", conn_id)
        if conn_id in self.held:
            self.held[conn_id].open_acked = True

    def frame(self, conn_id: str, data: str | bytes, index: int = 0) -> None:
        if conn_id in self.held:
            self.held[conn_id].frames.append(data)
            self.held[conn_id].indexes.append(index)
        self.note("frame", conn_id, data)

    def ack(self, conn_id: str, msg_index: int) -> None:
        if conn_id in self.held:
            self._free(self.held[conn_id], msg_index)
        self.note("ack", conn_id, msg_index)

    def resend(self, conn_id: str, after: int) -> bool:
        self.note("resend", conn_id, after)
        socket = self.held.get(conn_id)
        if socket is None or not self.resends:
            return False
        for index, message in list(socket.buffer.items()):
            if index > after:
                self.service.post_message(message)
        return True

    def close(self, conn_id: str, code: int, reason: str) -> None:
        socket = self.held.pop(conn_id, None)
        if socket is not None:
            socket.closed = (code, reason)
        self.note("close", conn_id, code, reason)

    def _free(self, socket: Socket, msg_index: int) -> None:
        """Frees what is acknowledged; an acknowledgement never goes back, nor beyond what was sent."""
        assert socket.acked <= msg_index <= socket.last, (socket.acked, msg_index, socket.last)
        socket.acked = msg_index
        for index in [index for index in socket.buffer if index <= msg_index]:
            del socket.buffer[index]
