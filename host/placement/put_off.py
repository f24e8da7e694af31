"""Sockets whose actor finds no room on a full node: they wait for one, but not for ever.

Their messages are with the gateway alone, for without room there is no mailbox. What is known here is who waits, since
when and with how many messages; after `limits.wake_timeout` such a socket is closed 1013 `ws.wake_timeout` and its
messages count as refused. The actor learns of it at its next start, from the connection's row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from host.actor.entries import Entry, Kind
from host.actor.services import Services
from host.model.clock import TimerHandle
from host.telemetry.logging import get_logger

__all__ = ["PutOff"]

log = get_logger("placement")

CODE = 1013
REASON = "ws.wake_timeout"


@dataclass(slots=True)
class _Waiting:
    timer: TimerHandle
    messages: dict[str, int] = field(default_factory=dict)


class PutOff:
    def __init__(self, services: Services) -> None:
        self._clock = services.clock
        self._gateway = services.gateway
        self._metrics = services.metrics
        self._seconds = services.limits.wake_timeout / 1_000
        self._actors: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._actors)

    def add(self, actor_id: str, entry: Entry) -> None:
        """An event of a socket found no room; the time runs from the first one."""
        if entry.line is None or entry.kind not in (Kind.MESSAGE, Kind.OPENED):
            return
        waiting = self._actors.get(actor_id)
        if waiting is None:
            timer = self._clock.timer(self._clock.monotonic() + self._seconds, lambda: self._over(actor_id))
            waiting = self._actors[actor_id] = _Waiting(timer)
        waiting.messages[entry.line] = waiting.messages.get(entry.line, 0) + (entry.kind is Kind.MESSAGE)

    def found_room(self, actor_id: str) -> None:
        waiting = self._actors.pop(actor_id, None)
        if waiting is not None:
            waiting.timer.cancel()

    def _over(self, actor_id: str) -> None:
        waiting = self._actors.pop(actor_id)
        held = {opened.conn_id for opened in self._gateway.connections_of(actor_id)}
        for conn, messages in waiting.messages.items():
            if conn not in held:
                continue
            self._metrics.count("socket_closes", REASON)
            if messages:
                self._metrics.count("messages_refused", REASON, messages)
            log.warning("socket waited too long for room", actor_id=actor_id, conn=conn, messages=messages)
            self._gateway.close(conn, CODE, REASON)
