"""One raw WebSocket as a static actor sees it; the same object from its opening, or a wake, to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw, Struct

from host.bridge.envelopes import SocketClose, SocketSend, SocketSetState, SocketSetTags
from host.static.calls import Caller
from host.wire.values import from_python

__all__ = ["Closed", "Message", "Socket"]


class Message(Struct, frozen=True):
    """(socket id, `index`) names it for ever; `attempt` counts from 1."""

    data: str | bytes
    index: int
    attempt: int


class Closed(Struct, frozen=True):
    """`clean` is true when the client sent a close frame."""

    code: int
    reason: str
    clean: bool


class Socket:
    """`restored` is true when it was open before the actor woke; its headers are not kept then. `auth` is
    what the auth hook returned for its client, also then."""

    __slots__ = ("_call", "_state", "_tags", "auth", "headers", "id", "open", "params", "path", "restored")

    def __init__(
        self,
        call: Caller,
        *,
        id: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        params: Any,
        state: Any,
        tags: Sequence[str],
        restored: bool,
        auth: Any = None,
    ) -> None:
        self._call = call
        self._state = state
        self._tags = tuple(tags)
        self.id = id
        self.path = path
        self.headers = tuple(headers)
        self.params = params
        self.restored = restored
        self.auth = auth
        self.open = True

    def send(self, data: str | bytes) -> None:
        """Leaves when the turn is committed. To a socket that is closed it goes nowhere, as in a browser."""
        if not self.open:
            return
        if isinstance(data, str):
            self._call(SocketSend(self.id, text=data))
        else:
            self._call(SocketSend(self.id, data=bytes(data)))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """After the frames sent so far. The code is 1000 or 3000 to 4999, the reason at most 123 bytes."""
        if not self.open:
            return
        self._call(SocketClose(self.id, code, reason))
        self.open = False

    @property
    def state(self) -> Any:
        """Attached to the connection, durable, up to 16 KiB: assign it anew to change it."""
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self._call(SocketSetState(self.id, Raw(from_python(value))))
        self._state = value

    @property
    def tags(self) -> tuple[str, ...]:
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._call(SocketSetTags(self.id, list(tags)))
        self._tags = tuple(tags)
