"""Runs the coroutines of one actor, on whatever thread its hop has, without an event loop.

A turn starts coroutines, or completes what one of them waits for, and then runs everything that can go on. So a
handler takes part in turns as a guest's does: what it awaits inside the turn is answered inside the turn, and only a
deferred call takes it into a later one. Nothing here blocks, sleeps, or knows of time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

__all__ = ["Deferred", "Task", "Tasks"]

T = TypeVar("T")


class Deferred(Generic[T]):
    """Something that settles once, with a result or an error, and can be awaited any number of times. An actor may make
    one itself, for a handler that waits for another."""

    __slots__ = ("_error", "_result", "_waiting", "awaited", "done")

    def __init__(self) -> None:
        self.done = False
        self.awaited = False
        self._result: T | None = None
        self._error: Exception | None = None
        self._waiting: list[Callable[[], None]] = []

    def __await__(self) -> Generator[Deferred[Any], None, T]:
        self.awaited = True
        if not self.done:
            yield self
        return self.result()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None stands for a T that is None

    @property
    def error(self) -> Exception | None:
        return self._error

    def resolve(self, result: T) -> None:
        """What has settled stays as it is."""
        if not self.done:
            self._result = result
            self._settle()

    def reject(self, error: Exception) -> None:
        if not self.done:
            self._error = error
            self._settle()

    def when_done(self, act: Callable[[], None]) -> None:
        if self.done:
            act()
        else:
            self._waiting.append(act)

    def _settle(self) -> None:
        self.done = True
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()


class Task(Deferred[T]):
    """A coroutine in work. Awaiting it waits for its end."""

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._coroutine = coroutine
        # Its own, whatever thread it goes on on; what it spawns begins with a copy.
        self._context = copy_context()

    def step(self, again: Callable[[Task[Any]], None]) -> None:
        """Runs it up to the next thing that is not there yet."""
        error: Exception | None = None
        while True:
            try:
                if error is None:
                    waited = self._context.run(self._coroutine.send, None)
                else:
                    waited = self._context.run(self._coroutine.throw, error)
            except StopIteration as end:
                return self.resolve(end.value)
            except BaseException as raised:  # noqa: BLE001 - whatever a handler raises is its result
                return self.reject(_without_loop(raised) if isinstance(raised, Exception) else _ended(raised))
            if isinstance(waited, Deferred):
                return waited.when_done(lambda: again(self))
            error = _foreign(waited)

    def close(self) -> Exception | None:
        """Ends it where it stands; gives back what its clean-up raised."""
        try:
            self._coroutine.close()
        except BaseException as raised:  # noqa: BLE001 - for whoever closes
            return raised if isinstance(raised, Exception) else _ended(raised)
        return None


class Tasks:
    """The coroutines of one actor."""

    def __init__(self) -> None:
        self._ready: deque[Task[Any]] = deque()
        self._alive: set[Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """It begins when what runs now has come to its next wait."""
        task = Task(coroutine)
        self.adopt(task)
        self.go_on(task)
        return task

    def adopt(self, task: Task[Any]) -> None:
        """A task that was started elsewhere, and waits."""
        self._alive.add(task)
        task.when_done(lambda: self._alive.discard(task))

    def go_on(self, task: Task[Any]) -> None:
        """What a task waited for has come."""
        self._ready.append(task)

    def run(self) -> None:
        """Until nothing can go on."""
        while self._ready:
            self._ready.popleft().step(self.go_on)

    def close(self) -> list[Exception]:
        """Ends whatever is in work."""
        self._ready.clear()
        raised = [error for task in list(self._alive) if (error := task.close()) is not None]
        self._alive.clear()
        return raised


def _ended(raised: BaseException) -> Exception:
    """`sys.exit()` or a cancellation in a handler is meant for a program or an event loop, and there is none here."""
    return RuntimeError(f"the handler raised {raised!r}, which ends a program or a task, and it is neither")


def _foreign(waited: object) -> TypeError:
    return _of_a_loop(f"a {type(waited).__name__}")


def _without_loop(raised: Exception) -> Exception:
    """What most of asyncio raises before it gives anything to wait for; it would not say to an actor what is wrong."""
    if type(raised) is not RuntimeError or raised.args != ("no running event loop",):
        return raised
    error = _of_a_loop("something")
    error.__cause__ = raised
    return error


def _of_a_loop(what: str) -> TypeError:
    return TypeError(f"a static actor awaits what its context gives (delay, spawn), not {what} of an event loop")
