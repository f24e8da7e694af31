"""Drives one static actor turn by turn, as a hop does, without a host around it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from host.bridge.envelopes import ActionEvent, CallError, CompletionEvent, Event, StartEvent, Turn
from host.bridge.session import HostCalls
from host.capabilities.state import Connection
from host.model.effects import Output, TurnEffects
from host.static.actor import Actor
from host.static.guest import StaticGuest
from host.static.spec import spec_of
from host.wire.values import from_python, to_python
from tests.bridge.support import session

__all__ = ["Turns"]


class Turns:
    """`results` and `errors` by event id, over all turns; `effects` of the last one."""

    def __init__(self, actor: type[Actor], *, stored: Any = None, connections: tuple[str, ...] = ()) -> None:
        self.calls: HostCalls = session(*connections).calls
        self.calls.end_turn()
        if stored is not None:
            self.calls.state.document = from_python(stored)
        self.guest = StaticGuest(spec_of(actor), self.calls)
        self.results: dict[int, bytes | None] = {}
        self.errors: dict[int, CallError] = {}
        self.effects = TurnEffects()
        self.pending = 0
        self._turn = 0
        self.now = 1_700_000_000_000

    def start(self, reason: Any = "create", **fields: Any) -> None:
        self.deliver(StartEvent(1, reason, "a" * 32, 1, "counter", ["k"], **fields))

    def deliver(self, event: Event) -> None:
        self._turn += 1
        self.calls.begin_hop()
        self.calls.begin_turn(self.now)
        reply = self.guest.deliver(Turn(self._turn, self.now, [event]))
        self.effects = self.calls.end_turn()
        self.calls.state.committed()
        self.pending = reply.pending
        for settled in reply.settled:
            if settled.error is not UNSET:
                self.errors[settled.event] = settled.error
            else:
                self.results[settled.event] = None if settled.result is UNSET else bytes(settled.result)

    def complete(self) -> None:
        """The timers that the last turn started come due."""
        for timer in self.effects.timers:
            self.calls.timer_done(timer.call)
            self.deliver(CompletionEvent(9_000 + timer.call, timer.call))

    def action(self, id: int, name: str, *args: Any) -> Any:
        """The result, or None while it is in work."""
        self.deliver(ActionEvent(id, name, Raw(from_python(list(args)))))
        return self.value(id)

    def value(self, id: int) -> Any:
        found = self.results.get(id)
        return None if found is None else to_python(found)

    def open(self, conn: str) -> None:
        """The row of a connection as the actor's host has it before the guest hears of it."""
        self.calls.state.connections[conn] = Connection(conn, "/")

    def outputs(self) -> tuple[Output, ...]:
        return self.effects.outputs

    def document(self) -> Any:
        found = self.calls.state.document
        return None if found is None else msgspec.json.decode(found)
