"""The three-way reconciliation of connections at a start.

| the gateway holds it | host stored it | what happens |
|---|---|---|
| yes | yes | rebound: no open event, state and index restored |
| yes | no  | closed 1000 `ws.meta_not_found_during_restore` |
| no  | yes | the actor gets one close event, then the row goes |

One whose open had begun and not settled when a host ended is opened again.

The connection table is the host's (D7): nothing here asks the guest.
"""

from __future__ import annotations

from collections.abc import Callable

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.model.ports import GatewayPort, Metrics
from host.model.records import ConnectionRow
from host.model.tunnel import SocketClosed
from host.telemetry.logging import get_logger

__all__ = ["reconcile", "rebind"]

log = get_logger(__name__)

STALE_CODE = 1006


def reconcile(
    actor_id: str, ledger: Ledger, lines: Lines, mailbox: Mailbox, gateway: GatewayPort, metrics: Metrics
) -> list[str]:
    """Before the start event: decides what becomes of every connection; close events are queued, not delivered.
    Returns the connections to be rebound."""
    kept: list[str] = []
    held = {opened.conn_id: opened for opened in gateway.connections_of(actor_id)}
    waiting = mailbox.waiting()
    closing = {entry.line for entry in waiting if entry.kind is Kind.CLOSED}
    for row in ledger.rows.values():
        if row.conn_id in held and row.conn_id not in lines and _was_opening(row):
            # Its client has not heard that it is connected.
            mailbox.post(Entry(Kind.OPENED, held[row.conn_id], line=row.conn_id))
            kept.append(row.conn_id)
            continue
        lines.restore(row.conn_id, row.msg_index)
        if row.conn_id in closing:
            continue
        if row.conn_id not in held:
            reason, code = "ws.stale_metadata", STALE_CODE
        elif not row.hibernatable:
            reason, code = "actor.restarted", 1012
            gateway.close(row.conn_id, code, reason)
        else:
            kept.append(row.conn_id)
            continue
        metrics.count("socket_closes", reason)
        log.info("connection closed at start", conn=row.conn_id, reason=reason)
        closed = SocketClosed(actor_id, row.conn_id, code, reason, clean=False)
        mailbox.post(Entry(Kind.CLOSED, closed, line=row.conn_id))
    opening = {entry.line for entry in waiting if entry.kind is Kind.OPENED}
    for conn in held:
        if conn in ledger.rows or conn in opening or conn in lines:
            continue
        if not gateway.is_open_acked(conn):
            # Its open found no room at the time: the gateway posts it again, and what it sent since.
            kept.append(conn)
        else:
            metrics.count("socket_closes", "ws.meta_not_found_during_restore")
            log.warning("connection without a row", conn=conn)
            gateway.close(conn, 1000, "ws.meta_not_found_during_restore")
    return kept


def _was_opening(row: ConnectionRow) -> bool:
    """A /connect connection of a session whose open had not settled when the last host ended: `Init` would be the first
    frame in its outbox. Without a session it would have ended with that host."""
    return bool(row.protocol) and row.session is not None and row.sent_index == 0


def rebind(conns: list[str], ledger: Ledger, gateway: GatewayPort, close: Callable[[str, int, str], None]) -> None:
    """After the start has settled and before the first queued event: the gateway posts again what it still has above
    the watermark. One that fails, or that the gateway has lost since, is closed alone, with `close`."""
    for conn in conns:
        mark = ledger.marks.get(conn)
        try:
            bound = gateway.rebind(conn, mark.msg_index if mark is not None else 0)
        except Exception:
            # One connection's failure must not cost the others theirs.
            log.exception("rebind failed", conn=conn)
            bound = False
        if not bound:
            close(conn, 1011, "ws.restore_error")
