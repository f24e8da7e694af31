"""The base class of static actors: what a platform builder writes in Python and trusts like the rest of the process.

A static actor takes part in the same turns as a guest: what a turn did is committed whole before anything of it is
seen, it sleeps and wakes, its sockets stay open. What differs: no deadline and no memory limit holds it, so a handler
that never returns keeps a thread. Handlers run on executor threads, one at a time per actor; attributes of the object
live as long as the actor is awake, `state` and `kv` for ever.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from msgspec import UNSET

from host.bridge.envelopes import Fetch
from host.model.calls import RedirectMode
from host.model.definitions import EgressOptions
from host.static.alarms import Alarm
from host.static.conns import Conn, current_conn
from host.static.context import CALLER, CallingActor
from host.static.crons import FIRING, Firing
from host.static.http import AuthRequest, Request, Response
from host.static.sockets import Closed, Message, Socket
from host.static.tasks import Deferred, Task

if TYPE_CHECKING:
    from host.static.alarms import Alarms, Schedule
    from host.static.client import Client
    from host.static.context import Context
    from host.static.crons import Crons
    from host.static.fetched import Fetched
    from host.static.kv import Kv
    from host.static.log import ActorLog

__all__ = ["AUTHORISED", "Actor", "action"]

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

ACTION = "__dormice_action__"

# Of the handler that runs; each has a context of its own, also behind what it awaits.
AUTHORISED: ContextVar[Any] = ContextVar("authorised", default=None)


def action(method: Method) -> Method:
    """Makes a method an action, under its own name: callable by clients with Values as positional arguments. It may be
    `async`; what it returns is the result."""
    setattr(method, ACTION, True)
    return method


class Actor:
    """Subclass it, give it actions and hooks, and register the class under a name. Every hook may be `async` or not.

    `version` rises when the class changes in a way that its actors must know: `on_upgrade` is called at the next wake.
    `hibernate`: whether its sockets outlive its sleep. `sleep_timeout` and `action_timeout` in ms, None for the
    operator's. `egress` is where `fetch` may send requests, None for nowhere.
    """

    state: Any = None
    """The document of the actor, any Value; the class attribute is what a new actor begins with. Changes, nested ones
    too, are saved with the turn."""

    version: ClassVar[int] = 1
    hibernate: ClassVar[bool] = True
    sleep_timeout: ClassVar[int | None] = None
    action_timeout: ClassVar[int | None] = None
    guarded_events: ClassVar[tuple[str, ...]] = ()
    """Those that a client may subscribe to only once `on_subscribe` has returned."""
    egress: ClassVar[EgressOptions | None] = None

    _context: Context

    # --- hooks ---------------------------------------------------------------------------------------------------

    def create_state(self, input: Any) -> Any:
        """The first `state`; `input` is what the creator gave (None without). By default what the class, or its
        `__init__`, says."""
        return copy.deepcopy(self.state)

    def on_create(self, input: Any) -> Any:
        """Once, in the first start that settles."""

    def on_upgrade(self, from_version: int) -> Any:
        """At the first start on this version; `from_version` is the one that the actor last ran on."""

    def on_wake(self) -> Any:
        """At every start, before its sockets are there."""

    def on_sleep(self) -> Any:
        """Before it sleeps; what it writes here is committed."""

    def on_destroy(self) -> Any:
        """Before it is destroyed, if it is awake or can be."""

    # Clients of the /connect protocol: they call actions and get events.

    def on_before_connect(self, params: Any) -> Any:
        """Before a new connection is let in; `params` are the client's. To raise refuses it."""

    def create_conn_state(self, params: Any) -> Any:
        """The first `state` of a new connection; None attaches none."""

    def on_connect(self, conn: Conn) -> Any:
        """A new connection, not one that comes back with a wake. To raise closes it."""

    def on_disconnect(self, conn: Conn) -> Any:
        """The last event of a connection."""

    def on_subscribe(self, conn: Conn, event: str) -> Any:
        """For an event of `guarded_events`; to raise refuses it."""

    # What an actor serves is what it overrides; these are called only then.

    def auth(self, request: AuthRequest) -> Any:
        """Asked about a client before its action, request or handshake. What it returns (a Value of up to 4 KiB) is
        `authorised` in what follows; to raise `UserError` refuses the client."""

    def on_websocket(self, socket: Socket) -> Any:
        """For a new socket, and at every wake for each that is open (`socket.restored`). To raise closes it."""

    def on_message(self, socket: Socket, message: Message) -> Any:
        """One message; the next of this socket comes when it has returned."""

    def on_close(self, socket: Socket, closed: Closed) -> Any:
        """The last event of a socket."""

    def on_request(self, request: Request) -> Any:
        """Returns a `Response`, bytes or text."""
        return Response(status=404)

    def on_alarm(self, alarm: Alarm) -> Any:
        """At least once; raising makes it come again later."""

    # --- what it is and has ------------------------------------------------------------------------------------------

    @property
    def actor_id(self) -> str:
        return self._context.actor_id

    @property
    def name(self) -> str:
        return self._context.name

    @property
    def key(self) -> tuple[str, ...]:
        return self._context.key

    @property
    def generation(self) -> int:
        return self._context.generation

    @property
    def authorised(self) -> Any:
        """What `auth` returned for the client whose action, request or socket is being handled; None without."""
        return AUTHORISED.get()

    @property
    def kv(self) -> Kv:
        return self._context.kv

    @property
    def alarms(self) -> Alarms:
        return self._context.alarms

    @property
    def schedule(self) -> Schedule:
        return self._context.schedule

    @property
    def cron(self) -> Crons:
        return self._context.cron

    @property
    def firing(self) -> Firing | None:
        """Why the running action runs by itself; None if somebody called it."""
        return FIRING.get()

    @property
    def log(self) -> ActorLog:
        return self._context.log

    @property
    def sockets(self) -> list[Socket]:
        """Those that are open."""
        return [socket for socket in self._context.sockets.values() if socket.open]

    @property
    def conns(self) -> dict[str, Conn]:
        """The /connect connections that are open, by their ids."""
        return {conn.id: conn for conn in self._context.conns.values() if conn.open}

    @property
    def conn(self) -> Conn | None:
        """In an action that came over a connection, and in what it spawns: that one."""
        return current_conn.get()

    def broadcast(self, event: str, *args: Any) -> int:
        """To every connection that is subscribed to it, when the turn is committed; how many they are."""
        return self._context.broadcast(event, args)

    @property
    def caller(self) -> CallingActor | None:
        """The actor whose call the running action is; None for a call from outside."""
        return CALLER.get()

    def now(self) -> int:
        """The time of the turn, in ms; it stands still within one."""
        return self._context.now()

    def random(self, length: int) -> bytes:
        """Bytes of the actor's own stream, fit for keys; at most 65,536."""
        return self._context.random(length)

    # --- what it can do ----------------------------------------------------------------------------------------------

    def delay(self, ms: int) -> Deferred[None]:
        """`await self.delay(1_000)`: goes on in a later turn. Not durable, and it does not hold the actor awake."""
        return self._context.delay(ms)

    def client(self) -> Client:
        """Other actors of the namespace: `await self.client().rooms.get_or_create("lobby").say("hello")`."""
        return self._context.client

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | str = b"",
        redirect: RedirectMode = "follow",
        timeout: int | None = None,
    ) -> Deferred[Fetched]:
        """`await self.fetch(...)`: a request to the outside, as far as `egress` allows it; goes out when the turn is
        saved. `timeout` in ms. Raises `CallFailed`."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        data = body.encode() if isinstance(body, str) else bytes(body)
        wait = UNSET if timeout is None else timeout
        return self._context.fetch(Fetch(url, method, pairs, data, redirect, wait))

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Runs beside the handler; await it, or let it run. It is ended when the actor sleeps."""
        return self._context.spawn(coroutine)

    def keep_awake(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """As `spawn`, and the actor does not fall asleep before it has ended."""
        return self._context.hold(coroutine, awake=True)

    def wait_until(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """As `spawn`, and a stop waits for its end, within the grace of the stop."""
        return self._context.hold(coroutine, awake=False)

    def hibernate_now(self) -> None:
        """Asks to sleep as soon as what is in work has settled."""
        self._context.sleep()

    def destroy_now(self) -> None:
        """Asks for its end, for good, after this turn is saved: nothing new begins, what is in work may still settle,
        then `on_destroy` is called. Its key makes a new actor from then on."""
        self._context.destroy()
