"""Taking in: from what was posted to the schedule, between hops, on the event loop.

Here a message that came again is answered with the current acknowledgement, a gap is asked for once, and what belongs
to no connection is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.lines import Admission, Lines
from host.actor.mailbox import Mailbox
from host.actor.sizes import Sizes
from host.model.errors import limit_error
from host.model.ports import GatewayPort, Metrics
from host.model.tunnel import SocketMessage
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["Intake"]

log = get_logger(__name__)


class Intake:
    def __init__(
        self,
        mailbox: Mailbox,
        lines: Lines,
        ledger: Ledger,
        gateway: GatewayPort,
        metrics: Metrics,
        close: Callable[[str, int, str], None],
        sizes: Sizes | None = None,
    ) -> None:
        """`close` ends a connection from this side: (conn, code, reason). `sizes` bounds what is taken in."""
        self._sizes = sizes
        # Lines that end with a message which was too large: what came after it is not delivered without it.
        self._cut: set[str] = set()
        self._mailbox = mailbox
        self._lines = lines
        self._ledger = ledger
        self._gateway = gateway
        self._metrics = metrics
        self._close = close
        self._asked: dict[str, int] = {}

    def take_in(self) -> None:
        """Everything that was posted until now."""
        waiting, self._mailbox.incoming = self._mailbox.incoming, deque()
        for entry in waiting:
            if self._admit(entry) and (self._sizes is None or self._fits(entry, self._sizes)):
                self._mailbox.schedule(entry)

    def _admit(self, entry: Entry) -> bool:
        if isinstance(entry.payload, SocketMessage):
            return self._admit_message(entry, entry.payload)
        if entry.kind is Kind.OPENED:
            assert entry.line is not None
            if not self._lines.open(entry.line):
                self._refused("open_again", entry.line)
                return False
        if entry.kind is Kind.CLOSED and (entry.line or "") not in self._lines:
            self._refused("unknown_connection", entry.line)
            return False
        if entry.kind is Kind.CLOSED and entry.line is not None:
            # Nothing of this line comes after it.
            self._cut.discard(entry.line)
            self._asked.pop(entry.line, None)
        self._recall(entry)
        return True

    def _admit_message(self, entry: Entry, message: SocketMessage) -> bool:
        conn = message.conn_id
        mark = self._ledger.marks.get(conn)
        admission = self._lines.admit(conn, message.index, mark)
        if admission is Admission.TAKE:
            self._recall(entry)
            return True
        if admission is Admission.DUPLICATE:
            self._refused("duplicate", conn)
            self._gateway.ack(conn, mark.msg_index if mark is not None else 0)
        elif admission is Admission.GAP:
            self._ask_again(conn)
        elif admission is Admission.UNKNOWN:
            self._refused("unknown_connection", conn)
        return False

    def _fits(self, entry: Entry, sizes: Sizes) -> bool:
        """The gateway knows the limits of the host; those of the actor's definition may be lower."""
        if entry.kind is Kind.MESSAGE and entry.line in self._cut:
            self._refused("connection_closed", entry.line)
            return False
        over = sizes.over(entry)
        if over is None:
            return True
        limit, used, allowed = over
        error = limit_error(limit, used, allowed, "send less at a time", name="message/incoming_too_long")
        note_limit(self._metrics, error)
        self._refused("incoming_too_long", entry.line)
        if entry.kind is Kind.MESSAGE:
            assert entry.line is not None
            self._cut.add(entry.line)
            self._close(entry.line, 1009, "message.incoming_too_long")
        else:
            entry.fail(error.info)
        return False

    def _refused(self, reason: str, conn: str | None) -> None:
        """D10: what is not taken in is counted and logged."""
        self._metrics.count("messages_refused", reason)
        # A replay after a restart is full of duplicates; the others should not happen.
        write = log.debug if reason == "duplicate" else log.info
        write("event not taken in", reason=reason, conn=conn)

    def _ask_again(self, conn: str) -> None:
        """Once for each place; what is sent again arrives through `incoming`."""
        last = self._lines.last(conn)
        if self._asked.get(conn) != last:
            self._asked[conn] = last
            if self._gateway.resend(conn, last):
                return
        elif any(entry.line == conn for entry in self._mailbox.incoming):
            return
        log.warning("message index skipped", conn=conn, last=last)
        self._close(conn, 1008, "ws.message_index_skip")

    def _recall(self, entry: Entry) -> None:
        """Attempts that are on record from before count on."""
        if not self._ledger.attempts or entry.line is None or entry.attempt > 1:
            return
        row = self._ledger.attempts.get(entry.name)
        if row is not None:
            entry.attempt, entry.faults = row.attempt, row.faults
