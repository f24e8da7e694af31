"""One /connect connection as a static actor sees it; the same object from its opening, or a wake, to its end."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from msgspec import UNSET, Raw

from host.bridge.envelopes import EventSend, SocketClose, SocketInfo, SocketOpenedEvent, SocketSetState
from host.static.calls import Caller
from host.static.values import native
from host.wire.values import from_python

__all__ = ["Conn", "current_conn"]


class Conn:
    """The host speaks the protocol on it: its client calls actions, and gets their answers and events. `auth` is what
    the auth hook returned for it, also after a wake."""

    __slots__ = ("_call", "_state", "auth", "id", "open", "params")

    def __init__(self, call: Caller, *, id: str, params: Any, state: Any, auth: Any = None) -> None:
        self._call = call
        self._state = state
        self.id = id
        self.params = params
        self.auth = auth
        self.open = True

    @classmethod
    def of(cls, call: Caller, told: SocketOpenedEvent | SocketInfo) -> Conn:
        params = None if told.params is UNSET else native(bytes(told.params))
        state = None
        if isinstance(told, SocketInfo) and told.state is not UNSET:
            state = native(bytes(told.state))
        auth = None if told.auth is UNSET else native(bytes(told.auth))
        return cls(call, id=told.conn, params=params, state=state, auth=auth)

    def send(self, event: str, *args: Any) -> None:
        """Leaves when the turn is committed, whether the client is subscribed or not. To a connection that is closed it
        goes nowhere."""
        if self.open:
            self._call(EventSend(self.id, event, Raw(from_python(list(args)))))

    def disconnect(self, reason: str = "") -> None:
        """After what was sent so far; at most 123 bytes."""
        if self.open:
            self._call(SocketClose(self.id, 1000, reason))
            self.open = False

    @property
    def state(self) -> Any:
        """Attached to the connection, durable, up to 16 KiB: assign it anew to change it."""
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self._call(SocketSetState(self.id, Raw(from_python(value))))
        self._state = value


# Of the action that runs.
current_conn: ContextVar[Conn | None] = ContextVar("current_conn", default=None)
