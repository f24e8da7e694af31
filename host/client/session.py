"""A socket whose client comes back: the reference client of a session (docs/sessions.md).

What it promises its user, whatever happens to the TCP connection or to the host's process, as long as it is back within
the session's window: every message is handled once and in order, and `receive` gives every frame once and in order.

How: it chooses a secret; it counts the frames it has got; it keeps each message until the host says that it is on disk.
After a break it asks what is on disk, comes back with both numbers, and sends again what it still has; the host drops
what it had already. Nothing is sent before the session itself is known to be on disk: until then it can only be opened
again (under a new secret if the first one's session has ended meanwhile), and after that a host that does not know it
has lost it: then it asks for its session and for no other.
"""

from __future__ import annotations

import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlencode

import anyio
import httpx
from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from host.client.answers import decode_answer, error_of, unreachable
from host.client.socket import SocketClosed, Way, dial
from host.model.errors import DormiceError

__all__ = ["SessionLost", "SessionSocket"]

FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0
# As long as the host's window: after it there is nothing to come back to.
PATIENCE = 60.0
# So many messages are kept before `send` asks what is on disk.
KEPT = 512
# Nobody meant to close: no close frame, a host that stops, one that is short of something for a moment.
_DROPS = frozenset({1006, 1012, 1013})
_LOST = frozenset({4004, 4010})


class SessionLost(SocketClosed):
    """The host does not know the session any more: what was kept may or may not have been handled."""


class _State(Struct, frozen=True):
    received: int
    sent: int
    expires_at: int | None = None


class SessionSocket:
    """Use as an async context manager, from one task that sends and one that receives."""

    def __init__(
        self,
        url: str,
        state_url: str,
        http: httpx.AsyncClient,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
        protocols: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        way: Way | None = None,
    ) -> None:
        """`url` is the socket's, `state_url` that of the session's state; `patience` is how long it tries to come back,
        in seconds; sub-protocols and headers are offered at every handshake."""
        self._url = url
        self._state_url = state_url
        self._http = http
        self._token = token
        self._patience = patience
        self._protocols = protocols
        self._headers = headers
        self._way = way
        self._secret = _new_secret()
        self._seen = 0
        self._kept: deque[str | bytes] = deque()
        self._first = 1  # the index of the first message that is kept
        self._confirmed = False
        self._connection: ClientConnection | None = None
        self._ended: SocketClosed | None = None
        self._connecting = anyio.Lock()
        self._sending = anyio.Lock()

    # --- what its user calls -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Returns once the session is open; `send` and `receive` do the same."""
        await self._connected()

    async def send(self, data: str | bytes) -> None:
        """Returns when the message is on its way; it is kept until it is on disk."""
        async with self._sending:
            while len(self._kept) >= KEPT:
                await self._ask()
            self._kept.append(data)
            connection = self._connection
            if connection is None:
                await self._connected()  # sends all that is kept
                return
            try:
                await connection.send(data)
            except ConnectionClosed as error:
                self._broken(connection, error)
                await self._connected()

    async def receive(self) -> str | bytes:
        """The next frame. Raises SocketClosed when the session has ended, SessionLost when the host has lost it."""
        while True:
            connection = await self._connected()
            try:
                frame = await connection.recv()
            except ConnectionClosed as error:
                self._broken(connection, error)
                continue
            # one that was given up meanwhile: the frame comes again on its successor
            if connection is self._connection:
                self._seen += 1
                return frame

    async def flush(self) -> None:
        """Returns once every message that was sent is on disk."""
        last = self._first + len(self._kept)
        while self._first < last:
            await self._ask()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the session: the actor is told at once, behind the messages that have arrived. If the connection turns
        out to be broken it comes back once to say so; fails that too, the session ends with its window."""
        alive = self._ended is None
        self._ended = self._ended or SocketClosed(code, reason)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(code, reason)
            alive = alive and connection.close_code in _DROPS
        if alive and self._confirmed:
            try:
                connection = await self._attempt()
            except (DormiceError, SocketClosed):
                return  # nobody is left to be told, or nobody can be reached
            await connection.close(code, reason)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Frames until the session has ended; a lost one raises."""
        while True:
            try:
                frame = await self.receive()
            except SessionLost:
                raise
            except SocketClosed:
                return
            yield frame

    async def __aenter__(self) -> SessionSocket:
        await self._connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- coming back ---------------------------------------------------------------------------------------------

    async def _connected(self) -> ClientConnection:
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._come_back()
            return self._connection

    async def _come_back(self) -> ClientConnection:
        until, delay = anyio.current_time() + self._patience, FIRST_DELAY
        while True:
            if self._ended is not None:
                raise self._ended
            try:
                return await self._attempt()
            except DormiceError as error:
                if not error.retryable or anyio.current_time() >= until:
                    raise
            await anyio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, LONGEST_DELAY)

    async def _attempt(self) -> ClientConnection:
        if self._confirmed:
            await self._learn()
        query = {"dm-session": self._secret, "dm-last-seen": self._seen, "dm-next": self._first}
        if self._confirmed:
            query["dm-resume"] = 1  # never a new session in the place of one that ended since it was asked about
        mark = "&" if "?" in self._url else "?"
        connection = await dial(
            f"{self._url}{mark}{urlencode(query)}",
            self._token,
            protocols=self._protocols,
            headers=self._headers,
            way=self._way,
        )
        try:
            if not self._confirmed:
                await self._learn()
                self._confirmed = True
            index = 0
            while index < len(self._kept):  # it may grow meanwhile
                await connection.send(self._kept[index])
                index += 1
        except ConnectionClosed as error:
            self._judge(error)
            raise unreachable(self._state_url, "the connection broke") from error
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    async def _ask(self) -> None:
        """What is on disk, once connected; a moment later if that is not yet all."""
        connection = await self._connected()
        if connection.close_code is not None:
            self._broken(connection, None)
            return
        async with self._connecting:
            try:
                await self._learn()
            except DormiceError as error:
                if not error.retryable:
                    raise
        if self._kept:
            await anyio.sleep(FIRST_DELAY / 5)

    async def _learn(self) -> None:
        """Lets go of what is on disk."""
        try:
            answer = await self._http.get(self._state_url, headers={"x-dormice-session": self._secret})
        except httpx.HTTPError as error:
            raise unreachable(self._state_url, type(error).__name__) from error
        if not answer.is_success:
            told = error_of(answer.status_code, answer.content, answer.headers)
            if told.name == "session/not_found" and self._confirmed:
                self._ended = self._ended or SessionLost(4004, "session.not_found")
                raise self._ended
            if told.name == "session/not_found":
                # It was never opened, or has ended before this client knew of it. Nothing was sent, so a new one is as
                # good; the old secret may not open another.
                self._secret = _new_secret()
                told.retryable = True
            raise told
        received = decode_answer(answer.content, _State).received
        while self._first <= received and self._kept:
            self._kept.popleft()
            self._first += 1

    def _broken(self, connection: ClientConnection, error: ConnectionClosed | None) -> None:
        """Raises if it was no accident."""
        if connection is not self._connection:
            return
        self._connection = None
        if error is not None:
            self._judge(error)
        elif connection.close_code is not None:
            self._judge_code(connection.close_code, connection.close_reason or "")

    def _judge(self, error: ConnectionClosed) -> None:
        if error.rcvd is not None:
            self._judge_code(error.rcvd.code, error.rcvd.reason)

    def _judge_code(self, code: int, reason: str) -> None:
        if code not in _DROPS:
            kind = SessionLost if code in _LOST else SocketClosed
            self._ended = self._ended or kind(code, reason)
            raise self._ended


def _new_secret() -> str:
    return secrets.token_urlsafe(24)
