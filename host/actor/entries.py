"""An entry of the mailbox: one event that waits or is in work, with what its delivery needs.

The entry outlives the isolate: when one goes, its entries go back to where they were (D5, D6).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from host.model.errors import ErrorInfo
from host.model.records import AlarmRow
from host.model.tunnel import (
    ActionCall,
    ActionReply,
    ActionRequest,
    AuthCall,
    AuthReply,
    HttpCall,
    HttpReply,
    Opened,
    SocketClosed,
    SocketMessage,
    Subscription,
)

__all__ = ["Entry", "Kind", "Payload"]


class Kind(StrEnum):
    START = "start"
    STOP = "stop"
    ACTION = "action"
    REQUEST = "request"
    OPENED = "opened"
    MESSAGE = "message"
    CLOSED = "closed"
    ALARM = "alarm"
    AUTH = "auth"


Payload = ActionCall | HttpCall | AuthCall | Opened | SocketMessage | SocketClosed | AlarmRow | None
Answer = Callable[[Any], None]

# Delivered again when their isolate goes; actions and requests are not (D5).
_REDELIVERED = frozenset({Kind.OPENED, Kind.MESSAGE, Kind.CLOSED, Kind.ALARM})


# What answers those that are waited for.
_REPLY: dict[Kind, type[ActionReply] | type[HttpReply] | type[AuthReply]] = {
    Kind.ACTION: ActionReply,
    Kind.REQUEST: HttpReply,
    Kind.AUTH: AuthReply,
}


class Entry:
    """`seq` is the place in the order of arrival, kept when the entry goes back. `line` is the connection whose events
    come one after another, or None; one that is not `serial` waits for its line and then leaves it free. `attempt` is
    the number of the delivery under way or to come, `faults` how many deliveries ended in a fault of this event's own.
    `committed` says that a turn of this delivery is on disk, `began` when it came to the guest (ms)."""

    __slots__ = (
        "answer",
        "attempt",
        "began",
        "calls",
        "committed",
        "deadline",
        "event_id",
        "faults",
        "kind",
        "line",
        "payload",
        "seq",
        "serial",
    )

    def __init__(
        self,
        kind: Kind,
        payload: Payload = None,
        *,
        line: str | None = None,
        serial: bool = True,
        answer: Answer | None = None,
        attempt: int = 1,
        faults: int = 0,
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.line = line
        self.serial = serial
        self.answer = answer
        self.attempt = attempt
        self.faults = faults
        self.seq = 0
        self.event_id = 0
        self.calls = 0
        self.began = 0
        self.committed = False
        self.deadline: float | None = None

    @property
    def call(self) -> ActionRequest | None:
        """The action that a client of a /connect connection asks for."""
        payload = self.payload
        return payload.data if type(payload) is SocketMessage and type(payload.data) is ActionRequest else None

    @property
    def asks(self) -> bool:
        """It came over a /connect connection, whose client is told what became of it."""
        payload = self.payload
        return type(payload) is SocketMessage and type(payload.data) in (ActionRequest, Subscription)

    @property
    def redelivered(self) -> bool:
        """D5: whether it is delivered again when its isolate goes. What somebody waits for never is."""
        return self.kind in _REDELIVERED

    @property
    def unchecked(self) -> bool:
        """It comes from a client about which no auth hook was asked. What another actor of the tenant asks for is not
        a client's."""
        payload = self.payload
        if isinstance(payload, ActionCall):
            return payload.auth is None and not payload.caller
        return isinstance(payload, HttpCall | Opened) and payload.auth is None

    @property
    def name(self) -> tuple[str, str, int]:
        """The lasting name: the same for every attempt of one event, and for no other event of the actor."""
        if isinstance(self.payload, AlarmRow):
            return (self.kind.value, self.payload.alarm_id, self.payload.fire_seq)
        if self.line is None:
            return (self.kind.value, "", self.seq)
        return (self.kind.value, self.line, self.payload.index if isinstance(self.payload, SocketMessage) else 0)

    def fail(self, error: ErrorInfo) -> None:
        """Answers an action, a request or a question about a client with an error; other kinds have nobody to tell."""
        if self.answer is None:
            return
        answer, self.answer = self.answer, None
        answer(_REPLY[self.kind](error=error))

    def reset(self) -> None:
        """Forgets the delivery that came to nothing."""
        self.event_id = 0
        self.calls = 0
        self.committed = False
        self.deadline = None

    def __repr__(self) -> str:
        return f"<{self.kind} seq={self.seq} line={self.line} attempt={self.attempt}>"
