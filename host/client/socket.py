"""A raw WebSocket to an actor: text is str, binary is bytes. It stays open while the actor sleeps."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from host.client.answers import error_of, unreachable

__all__ = ["ActorSocket", "Opening", "SocketClosed", "Way", "dial", "open_socket"]

# Above the host's own limit for a message, so that what the host sends always arrives.
MAX_FRAME = 2 * 1024 * 1024
OPEN_TIMEOUT = 30.0

# A connection to the host that is made otherwise than by its address.
Way = Callable[[], Awaitable[socket.socket]]


class SocketClosed(Exception):
    """The socket is closed; `code` and `reason` as the host gave them (1006 if the connection was cut)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the socket was closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class ActorSocket:
    """Use as an async context manager; iterate to receive until it closes."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._connection.close(code, reason)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Frames until the socket is closed, by whomever."""
        while True:
            try:
                frame = await self.receive()
            except SocketClosed:
                return
            yield frame

    async def __aenter__(self) -> ActorSocket:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


S = TypeVar("S", bound=AbstractAsyncContextManager[Any])


class Opening(Generic[S]):
    """A socket that is about to be opened: `await` it, or enter it and have it closed at the end."""

    def __init__(self, make: Callable[[], Awaitable[S]]) -> None:
        self._make = make
        self._socket: S | None = None

    def __await__(self) -> Generator[Any, None, S]:
        return self._make().__await__()

    async def __aenter__(self) -> S:
        self._socket = await self._make()
        entered: S = await self._socket.__aenter__()
        return entered

    async def __aexit__(self, *error: Any) -> None:
        assert self._socket is not None
        await self._socket.__aexit__(*error)


async def open_socket(
    url: str,
    token: str | None,
    *,
    protocols: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    way: Way | None = None,
) -> ActorSocket:
    """Raises the host's own error if it refuses the upgrade."""
    return ActorSocket(await dial(url, token, protocols=protocols, headers=headers, way=way))


async def dial(
    url: str,
    token: str | None,
    *,
    protocols: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    way: Way | None = None,
) -> ClientConnection:
    """As `open_socket`, for what builds on a connection itself. `protocols` are offered besides the protocol's own."""
    sent = {**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})}
    more: dict[str, Any] = {} if way is None else {"sock": await way()}
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(name) for name in ("rivet", *protocols)],
            additional_headers=sent,
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=OPEN_TIMEOUT,
            proxy=None,
            **more,
        )
    except InvalidStatus as error:
        answer = error.response
        raise error_of(answer.status_code, bytes(answer.body or b""), answer.headers) from error
    except (OSError, TimeoutError, InvalidHandshake, InvalidMessage) as error:
        # without the query string: it may hold a session's secret
        raise unreachable(url.partition("?")[0], type(error).__name__) from error


def _closed(error: ConnectionClosed) -> SocketClosed:
    frame = error.rcvd
    return SocketClosed(frame.code, frame.reason) if frame is not None else SocketClosed(1006, "connection cut")
