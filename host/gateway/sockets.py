"""The sockets that the gateway holds, and the port by which actors reach them. They outlive the instances.

Guarantees (D3): messages of a connection are numbered in the order of their frames and posted in
that order; a message is freed only when an acknowledgement covers it, and posted again by `rebind` and `resend`; when
too much is unacknowledged the socket is not read; frames leave in order; every connection ends with exactly one of a
close that the actor side asked for and a `SocketClosed` posted to it, except while the host stops, when the rows on
disk say what was open.

Connections whose clients may come back are in `session_room.py`, and how connections end in `endings.py`.

Everything here belongs to the event loop and nothing in the port awaits, so a replay cannot interleave with reading.
It can nest (a message posted again may make the actor ask for a resend at once): the inner replay has then posted all
that the outer one still had, and the outer one stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio
from msgspec.structs import replace

from host.gateway.connection import Connection
from host.gateway.endings import Endings
from host.gateway.held import Held
from host.gateway.pumps import Receive, Send, read_frames, write_frames
from host.gateway.session_room import Refused, SessionRoom
from host.gateway.sessions import Comeback
from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError, limit_error
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.tunnel import Opened, SocketClosed, Visitor
from host.placement.api import ActorService
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["SocketGateway"]

# How a transport ends that nobody closed: no close frame, or one that says that the service restarts.
DROPS = frozenset({1006, 1012})

log = get_logger("gateway.sockets")


class SocketGateway:
    """Implements `host.model.ports.GatewayPort`. `attach` comes before the first socket: the actor service needs the
    port, and the port the service."""

    def __init__(self, *, gateway_id: str, limits: Limits, metrics: Metrics, clock: Clock, session_key: bytes) -> None:
        """`session_key` is secret and the same after a restart: the hashes of sessions' secrets are made with it."""
        self.gateway_id = gateway_id
        self.session_key = session_key
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._held = Held()
        # For each socket on its way in, the tokens that have been revoked since it asked.
        self._arriving: dict[int, set[str]] = {}
        self._endings = Endings(self._held, metrics, clock)
        self.sessions = SessionRoom(gateway_id, self._held, self._endings, limits, metrics, clock)

    def attach(self, service: ActorService) -> None:
        self._endings.attach(service)

    @property
    def service(self) -> ActorService:
        return self._endings.service

    def __len__(self) -> int:
        return len(self._held)

    # a socket's life ---------------------------------------------------------------------------------------------

    @contextmanager
    def arrival(self) -> Iterator[set[str]]:
        """From before its token is looked up until `hold`: the ids of the tokens that are revoked meanwhile. A socket
        that is not held yet is not among those that `revoke` closes."""
        revoked: set[str] = set()
        self._arriving[id(revoked)] = revoked
        try:
            yield revoked
        finally:
            del self._arriving[id(revoked)]

    async def turn_away(self, opened: Opened, send: Send) -> None:
        """After its handshake: the token that let it in is none any more."""
        reason = "auth.revoked"
        self._metrics.count("sockets_refused", reason)
        log.info("socket refused", conn_id=opened.conn_id, error=reason)
        await send({"type": "websocket.close", "code": 1008, "reason": reason})

    async def admit(self, opened: Opened, visitor: Visitor | None = None) -> Opened:
        """Returns once the actor runs and the handshake may be accepted, with what the actor made of the visitor;
        raises what to refuse the upgrade with."""
        if self.service.connections_allowed(opened.actor_id) is not None:
            self._check_room(opened)
        try:
            with self._clock.fail_after(self._limits.wake_timeout / 1000):
                asked = await self.service.open_socket(opened, visitor)
        except TimeoutError:
            raise UnavailableError("actor", "starting", "the actor takes too long to start; try again") from None
        self._check_room(opened)
        if self._endings.stopping:
            raise UnavailableError("node", "draining", "this host is about to stop; try again", retry_after=1.0)
        return opened if asked is None else replace(opened, auth=asked)

    def _check_room(self, opened: Opened) -> None:
        """Of the actor, whose definition may say how much, and of its tenant."""
        held = self._held.count_of(opened.actor_id)
        allowed = self.service.connections_allowed(opened.actor_id) or self._limits.connections
        if held >= allowed:
            raise limit_error("connections", held + 1, allowed, "close others first")
        refused = self.service.refuse_connection(opened.tenant)
        if refused is not None:
            raise refused

    async def hold(self, opened: Opened, receive: Receive, send: Send, abort: Callable[[], None] | None) -> None:
        """Pumps an accepted socket until it is closed."""
        if self._endings.stopping:
            await send({"type": "websocket.close", "code": 1012, "reason": "node.draining"})
            return
        try:
            self._check_room(opened)  # many may have been let in at once
        except DormiceError as error:
            note_limit(self._metrics, error)
            self._metrics.count("sockets_refused", error.name)
            log.info("socket refused", conn_id=opened.conn_id, error=error.name, message=error.message)
            await send({"type": "websocket.close", "code": 1013, "reason": "limit.exceeded"})
            return
        conn = Connection(opened, abort)
        self._held.put(conn)
        self.service.count_connections(opened.tenant, 1)
        self._metrics.gauge("connections", len(self._held))
        self.service.post_opened(opened)
        await self._pump(conn, receive, send)

    async def hold_session(
        self,
        opened: Opened,
        comeback: Comeback,
        receive: Receive,
        send: Send,
        abort: Callable[[], None] | None,
        *,
        admitted: bool,
    ) -> None:
        """As `hold`, for a client that opens a session (which `admit` has let in) or comes back to one."""
        if admitted and not self.sessions.knows(opened.actor_id, comeback.session):
            await self.hold(opened, receive, send, abort)
            return
        try:
            conn = self.sessions.come_back(opened.actor_id, comeback, abort, opened.protocol)
            conn.token_id, conn.actions = opened.token_id, opened.actions
        except Refused as refusal:
            await send({"type": "websocket.close", "code": refusal.code, "reason": refusal.reason})
            return
        await self._pump(conn, receive, send)

    async def _pump(self, conn: Connection, receive: Receive, send: Send) -> None:
        """Until the transport is gone."""
        closed = SocketClosed(conn.actor_id, conn.conn_id, 1006, "", False)
        try:
            async with anyio.create_task_group() as pumps:
                pumps.start_soon(write_frames, conn, send, pumps.cancel_scope)
                if conn.replaying:
                    pumps.start_soon(self.sessions.replay, conn)
                post = self.service.post_message
                closed = await read_frames(conn, receive, post, self._limits, self._too_long, self._malformed)
                pumps.cancel_scope.cancel()
        finally:
            conn.gone = True
            if conn.session is not None and closed.code in DROPS and not self._endings.stopping:
                self.sessions.dropped(conn)
            elif not conn.detached and self._endings.forget(conn):
                self._endings.tell(closed, "client")

    def close_all(self, code: int = 1012, reason: str = "node.draining") -> None:
        """For the end of the host, when actors have hibernated: closes what is still open and tells no actor. The next
        start of the host finds the connections in storage and delivers their closes."""
        self._endings.stopping = True
        for conn in self._held:
            self._endings.end(conn, code, reason, why="draining")

    def revoke(self, token_id: str) -> int:
        """Closes the sockets that a token let in which is no token any more; how many. A client of a session that has
        come back is held to the token with which it came."""
        for arriving in self._arriving.values():
            arriving.add(token_id)
        reason, revoked = "auth.revoked", [conn for conn in self._held if conn.token_id == token_id]
        for conn in revoked:
            self._endings.end(conn, 1008, reason, why=reason, cut=True)
            self._endings.tell(SocketClosed(conn.actor_id, conn.conn_id, 1008, reason, False), reason)
        return len(revoked)

    def cut_all(self) -> None:
        """Drops every client's TCP connection, as a network does: for tests of crashes."""
        for conn in self._held:
            if conn.abort is not None:
                conn.abort()

    # the port ----------------------------------------------------------------------------------------------------

    def connections_of(self, actor_id: str) -> Sequence[Opened]:
        return [conn.opened for conn in self._held.of_actor(actor_id)]

    def rebind(self, conn_id: str, msg_index: int) -> bool:
        conn = self._held.get(conn_id)
        if conn is None:
            return False
        if msg_index >= conn.next_index:
            # the disk knows of messages that this connection never sent: numbering on would lose some
            log.error("rebind beyond the last message", conn_id=conn_id, msg_index=msg_index, last=conn.next_index - 1)
            self._endings.end(conn, 1011, "ws.restore_error", why="ws.restore_error")
            return False
        conn.ack(msg_index)
        if not conn.open_acked:
            self.service.post_opened(conn.opened)
        self._replay(conn, msg_index)
        return True

    def opened(self, conn_id: str) -> None:
        conn = self._held.get(conn_id)
        if conn is not None:
            conn.confirm()

    def is_open_acked(self, conn_id: str) -> bool | None:
        """Whether the open of a connection is known to be committed; None if the connection is not held."""
        conn = self._held.get(conn_id)
        return None if conn is None else conn.open_acked

    def frame(self, conn_id: str, data: str | bytes, index: int = 0) -> None:
        conn = self._held.get(conn_id)
        if conn is None:
            self._metrics.count("frames_dropped", "unknown_connection")
            return
        if conn.session is not None and not self.sessions.frame(conn, index):
            return
        if not conn.push(data, self._limits.outgoing_queue):
            self._slow(conn)

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
            self._endings.end(conn, code, reason, why=str(code))

    # inside ------------------------------------------------------------------------------------------------------

    def _slow(self, conn: Connection) -> None:
        if conn.session is not None:
            self.sessions.slow(conn)
            return
        reason = "ws.slow_reader"
        self._metrics.count("frames_dropped", reason, len(conn.outgoing) + 1)
        self._metrics.count("limits", "outgoing_queue")
        self._endings.end(conn, 1013, reason, why=reason, cut=True)
        self._endings.tell(SocketClosed(conn.actor_id, conn.conn_id, 1013, reason, False), reason)

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
        self._metrics.count("limits", "message")
        self._endings.end(conn, 1009, reason, why=reason)
        self._endings.tell(SocketClosed(conn.actor_id, conn.conn_id, 1009, reason, False), reason)
        log.info("message refused", conn_id=conn.conn_id, error=reason, used=size, allowed=self._limits.message)

    def _malformed(self, conn: Connection, error: DormiceError) -> None:
        """A frame that is none of the /connect protocol in the encoding of its connection, or that asks for what its
        client's token does not allow."""
        code, reason = (1008, "auth.forbidden") if error.group == "auth" else (1007, "ws.malformed_message")
        self._endings.end(conn, code, reason, why=reason)
        self._endings.tell(SocketClosed(conn.actor_id, conn.conn_id, code, reason, False), reason)
        log.info("message refused", conn_id=conn.conn_id, error=reason, message=error.message)
