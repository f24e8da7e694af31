"""Those who wait for an actor to run, or to sleep: told once, all together."""

from __future__ import annotations

import anyio

from host.bridge.envelopes import StartReply
from host.model.errors import ErrorInfo, counted_error

__all__ = ["Sleepers", "Waiters"]


class _Waiter:
    __slots__ = ("error", "event", "reply")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.reply: StartReply | None = None
        self.error: ErrorInfo | None = None


class Waiters:
    """Callers that wait for the start."""

    def __init__(self) -> None:
        self._waiting: list[_Waiter] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self) -> _Waiter:
        waiter = _Waiter()
        self._waiting.append(waiter)
        return waiter

    async def wait(self, waiter: _Waiter) -> StartReply:
        """Returns what the actor told of itself, or raises what its start failed with."""
        await waiter.event.wait()
        if waiter.error is not None:
            raise counted_error(waiter.error)
        assert waiter.reply is not None
        return waiter.reply

    def done(self, reply: StartReply) -> None:
        for waiter in self._take():
            waiter.reply = reply
            waiter.event.set()

    def fail(self, error: ErrorInfo) -> None:
        for waiter in self._take():
            waiter.error = error
            waiter.event.set()

    def _take(self) -> list[_Waiter]:
        waiting, self._waiting = self._waiting, []
        return waiting


class Sleepers:
    """Callers that asked for sleep."""

    def __init__(self) -> None:
        self._waiting: list[anyio.Event] = []

    async def wait(self) -> None:
        event = anyio.Event()
        self._waiting.append(event)
        await event.wait()

    def done(self) -> None:
        for event in self._waiting:
            event.set()
        self._waiting.clear()
