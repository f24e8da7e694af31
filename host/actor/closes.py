"""Closes from this side: the client's socket closes, and the actor is told in the connection's own line (D10: each has
a reason, a log line and a counter)."""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from host.actor.entries import Entry, Kind
from host.actor.mailbox import Mailbox
from host.model.ports import GatewayPort, Metrics
from host.model.tunnel import SocketClosed

__all__ = ["Closes"]


class Closes:
    """`signal` tells that a close event was queued."""

    def __init__(
        self,
        actor_id: str,
        gateway: GatewayPort,
        mailbox: Mailbox,
        metrics: Metrics,
        log: FilteringBoundLogger,
        signal: Callable[[], None],
    ) -> None:
        self._actor_id = actor_id
        self._gateway = gateway
        self._mailbox = mailbox
        self._metrics = metrics
        self._log = log
        self._signal = signal

    def by_guest(self, conn: str, code: int, reason: str) -> None:
        self._metrics.count("socket_closes", "by_actor")
        self._log.info("socket closed by the actor", conn=conn, code=code)
        self._close(conn, code, reason)

    def by_host(self, conn: str, code: int, reason: str) -> None:
        """D10: a close by the host is counted and logged by its reason."""
        self._metrics.count("socket_closes", reason)
        self._log.warning("socket closed by the host", conn=conn, code=code, reason=reason)
        self._close(conn, code, reason)

    def _close(self, conn: str, code: int, reason: str) -> None:
        self._gateway.close(conn, code, reason)
        if self._mailbox.is_closing(conn):
            return
        closed = SocketClosed(self._actor_id, conn, code, reason, clean=True)
        self._mailbox.post(Entry(Kind.CLOSED, closed, line=conn))
        self._signal()
