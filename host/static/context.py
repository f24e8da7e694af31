"""What stands behind the methods of one static actor: its capabilities, sockets, tasks and deferred calls."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec import Raw

from host.bridge.envelopes import (
    Destroy,
    EventBroadcast,
    KeepAwake,
    Log,
    Now,
    Random,
    Sleep,
    StartEvent,
    Timer,
    TimerStarted,
)
from host.static.alarms import Alarms, Schedule
from host.static.calls import Caller
from host.static.conns import Conn
from host.static.kv import Kv
from host.static.log import ActorLog
from host.static.sockets import Socket
from host.static.tasks import Deferred, Task, Tasks
from host.wire.values import from_python

__all__ = ["Context"]

T = TypeVar("T")


class Context:
    def __init__(self, event: StartEvent, call: Caller, actions: frozenset[str]) -> None:
        self.actor_id = event.actor
        self.name = event.name
        self.key = tuple(event.key)
        self.generation = event.generation
        self.kv = Kv(call)
        self.alarms = Alarms(call)
        self.schedule = Schedule(call, actions)
        self.log = ActorLog(call)
        self.sockets: dict[str, Socket] = {}
        self.conns: dict[str, Conn] = {}
        self.tasks = Tasks()
        self._call = call
        self._deferred: dict[int, Deferred[None]] = {}
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
        started: TimerStarted = self._call(Timer(ms))
        waited = self._deferred[started.call] = Deferred[None]()
        return waited

    def complete(self, call: int) -> None:
        """The answer of a deferred call has come."""
        waited = self._deferred.pop(call, None)
        if waited is not None:
            waited.resolve(None)

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
