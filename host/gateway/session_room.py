"""Where sessions wait for their clients: connections that stay when their transports are gone.

Messages that are in the buffer stay there, and frames wait in the outbox on disk. A session ends as any connection
does, or when its client has not come back in time. A client that comes back gets a new `Connection` in the place of the
old, which loses everything but its transport.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import anyio

from host.gateway.connection import Connection
from host.gateway.endings import Endings
from host.gateway.held import Held
from host.gateway.replay import Truncated, replay_outbox
from host.gateway.sessions import Comeback
from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.records import ConnectionRow
from host.model.tunnel import Opened, SocketClosed, SocketProtocol
from host.telemetry.logging import get_logger

__all__ = ["Refused", "SessionRoom"]

log = get_logger("gateway.sockets")


class Refused(Exception):
    """A client that may not come back: its new transport is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class SessionRoom:
    def __init__(
        self, gateway_id: str, held: Held, endings: Endings, limits: Limits, metrics: Metrics, clock: Clock
    ) -> None:
        self._gateway_id = gateway_id
        self._held = held
        self._endings = endings
        self._limits = limits
        self._metrics = metrics
        self._clock = clock

    # who asks ----------------------------------------------------------------------------------------------------

    def knows(self, actor_id: str, session: bytes) -> bool:
        return self._held.of_session(actor_id, session) is not None

    async def state(self, actor_id: str, session: bytes) -> tuple[int, int, int | None] | None:
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

    # coming back -------------------------------------------------------------------------------------------------

    def come_back(
        self, actor_id: str, comeback: Comeback, abort: Callable[[], None] | None, protocol: SocketProtocol
    ) -> Connection:
        """The connection with which a client goes on, in the place of the one before. Raises `Refused`. The `protocol`
        is that of the session: what its client's token allows was looked at for this one."""
        former = self._held.of_session(actor_id, comeback.session)
        if self._endings.stopping:
            raise self._refused(1012, "node.draining")
        if former is None or former.opened.protocol != protocol:
            raise self._refused(4004, "session.not_found")
        if comeback.next > former.next_index or comeback.last_seen > former.sent:
            # the client is wrong about the session, which goes on without it
            log.warning("session does not fit", conn_id=former.conn_id, next=comeback.next, last=former.next_index - 1)
            raise self._refused(1008, "ws.message_index_skip")
        conn = Connection(former.opened, abort)
        conn.succeed(former, comeback.last_seen, comeback.next)
        self._held.put(conn)
        self._metrics.count("sessions_resumed", "detached" if former.detached else "session.taken_over")
        if not former.detached:
            self._endings.hang_up(former, 4009, "session.taken_over")
        log.debug("session resumed", conn_id=conn.conn_id, actor_id=conn.actor_id, last_seen=comeback.last_seen)
        return conn

    def _refused(self, code: int, reason: str) -> Refused:
        self._metrics.count("sessions_refused", reason)
        return Refused(code, reason)

    async def replay(self, conn: Connection) -> None:
        """Sends what the client missed, from the outbox."""
        try:
            if not await replay_outbox(conn, self._endings.service, self._limits.outgoing_queue):
                self.slow(conn)
        except Truncated:
            reason = "session.outbox_truncated"
            self._endings.end(conn, 4010, reason, why=reason, cut=True)
            self._endings.tell(SocketClosed(conn.actor_id, conn.conn_id, 4010, reason, False), reason)
        except DormiceError as error:
            log.warning("outbox not read", conn_id=conn.conn_id, error=error.name)
            self._drop(conn, 1013, f"{error.group}.{error.code}")

    # waiting -----------------------------------------------------------------------------------------------------

    def adopt(self, sessions: Iterable[tuple[str, str, ConnectionRow]]) -> None:
        """After a start of the host: holds the sessions that the last one left, by tenant and actor; their windows
        begin now. They count as the tenant's like any connection, and none is refused: they were let in before."""
        for tenant, actor_id, row in sessions:
            opened = Opened(
                actor_id, row.conn_id, self._gateway_id, row.request_id, row.path, row.headers, row.params,
                row.opened_at, row.session, tenant, protocol=row.protocol, auth=row.auth,
            )  # fmt: skip
            conn = Connection(opened)
            conn.restore(row.msg_index, row.sent_index)
            self._held.put(conn)
            self._endings.service.count_connections(tenant, 1)
            self._detach(conn)
        self._metrics.gauge("connections", len(self._held))

    def frame(self, conn: Connection, index: int) -> bool:
        """Whether a frame that is released goes out now; if not it is in the outbox, and is read from there or was."""
        conn.sent = max(conn.sent, index)
        if conn.detached or conn.replaying or index <= conn.pushed:
            return False
        conn.pushed = index
        return True

    def slow(self, conn: Connection) -> None:
        """The client does not keep up; it may come back and read on."""
        reason = "ws.slow_reader"
        self._metrics.count("frames_dropped", reason, len(conn.outgoing) + 1)
        self._metrics.count("limits", "outgoing_queue")
        self._drop(conn, 1013, reason)

    def dropped(self, conn: Connection) -> None:
        """The transport is gone without a word: no close for the actor. Not if another has taken its place."""
        if self._held.stands(conn) and not conn.detached:
            self._metrics.count("connections_closed", "drop")
            self._detach(conn)

    def _drop(self, conn: Connection, code: int, reason: str) -> None:
        """The transport of a session ends by our doing, the session does not."""
        if self._held.stands(conn) and not conn.detached:
            self._metrics.count("connections_closed", reason)
            self._endings.hang_up(conn, code, reason)
            self._detach(conn)

    def _detach(self, conn: Connection) -> None:
        conn.detach()
        window = self._limits.session_window
        conn.expires_at = self._clock.now_ms() + window
        conn.expiry = self._clock.timer(self._clock.monotonic() + window / 1000, partial(self._expire, conn))
        log.debug("session detached", conn_id=conn.conn_id, actor_id=conn.actor_id)

    def _expire(self, conn: Connection) -> None:
        if conn.detached and not self._endings.stopping and self._endings.forget(conn):
            self._metrics.count("connections_closed", "session.expired")
            self._endings.tell(
                SocketClosed(conn.actor_id, conn.conn_id, 1006, "session.expired", False), "session.expired"
            )
