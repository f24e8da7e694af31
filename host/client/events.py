"""The events of a connection on their way to whoever wants them: callbacks, and a line of events to be taken."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec import Struct

from host.model.errors import CallerError

__all__ = ["Callback", "Event", "Events"]

Callback = Callable[..., Any]

# Events that nobody has taken yet; beyond it the connection ends, for an event is never dropped.
WAITING_EVENTS = 65_536

log = logging.getLogger("dormice.client")


class Event(Struct, frozen=True):
    name: str
    args: tuple[Any, ...]


class Events:
    """`subscribe` is told each name that begins to be wanted, or no longer is; `start` runs what async callbacks
    return."""

    def __init__(self, subscribe: Callable[[str, bool], None], start: Callable[[Awaitable[Any]], None]) -> None:
        self._subscribe = subscribe
        self._start = start
        self._callbacks: dict[str, list[tuple[Callback, bool]]] = {}
        self._taken: set[str] = set()
        self._waiting: deque[Event] = deque()
        self._changed = anyio.Event()

    @property
    def wanted(self) -> list[str]:
        return sorted({*self._taken, *self._callbacks})

    def take(self, name: str, on: bool) -> None:
        """Whether events of this name stand in line."""
        if on == (name in self._taken):
            return
        if on:
            self._taken.add(name)
        else:
            self._taken.discard(name)
        if name not in self._callbacks:
            self._subscribe(name, on)

    def add(self, name: str, callback: Callback, *, once: bool) -> Callable[[], None]:
        """Returns what takes the callback away again."""
        entry = (callback, once)
        if name not in self._callbacks:
            self._callbacks[name] = []
            if name not in self._taken:
                self._subscribe(name, True)
        self._callbacks[name].append(entry)
        return lambda: self._remove(name, entry)

    def dispatch(self, event: Event) -> None:
        """Raises `client/slow_consumer` when too many stand in line."""
        for entry in list(self._callbacks.get(event.name, ())):
            callback, once = entry
            if once:
                self._remove(event.name, entry)
            self.call(callback, *event.args)
        if event.name in self._taken:
            if len(self._waiting) >= WAITING_EVENTS:
                raise CallerError("client", "slow_consumer", f"{WAITING_EVENTS} events wait, and nobody takes them")
            self._waiting.append(event)
            self._changed.set()

    def call(self, callback: Callback, *args: Any) -> None:
        """What a callback raises is logged: it is nobody else's fault."""
        try:
            result = callback(*args)
        except Exception:
            log.exception("a callback of a connection failed")
            return
        if inspect.isawaitable(result):
            self._start(_finish(result))

    async def next(self, ended: Callable[[], bool]) -> Event | None:
        """The next in line; None when there is none and `ended` says that no more will come."""
        while not self._waiting:
            if ended():
                return None
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._waiting.popleft()

    def wake(self) -> None:
        """Whoever waits looks again whether it has ended."""
        self._changed.set()

    def _remove(self, name: str, entry: tuple[Callback, bool]) -> None:
        entries = self._callbacks.get(name)
        if entries is None or entry not in entries:
            return
        entries.remove(entry)
        if not entries:
            del self._callbacks[name]
            if name not in self._taken:
                self._subscribe(name, False)


async def _finish(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        log.exception("a callback of a connection failed")
