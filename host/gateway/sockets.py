"""The sockets that the gateway holds, and the port by which actors reach them. They outlive the instances.

Guarantees (delivery.md D3, section 4): messages of a connection are numbered in the order of their frames and posted in
that order; a message is freed only when an acknowledgement covers it, and posted again by `rebind` and `resend`; when
too much is unacknowledged the socket is not read; frames leave in order; every connection ends with exactly one of a
close that the actor side asked for and a `SocketClosed` posted to it, except while the host stops, when the rows on
disk say what was open.

Everything here belongs to the event loop and nothing in the port awaits, so a replay cannot interleave with reading.
It can nest (a message posted again may make the actor ask for a resend at once): the inner replay has then posted all
that the outer one still had, and the outer one stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from host.gateway.connection import Connection
from host.gateway.pumps import Receive, Send, read_frames, write_frames
from host.model.clock import Clock
from host.model.errors import UnavailableError, limit_error
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.tunnel import Opened, SocketClosed
from host.placement.api import ActorService
from host.telemetry.logging import get_logger

__all__ = ["SocketGateway"]

# A client that does not take a close frame for so long is dropped; as long as uvicorn waits for the answer to one.
CLOSE_GRACE = 10.0

log = get_logger("gateway.sockets")


class SocketGateway:
    """Implements `host.model.ports.GatewayPort`. `attach` comes before the first socket: the actor service needs the
    port, and the port the service."""

    def __init__(self, *, gateway_id: str, limits: Limits, metrics: Metrics, clock: Clock) -> None:
        self.gateway_id = gateway_id
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._service: ActorService | None = None
        self._held: dict[str, Connection] = {}
        self._by_actor: dict[str, dict[str, Connection]] = {}
        self._stopping = False

    def attach(self, service: ActorService) -> None:
        self._service = service

    @property
    def service(self) -> ActorService:
        if self._service is None:
            raise RuntimeError("attach the actor service before sockets are opened")
        return self._service

    def __len__(self) -> int:
        return len(self._held)

    # a socket's life ---------------------------------------------------------------------------------------------

    async def admit(self, opened: Opened) -> None:
        """Returns once the actor runs and the handshake may be accepted; raises what to refuse the upgrade with."""
        held = len(self._by_actor.get(opened.actor_id, ()))
        if held >= self._limits.connections:
            raise limit_error("connections", held + 1, self._limits.connections, "close others first")
        try:
            with self._clock.fail_after(self._limits.wake_timeout / 1000):
                await self.service.open_socket(opened)
        except TimeoutError:
            raise UnavailableError("actor", "starting", "the actor takes too long to start; try again") from None
        if self._stopping:
            raise UnavailableError("node", "draining", "this host is about to stop; try again", retry_after=1.0)

    async def hold(self, opened: Opened, receive: Receive, send: Send, abort: Callable[[], None] | None) -> None:
        """Pumps an accepted socket until it is closed."""
        if self._stopping:
            await send({"type": "websocket.close", "code": 1012, "reason": "node.draining"})
            return
        conn = Connection(opened, abort)
        self._held[conn.conn_id] = conn
        self._by_actor.setdefault(conn.actor_id, {})[conn.conn_id] = conn
        self._metrics.gauge("connections", len(self._held))
        closed = SocketClosed(conn.actor_id, conn.conn_id, 1006, "", False)
        try:
            self.service.post_opened(opened)
            async with anyio.create_task_group() as pumps:
                pumps.start_soon(write_frames, conn, send, pumps.cancel_scope)
                closed = await read_frames(conn, receive, self.service.post_message, self._limits, self._too_long)
                pumps.cancel_scope.cancel()
        finally:
            conn.gone = True
            if self._forget(conn):
                self._tell(closed, "client")

    def close_all(self, code: int = 1012, reason: str = "node.draining") -> None:
        """For the end of the host, when actors have hibernated: closes what is still open and tells no actor. The next
        start of the host finds the connections in storage and delivers their closes."""
        self._stopping = True
        for conn in list(self._held.values()):
            self._end(conn, code, reason, why="draining")

    # the port ----------------------------------------------------------------------------------------------------

    def connections_of(self, actor_id: str) -> Sequence[Opened]:
        return [conn.opened for conn in self._by_actor.get(actor_id, {}).values()]

    def rebind(self, conn_id: str, msg_index: int) -> bool:
        conn = self._held.get(conn_id)
        if conn is None:
            return False
        if msg_index >= conn.next_index:
            # the disk knows of messages that this connection never sent: numbering on would lose some
            log.error("rebind beyond the last message", conn_id=conn_id, msg_index=msg_index, last=conn.next_index - 1)
            self._end(conn, 1011, "ws.restore_error", why="ws.restore_error")
            return False
        conn.ack(msg_index)
        if not conn.open_acked:
            self.service.post_opened(conn.opened)
        self._replay(conn, msg_index)
        return True

    def opened(self, conn_id: str) -> None:
        conn = self._held.get(conn_id)
        if conn is not None:
            conn.open_acked = True

    def is_open_acked(self, conn_id: str) -> bool | None:
        """Whether the open of a connection is known to be committed; None if the connection is not held."""
        conn = self._held.get(conn_id)
        return None if conn is None else conn.open_acked

    def frame(self, conn_id: str, data: str | bytes) -> None:
        conn = self._held.get(conn_id)
        if conn is None:
            self._metrics.count("frames_dropped", "unknown_connection")
        elif not conn.push(data, self._limits.outgoing_queue):
            self._metrics.count("frames_dropped", "ws.slow_reader", len(conn.outgoing) + 1)
            self._end(conn, 1013, "ws.slow_reader", why="ws.slow_reader", cut=True)
            self._tell(SocketClosed(conn.actor_id, conn_id, 1013, "ws.slow_reader", False), "ws.slow_reader")

    def ack(self, conn_id: str, msg_index: int) -> None:
        conn = self._held.get(conn_id)
        if conn is not None:
            conn.ack(msg_index)

    def resend(self, conn_id: str, after: int) -> bool:
        conn = self._held.get(conn_id)
        if conn is None or not conn.first - 1 <= after < conn.next_index:
            return False
        self._replay(conn, after)
        return True

    def close(self, conn_id: str, code: int, reason: str) -> None:
        conn = self._held.get(conn_id)
        if conn is not None:
            self._end(conn, code, reason, why=str(code))

    # inside ------------------------------------------------------------------------------------------------------

    def _replay(self, conn: Connection, after: int) -> None:
        conn.replays += 1
        mine = conn.replays
        post = self.service.post_message
        for message in conn.after(after):
            if conn.replays != mine or conn.closing is not None:
                return
            if message.index >= conn.first:  # not acknowledged meanwhile
                post(message)

    def _too_long(self, conn: Connection, size: int) -> None:
        reason = "message.incoming_too_long"
        self._end(conn, 1009, reason, why=reason)
        self._tell(SocketClosed(conn.actor_id, conn.conn_id, 1009, reason, False), reason)
        log.info("message refused", conn_id=conn.conn_id, error=reason, used=size, allowed=self._limits.message)

    def _end(self, conn: Connection, code: int, reason: str, *, why: str, cut: bool = False) -> None:
        """Ends a connection from our side: nothing more of it is read, posted or replayed."""
        if not self._forget(conn):
            return
        self._metrics.count("connections_closed", why)
        conn.begin_close(code, reason, cut=cut)
        if conn.abort is not None:
            self._clock.timer(self._clock.monotonic() + CLOSE_GRACE, conn.abort)

    def _forget(self, conn: Connection) -> bool:
        """False if it was forgotten before."""
        if self._held.pop(conn.conn_id, None) is None:
            return False
        of_actor = self._by_actor[conn.actor_id]
        del of_actor[conn.conn_id]
        if not of_actor:
            del self._by_actor[conn.actor_id]
        self._metrics.gauge("connections", len(self._held))
        return True

    def _tell(self, closed: SocketClosed, why: str) -> None:
        if why == "client":
            self._metrics.count("connections_closed", "client" if closed.clean else "drop")
        if not self._stopping:
            self.service.post_closed(closed)
        log.debug("socket closed", conn_id=closed.conn_id, actor_id=closed.actor_id, code=closed.code, why=why)
