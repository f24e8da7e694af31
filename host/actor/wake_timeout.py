"""The end of patience with a wake: an actor that cannot start does not keep its sockets waiting for ever.

From the first cause until the actor runs, over however many attempts, `limits.wake_timeout` may pass. Then every
socket that waits (a message or its open is in the mailbox) is closed 1013 `ws.wake_timeout`, what it sent is counted
as refused, and the actor learns of the close when it does start. Sockets that wait for nothing
stay open, and so do those whose client has gone already: their messages come before their close.
"""

from __future__ import annotations

from host.actor.entries import Entry, Kind
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.services import Services
from host.model.clock import TimerHandle
from host.model.tunnel import SocketClosed
from host.telemetry.logging import get_logger

__all__ = ["WakeTimeout"]

log = get_logger("actor")

CODE = 1013
REASON = "ws.wake_timeout"


class WakeTimeout:
    """`begin` when something waits and the actor does not run; `done` when it runs, or nothing waits any more. Event
    loop only; while it is counting, the input gate is shut and no thread uses the schedule of the mailbox."""

    def __init__(self, actor_id: str, services: Services, mailbox: Mailbox, lines: Lines) -> None:
        self._actor_id = actor_id
        self._clock = services.clock
        self._gateway = services.gateway
        self._metrics = services.metrics
        self._seconds = services.limits.wake_timeout / 1_000
        self._mailbox = mailbox
        self._lines = lines
        self._timer: TimerHandle | None = None

    def begin(self) -> None:
        """Counting goes on if it has begun."""
        if self._timer is None:
            self._timer = self._clock.timer(self._clock.monotonic() + self._seconds, self._over)

    def done(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        waiting = self._mailbox.waiting()
        gone = {entry.line for entry in waiting if entry.kind is Kind.CLOSED}
        for conn in dict.fromkeys(entry.line for entry in waiting):
            if conn is not None and conn not in gone:
                self._refuse(conn)
        self.begin()

    def _refuse(self, conn: str) -> None:
        left = self._mailbox.remove_line(conn)
        messages = sum(entry.kind is Kind.MESSAGE for entry in left)
        self._metrics.count("socket_closes", REASON)
        if messages:
            self._metrics.count("messages_refused", REASON, messages)
        log.warning("socket waited too long for a wake", actor_id=self._actor_id, conn=conn, messages=messages)
        self._gateway.close(conn, CODE, REASON)
        # One whose open was never taken in is unknown to the actor: there is nobody to be told.
        if conn in self._lines or not any(entry.kind is Kind.OPENED for entry in left):
            closed = SocketClosed(self._actor_id, conn, CODE, REASON, clean=False)
            self._mailbox.post(Entry(Kind.CLOSED, closed, line=conn))
