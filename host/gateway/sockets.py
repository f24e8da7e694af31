"""The sockets that the gateway holds, and the port by which actors reach them. They outlive the instances.

Guarantees (D3): messages of a connection are numbered in the order of their frames and posted in
that order; a message is freed only when an acknowledgement covers it, and posted again by `rebind` and `resend`; when
too much is unacknowledged the socket is not read; frames leave in order; every connection ends with exactly one of a
close that the actor side asked for and a `SocketClosed` posted to it, except while the host stops, when the rows on
disk say what was open.

A session stays held when its transport is gone: messages that are in the buffer stay there, and
frames wait in the outbox on disk. It ends as any connection does, or when its client has not come back in time.

Everything here belongs to the event loop and nothing in the port awaits, so a replay cannot interleave with reading.
It can nest (a message posted again may make the actor ask for a resend at once): the inner replay has then posted all
that the outer one still had, and the outer one stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import anyio

from host.gateway.connection import Connection
from host.gateway.held import Held
from host.gateway.pumps import Receive, Send, read_frames, write_frames
from host.gateway.replay import Truncated, replay_outbox
from host.gateway.sessions import Comeback
from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError, limit_error
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.records import ConnectionRow
from host.model.tunnel import Opened, SocketClosed
from host.placement.api import ActorService
from host.telemetry.logging import get_logger

__all__ = ["SocketGateway"]

# A client that does not take a close frame for so long is dropped; as long as uvicorn waits for the answer to one.
CLOSE_GRACE = 10.0
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
        self._service: ActorService | None = None
        self._held = Held()
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
        held = self._held.count_of(opened.actor_id)
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
        self._held.put(conn)
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
        former = self._held.of_session(opened.actor_id, comeback.session)
        if former is None and admitted:
            await self.hold(opened, receive, send, abort)
        elif former is None or self._stopping:
            code, reason = (1012, "node.draining") if self._stopping else (4004, "session.not_found")
            self._metrics.count("sessions_refused", reason)
            await send({"type": "websocket.close", "code": code, "reason": reason})
        elif comeback.next > former.next_index or comeback.last_seen > former.sent:
            # the client is wrong about the session, which goes on without it
            reason = "ws.message_index_skip"
            self._metrics.count("sessions_refused", reason)
            log.warning("session does not fit", conn_id=former.conn_id, next=comeback.next, last=former.next_index - 1)
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            conn = Connection(former.opened, abort)
            conn.succeed(former, comeback.last_seen, comeback.next)
            self._held.put(conn)
            self._metrics.count("sessions_resumed", "detached" if former.detached else "session.taken_over")
            if not former.detached:
                self._hang_up(former, 4009, "session.taken_over")
            log.debug("session resumed", conn_id=conn.conn_id, actor_id=conn.actor_id, last_seen=comeback.last_seen)
            await self._pump(conn, receive, send)

    async def _pump(self, conn: Connection, receive: Receive, send: Send) -> None:
        """Until the transport is gone."""
        closed = SocketClosed(conn.actor_id, conn.conn_id, 1006, "", False)
        try:
            async with anyio.create_task_group() as pumps:
                pumps.start_soon(write_frames, conn, send, pumps.cancel_scope)
                if conn.replaying:
                    pumps.start_soon(self._replay_outbox, conn)
                closed = await read_frames(conn, receive, self.service.post_message, self._limits, self._too_long)
                pumps.cancel_scope.cancel()
        finally:
            conn.gone = True
            if conn.session is not None and closed.code in DROPS and not self._stopping:
                if self._held.stands(conn) and not conn.detached:
                    self._metrics.count("connections_closed", "drop")
                    self._detach(conn)
            elif not conn.detached and self._forget(conn):
                self._tell(closed, "client")

    def knows_session(self, actor_id: str, session: bytes) -> bool:
        return self._held.of_session(actor_id, session) is not None

    async def session(self, actor_id: str, session: bytes) -> tuple[int, int, int | None] | None:
        """(messages on disk, frames in the outbox, when it ends if nobody comes back) of a session; None if there is
        none. Returns once its open is committed."""
        conn = self._held.of_session(actor_id, session)
        if conn is not None and not conn.open_acked:
            conn.open_settled = settled = conn.open_settled or anyio.Event()
            try:
                with self._clock.fail_after(self._limits.start_timeout / 1000):
                    await settled.wait()
            except TimeoutError:
                raise UnavailableError("actor", "starting", "the session is not open yet; try again") from None
            conn = self._held.of_session(actor_id, session)
        return None if conn is None else (conn.first - 1, conn.sent, conn.expires_at)

    def adopt(self, sessions: Iterable[tuple[str, ConnectionRow]]) -> None:
        """After a start of the host: holds the sessions that the last one left; their windows begin now."""
        for actor_id, row in sessions:
            opened = Opened(
                actor_id, row.conn_id, self.gateway_id, row.request_id, row.path, row.headers, row.params,
                row.opened_at, row.session,
            )  # fmt: skip
            conn = Connection(opened)
            conn.restore(row.msg_index, row.sent_index)
            self._held.put(conn)
            self._detach(conn)
        self._metrics.gauge("connections", len(self._held))

    def close_all(self, code: int = 1012, reason: str = "node.draining") -> None:
        """For the end of the host, when actors have hibernated: closes what is still open and tells no actor. The next
        start of the host finds the connections in storage and delivers their closes."""
        self._stopping = True
        for conn in self._held:
            self._end(conn, code, reason, why="draining")

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
        if conn.session is not None:
            conn.sent = max(conn.sent, index)
            if conn.detached or conn.replaying or index <= conn.pushed:
                return  # it is in the outbox, and is read from there or was
            conn.pushed = index
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
            self._end(conn, code, reason, why=str(code))

    # inside ------------------------------------------------------------------------------------------------------

    async def _replay_outbox(self, conn: Connection) -> None:
        try:
            if not await replay_outbox(conn, self.service, self._limits.outgoing_queue):
                self._slow(conn)
        except Truncated:
            reason = "session.outbox_truncated"
            self._end(conn, 4010, reason, why=reason, cut=True)
            self._tell(SocketClosed(conn.actor_id, conn.conn_id, 4010, reason, False), reason)
        except DormiceError as error:
            log.warning("outbox not read", conn_id=conn.conn_id, error=error.name)
            self._drop(conn, 1013, f"{error.group}.{error.code}")

    def _slow(self, conn: Connection) -> None:
        reason = "ws.slow_reader"
        self._metrics.count("frames_dropped", reason, len(conn.outgoing) + 1)
        if conn.session is not None:
            self._drop(conn, 1013, reason)
            return
        self._end(conn, 1013, reason, why=reason, cut=True)
        self._tell(SocketClosed(conn.actor_id, conn.conn_id, 1013, reason, False), reason)

    def _drop(self, conn: Connection, code: int, reason: str) -> None:
        """The transport of a session ends, the session does not."""
        if self._held.stands(conn) and not conn.detached:
            self._metrics.count("connections_closed", reason)
            self._hang_up(conn, code, reason)
            self._detach(conn)

    def _hang_up(self, conn: Connection, code: int, reason: str) -> None:
        """At once, without the frames that wait."""
        conn.begin_close(code, reason, cut=True)
        if conn.abort is not None:
            self._clock.timer(self._clock.monotonic() + CLOSE_GRACE, conn.abort)

    def _detach(self, conn: Connection) -> None:
        conn.detach()
        window = self._limits.session_window
        conn.expires_at = self._clock.now_ms() + window
        conn.expiry = self._clock.timer(self._clock.monotonic() + window / 1000, partial(self._expire, conn))
        log.debug("session detached", conn_id=conn.conn_id, actor_id=conn.actor_id)

    def _expire(self, conn: Connection) -> None:
        if conn.detached and not self._stopping and self._forget(conn):
            self._metrics.count("connections_closed", "session.expired")
            self._tell(SocketClosed(conn.actor_id, conn.conn_id, 1006, "session.expired", False), "session.expired")

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
        if not self._held.remove(conn):
            return False
        if conn.expiry is not None:
            conn.expiry.cancel()
        if conn.open_settled is not None:
            conn.open_settled.set()
        self._metrics.gauge("connections", len(self._held))
        return True

    def _tell(self, closed: SocketClosed, why: str) -> None:
        if why == "client":
            self._metrics.count("connections_closed", "client" if closed.clean else "drop")
        if not self._stopping:
            self.service.post_closed(closed)
        log.debug("socket closed", conn_id=closed.conn_id, actor_id=closed.actor_id, code=closed.code, why=why)
