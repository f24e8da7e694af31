"""A connection to an actor: actions and events over one socket, which comes back after a break.

    async with handle.connect(params={"token": "…"}) as conn:
        conn.on("typing", lambda who: print(who))
        conn.subscribe("message")
        await conn.send_message("hello")          # or: await conn.action("send_message", "hello")
        async for event in conn:                  # those that were subscribed to
            print(event.name, event.args)

After a break the connection opens again by itself, and what it was subscribed to it is subscribed to again. What
happens to an action that was on its way then depends:

* plain: it fails with `client/connection_lost`, and may have been carried out or not; events in between are lost.
* with a session: nothing is lost and nothing twice, as long as the host is back within the session's window. After that
  the connection starts anew, and what was on its way fails as above.

A close by the actor, or by the host for a reason, ends the connection for good; so does an error of its opening.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from host.client.events import Callback, Event, Events
from host.client.gateway import Params
from host.client.session import SessionLost, SessionSocket
from host.client.socket import ActorSocket, SocketClosed
from host.model.errors import DormiceError, ErrorInfo, UnavailableError, error_from_info
from host.model.tunnel import ActionRequest, Subscription
from host.wire.frames.encoding import Encoding
from host.wire.frames.to_client import ActionResponse, ErrorFrame, EventFrame, Init, decode_to_client
from host.wire.frames.to_server import encode_to_server
from host.wire.values import from_python, to_python

__all__ = ["Connection", "Opener"]

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
GOODBYE = 1.0
# Nobody meant to close: no close frame, a host or a proxy that goes away, one that is short of something for a moment.
_DROPS = frozenset({1001, 1006, 1012, 1013})
_GONE = "actor.destroyed"

Link = ActorSocket | SessionSocket

log = logging.getLogger("dormice.client")


class Opener(Protocol):
    """What opens the sockets of a connection."""

    @property
    def by_id(self) -> bool: ...

    async def open_link(self, params: Params, *, session: bool) -> Link:
        """A socket that speaks the protocol of connections; it has not been read from."""
        ...

    def forget(self) -> None:
        """The actor is gone: one that is known by its key is looked up anew."""
        ...


class _Pending:
    """An action that has no answer yet."""

    __slots__ = ("done", "error", "output", "sent")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.sent = False
        self.output = b"null"
        self.error: DormiceError | None = None

    def fail(self, error: DormiceError) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


class Connection:
    """An async context manager; entering it returns once the actor has accepted the connection. Any task may use it."""

    def __init__(self, opener: Opener, encoding: Encoding, params: Params, *, session: bool) -> None:
        self._opener = opener
        self._encoding: Encoding = encoding
        self._params = params
        self._session = session
        self._link: Link | None = None
        self._init: Init | None = None
        self._opened = anyio.Event()
        self._ended: Exception | None = None
        self._is_open = False
        self._closing = False
        self._next = 0
        self._pending: dict[int, _Pending] = {}
        self._outgoing: deque[ActionRequest | Subscription] = deque()
        self._to_send = anyio.Event()
        self._events = Events(self._subscription, self._start)
        self._on_error: list[Callable[[DormiceError], Any]] = []
        self._running = anyio.CancelScope()
        self._tasks: TaskGroup | None = None

    # --- what its user calls -------------------------------------------------------------------------------------

    @property
    def actor_id(self) -> str:
        return self._opening.actor_id

    @property
    def conn_id(self) -> str:
        return self._opening.conn_id

    @property
    def connected(self) -> bool:
        return self._is_open

    async def action(self, name: str, *args: Any) -> Any:
        """Carries an action out over the connection; many may be on their way at once. Raises what the action raised,
        `client/connection_lost`, or how the connection ended."""
        self._check()
        self._next += 1
        number, pending = self._next, _Pending()
        self._pending[number] = pending
        self._send(ActionRequest(number, name, from_python(list(args))))
        try:
            await pending.done.wait()
        finally:
            self._pending.pop(number, None)
        if pending.error is not None:
            raise pending.error
        return to_python(pending.output)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any) -> Any:
            return await self.action(name, *args)

        return call

    def subscribe(self, *names: str) -> None:
        """From now on the events of these names come out of `async for event in conn`."""
        for name in names:
            self._events.take(name, True)

    def unsubscribe(self, *names: str) -> None:
        for name in names:
            self._events.take(name, False)

    def on(self, name: str, callback: Callback) -> Callable[[], None]:
        """Calls back with the arguments of each event of this name; what it returns ends that. A callback may be async:
        then it runs beside the others. What it raises is logged."""
        return self._events.add(name, callback, once=False)

    def once(self, name: str, callback: Callback) -> Callable[[], None]:
        """The same for the next event alone."""
        return self._events.add(name, callback, once=True)

    def on_error(self, callback: Callable[[DormiceError], Any]) -> None:
        """Calls back with errors that are no action's, such as a refused subscription; else they are logged."""
        self._on_error.append(callback)

    async def close(self) -> None:
        """Ends the connection; what is on its way fails with `client/connection_closed`."""
        if self._closing:
            return
        self._closing = True
        self._end(UnavailableError("client", "connection_closed", "the connection was closed", retryable=False))
        if self._link is not None:
            await self._link.close()
        self._running.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events until the connection is closed by either side; an end that nobody meant is raised."""
        while (event := await self._events.next(lambda: self._ended is not None)) is not None:
            yield event
        ended = self._ended
        if ended is not None and not self._closing and not (isinstance(ended, SocketClosed) and ended.code == 1000):
            raise ended

    async def __aenter__(self) -> Connection:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        try:
            await self._opened.wait()
            if self._init is None and self._ended is not None:
                raise self._ended
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(self, *error: Any) -> None:
        assert self._tasks is not None
        failed = error[0] is not None
        with anyio.move_on_after(GOODBYE if failed else math.inf, shield=failed):
            await self.close()
        self._tasks.cancel_scope.cancel()  # callbacks that are not done
        await self._tasks.__aexit__(None, None, None)

    # --- one socket after another --------------------------------------------------------------------------------

    async def _run(self) -> None:
        delay = FIRST_DELAY
        with self._running:
            while self._ended is None:
                began = self._init
                try:
                    await self._talk(await self._opener.open_link(self._params, session=self._session))
                except SocketClosed as closed:
                    self._broken(closed)
                except DormiceError as error:
                    if self._init is None or not error.retryable:
                        self._end(error)
                if self._init is not began:
                    delay = FIRST_DELAY
                if self._ended is None:
                    await anyio.sleep(delay * random.uniform(0.5, 1.5))
                    delay = min(2 * delay, LONGEST_DELAY)

    async def _talk(self, link: Link) -> None:
        """Until the link breaks: raises how."""
        self._link = link
        try:
            first = decode_to_client(self._encoding, await link.receive())
            if isinstance(first, ErrorFrame):
                raise error_from_info(first.error)
            if not isinstance(first, Init):
                raise DormiceError("client", "bad_answer", "the first frame of a connection was no Init")
            self._init, self._is_open = first, True
            self._renew()
            self._opened.set()
            broken: list[Exception] = []
            async with anyio.create_task_group() as tasks:
                for work in (self._write, self._read):
                    tasks.start_soon(self._work, work, link, broken, tasks.cancel_scope)
            raise broken[0]
        finally:
            self._link, self._is_open = None, False
            with anyio.move_on_after(GOODBYE, shield=True):
                await link.close()

    async def _work(
        self, work: Callable[[Link], Awaitable[None]], link: Link, broken: list[Exception], scope: anyio.CancelScope
    ) -> None:
        try:
            await work(link)
        except SocketClosed as closed:
            broken.append(closed)
        except DormiceError as error:
            # a session that could not come back in its time breaks like a socket; a frame that is none is the end
            broken.append(SocketClosed(1006, error.name) if error.retryable else error)
        scope.cancel()

    async def _read(self, link: Link) -> None:
        while True:
            self._take(await link.receive())

    async def _write(self, link: Link) -> None:
        while True:
            while self._outgoing:
                message = self._outgoing.popleft()
                if isinstance(message, ActionRequest):
                    pending = self._pending.get(message.id)
                    if pending is None:  # its caller has gone before it was sent
                        continue
                    pending.sent = True
                await link.send(encode_to_server(self._encoding, message))
            self._to_send = anyio.Event()
            await self._to_send.wait()

    def _renew(self) -> None:
        """A new connection knows of no subscription."""
        kept = [message for message in self._outgoing if isinstance(message, ActionRequest)]
        self._outgoing.clear()
        self._outgoing.extend(Subscription(name, True) for name in self._events.wanted)
        self._outgoing.extend(kept)

    def _broken(self, closed: SocketClosed) -> None:
        """Comes back after an accident, and to an actor that is made anew; any other close is the end."""
        lost = UnavailableError(
            "client",
            "connection_lost",
            f"the connection broke ({closed}); the action may have been carried out",
            retryable=False,
        )
        for pending in self._pending.values():
            if pending.sent:
                pending.fail(lost)
        reason, _, ray = closed.reason.partition("#")
        if reason == _GONE:
            self._opener.forget()
            again = not self._opener.by_id
        else:
            again = closed.code in _DROPS or isinstance(closed, SessionLost)
        group, dot, code = reason.partition(".")
        if again:
            return
        if self._init is None and dot:  # it was refused: that has a code of its own
            refused = error_from_info(ErrorInfo(group, code, f"the connection was refused: {group}/{code}"))
            refused.ray = ray
            self._end(refused)
        else:
            self._end(closed)

    # --- what comes ----------------------------------------------------------------------------------------------

    def _take(self, data: str | bytes) -> None:
        frame = decode_to_client(self._encoding, data)
        if isinstance(frame, ActionResponse):
            if (pending := self._pending.get(frame.id)) is not None:  # else its caller has gone
                pending.output = frame.output
                pending.done.set()
        elif isinstance(frame, EventFrame):
            self._events.dispatch(Event(frame.name, tuple(to_python(frame.args))))
        elif isinstance(frame, ErrorFrame):
            error = error_from_info(frame.error)
            if frame.action_id is None:
                self._complain(error)
            elif (pending := self._pending.get(frame.action_id)) is not None:
                pending.fail(error)
        else:
            self._init = frame

    def _complain(self, error: DormiceError) -> None:
        if not self._on_error:
            log.warning("an error of the connection: %s", error)
        for callback in list(self._on_error):
            self._events.call(callback, error)

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def _opening(self) -> Init:
        if self._init is None:
            raise RuntimeError("the connection is not open; use `async with`")
        return self._init

    def _check(self) -> None:
        if self._tasks is None:
            raise RuntimeError("the connection is not open; use `async with`")
        if self._ended is not None:
            raise self._ended

    def _send(self, message: ActionRequest | Subscription) -> None:
        self._outgoing.append(message)
        self._to_send.set()

    def _subscription(self, name: str, on: bool) -> None:
        self._send(Subscription(name, on))

    def _start(self, work: Awaitable[Any]) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(_wait_for, work)

    def _end(self, error: Exception) -> None:
        if self._ended is not None:
            return
        self._ended = error
        if not isinstance(error, DormiceError):
            error = UnavailableError("client", "connection_closed", str(error), retryable=False)
        for pending in self._pending.values():
            pending.fail(error)
        self._events.wake()
        self._opened.set()


async def _wait_for(work: Awaitable[Any]) -> None:
    await work
