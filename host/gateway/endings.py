"""How connections end: each is taken out of what the gateway holds, counted, and told to its actor, once (D10).

`stopping` is set while the host stops: then no actor is told anything, for the rows on disk say what was open.
"""

from __future__ import annotations

from host.gateway.connection import Connection
from host.gateway.held import Held
from host.model.clock import Clock
from host.model.ports import Metrics
from host.model.tunnel import SocketClosed
from host.placement.api import ActorService
from host.telemetry.logging import get_logger

__all__ = ["Endings"]

# A client that does not take a close frame for so long is dropped; as long as uvicorn waits for the answer to one.
CLOSE_GRACE = 10.0

log = get_logger("gateway.sockets")


class Endings:
    """`attach` comes before the first connection: the actor service needs the gateway, and the gateway the service."""

    def __init__(self, held: Held, metrics: Metrics, clock: Clock) -> None:
        self.stopping = False
        self._service: ActorService | None = None
        self._held = held
        self._metrics = metrics
        self._clock = clock

    def attach(self, service: ActorService) -> None:
        self._service = service

    @property
    def service(self) -> ActorService:
        if self._service is None:
            raise RuntimeError("attach the actor service before sockets are opened")
        return self._service

    def end(self, conn: Connection, code: int, reason: str, *, why: str, cut: bool = False) -> None:
        """Ends a connection from our side: nothing more of it is read, posted or replayed."""
        if self.forget(conn):
            self._metrics.count("connections_closed", why)
            self.hang_up(conn, code, reason, cut=cut)

    def hang_up(self, conn: Connection, code: int, reason: str, *, cut: bool = True) -> None:
        """Closes the transport alone; with `cut` at once, without the frames that wait."""
        conn.begin_close(code, reason, cut=cut)
        if conn.abort is not None:
            self._clock.timer(self._clock.monotonic() + CLOSE_GRACE, conn.abort)

    def forget(self, conn: Connection) -> bool:
        """False if it was forgotten before."""
        if not self._held.remove(conn):
            return False
        self.service.count_connections(conn.opened.tenant, -1)
        if conn.expiry is not None:
            conn.expiry.cancel()
        if conn.open_settled is not None:
            conn.open_settled.set()
        self._metrics.gauge("connections", len(self._held))
        return True

    def tell(self, closed: SocketClosed, why: str) -> None:
        """The actor learns that one is gone whose end it did not ask for."""
        if why == "client":
            self._metrics.count("connections_closed", "client" if closed.clean else "drop")
        if not self.stopping:
            self.service.post_closed(closed)
        log.debug("socket closed", conn_id=closed.conn_id, actor_id=closed.actor_id, code=closed.code, why=why)
