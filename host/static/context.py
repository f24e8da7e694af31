"""What stands behind the methods of one static actor: its capabilities, sockets, tasks and deferred calls."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from msgspec import UNSET, Raw, Struct

from host.bridge.envelopes import (
    CompletionEvent,
    Destroy,
    EventBroadcast,
    Fetch,
    KeepAwake,
    Log,
    Now,
    Random,
    Sleep,
    StartEvent,
    Timer,
)
from host.static.alarms import Alarms, Schedule
from host.static.calls import Caller
from host.static.client import Client
from host.static.conns import Conn
from host.static.crons import Crons
from host.static.errors import CallFailed, UserError
from host.static.fetched import Fetched, read_fetched
from host.static.kv import Kv
from host.static.log import ActorLog
from host.static.sockets import Socket
from host.static.tasks import Deferred, Task, Tasks
from host.static.values import native
from host.wire.values import from_python

__all__ = ["CALLER", "CallingActor", "Context"]

T = TypeVar("T")


class CallingActor(Struct, frozen=True):
    """Another actor, whose call is in work: the host says who it is."""

    actor_id: str
    name: str


# Of the handler in work: each has a context of its own.
CALLER: ContextVar[CallingActor | None] = ContextVar("caller", default=None)


class Context:
    def __init__(self, event: StartEvent, call: Caller, actions: frozenset[str]) -> None:
        self.actor_id = event.actor
        self.name = event.name
        self.key = tuple(event.key)
        self.generation = event.generation
        self.kv = Kv(call)
        self.alarms = Alarms(call)
        self.schedule = Schedule(call, actions)
        self.cron = Crons(call, actions)
        self.log = ActorLog(call)
        self.sockets: dict[str, Socket] = {}
        self.conns: dict[str, Conn] = {}
        self.tasks = Tasks()
        self._call = call
        self.client = Client(self._begin, self.spawn)
        self._waiting: dict[int, Callable[[CompletionEvent], None]] = {}
        self._held = {True: 0, False: 0}
        self._told = (0, 0)

    def now(self) -> int:
        time: int = self._call(Now())
        return time

    def random(self, length: int) -> bytes:
        found: bytes = self._call(Random(length))
        return found

    def sleep(self) -> None:
        self._call(Sleep())

    def destroy(self) -> None:
        self._call(Destroy())

    def broadcast(self, event: str, args: tuple[Any, ...]) -> int:
        told: int = self._call(EventBroadcast(event, Raw(from_python(list(args)))))
        return told

    def delay(self, ms: int) -> Deferred[None]:
        return self._begin(Timer(ms), lambda _: None)

    def fetch(self, request: Fetch) -> Deferred[Fetched]:
        return self._begin(request, read_fetched)

    def _begin(self, call: Any, read: Callable[[CompletionEvent], T]) -> Deferred[T]:
        """A deferred call; `read` makes its result of the completion."""
        started = self._call(call)
        waited = Deferred[T]()

        def complete(event: CompletionEvent) -> None:
            if event.error is UNSET:
                waited.resolve(read(event))
                return
            error = event.error
            metadata = None if error.metadata is UNSET else native(bytes(error.metadata))
            if error.group == "user":
                waited.reject(UserError(error.message, code=error.code, metadata=metadata))
            else:
                waited.reject(CallFailed(error.group, error.code, error.message, metadata))

        self._waiting[started.call] = complete
        return waited

    def complete(self, event: CompletionEvent) -> None:
        """The answer of a deferred call has come."""
        complete = self._waiting.pop(event.call, None)
        if complete is not None:
            complete(event)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        task = self.tasks.spawn(coroutine)
        task.when_done(lambda: self._ended(task))
        return task

    def hold(self, coroutine: Coroutine[Any, Any, T], *, awake: bool) -> Task[T]:
        self._held[awake] += 1
        task = self.spawn(coroutine)
        task.when_done(lambda: self._let_go(awake))
        return task

    def _let_go(self, awake: bool) -> None:
        self._held[awake] -= 1

    def _ended(self, task: Task[Any]) -> None:
        """What nobody awaits has nobody else to tell that it failed."""
        if task.error is not None and not task.awaited:
            self._call(Log("error", f"a task that nobody awaits failed: {task.error!r}"))

    def tell_holds(self) -> None:
        """At the end of a turn: how many hold the idle clock, and how many only a stop."""
        held = (self._held[True], self._held[False])
        if held != self._told:
            self._call(KeepAwake(*held))
            self._told = held
