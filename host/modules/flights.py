"""Work that outlives those who ask for it: once per key, finished even if they all went away.

What it guarantees: who asks waits under a deadline of its own, and its going away stops nothing, so that the next who
asks finds the result of what the first could not wait for. Of one key there is one piece of work at a time. Several
riders (tenants) may stand in lines of their own for it; whichever comes to its turn first does it for all, so nobody
waits in another's line.

A result, and a refusal that the work came to, is for all who wait. That there was no room, or nothing could be said, is
the affair of the rider that it happened to: the others go on. Nothing is kept here once it is settled.

A task of its own carries each rider. Their number is bounded by the lines that they stand in; `close` ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

import anyio

from host.model.errors import DormiceError, InternalError, UnavailableError

__all__ = ["Begin", "Flights", "Overtaken", "anyhow"]

T = TypeVar("T")

Begin = Callable[[], None]
"""To be called by a rider's work when its turn has come; raises `Overtaken`, which the work lets through."""


def anyhow() -> None:
    """For work that nobody else does."""


class Overtaken(Exception):
    """Another rider does it, or has done it."""


class _Rider:
    __slots__ = ("error", "over")

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.error: Exception | None = None


class _Flight(Generic[T]):
    """`free` is set while no rider is at work."""

    def __init__(self) -> None:
        self.riders: dict[str, _Rider] = {}
        self.working: _Rider | None = None
        self.free = anyio.Event()
        self.settled = False
        self.result: list[T] = []
        self.error: Exception | None = None

    def begin(self, rider: _Rider) -> None:
        if self.settled or self.working not in (None, rider):
            raise Overtaken
        self.working = rider

    def leave(self, rider: _Rider) -> None:
        if self.working is rider:
            self.working = None
            free, self.free = self.free, anyio.Event()
            free.set()

    def settle(self, *result: T, error: Exception | None = None) -> None:
        if self.settled:
            return
        self.settled = True
        self.result, self.error = list(result), error
        self.free.set()
        for rider in self.riders.values():
            rider.over.set()


class Flights(Generic[T]):
    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def join(self, key: str, name: str, work: Callable[[Begin], Awaitable[T]]) -> T:
        """What `work` comes to, or that of another rider of this key. `work` is not used if `name` rides already."""
        if self._closed:
            raise _draining()
        flight = self._flights.setdefault(key, _Flight())
        rider = flight.riders.get(name)
        if rider is None:
            rider = flight.riders[name] = _Rider()
            task = asyncio.create_task(self._ride(key, flight, name, rider, work), name=f"flight {key[:12]}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # one that is cancelled before it ran does nothing, not even at its end
            task.add_done_callback(lambda _: rider.over.set())
        await rider.over.wait()
        if flight.result:
            return flight.result[0]
        error = (flight.error if flight.settled else rider.error) or _draining()
        raise error.with_traceback(None)  # several may raise it, and each would make the traceback longer

    async def close(self) -> None:
        """Ends all that is under way; who waits is told that the node drains."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ride(
        self, key: str, flight: _Flight[T], name: str, rider: _Rider, work: Callable[[Begin], Awaitable[T]]
    ) -> None:
        try:
            flight.settle(await self._result(flight, rider, work))
        except Overtaken:
            pass  # settled by another, who told those that wait for this one too
        except (UnavailableError, InternalError) as error:
            rider.error = error
        except DormiceError as error:
            flight.settle(error=error)
        except Exception as error:  # noqa: BLE001 - raised by those who wait for it
            rider.error = error
        finally:
            flight.leave(rider)
            del flight.riders[name]
            rider.over.set()
            if self._flights.get(key) is flight and (flight.settled or not flight.riders):
                del self._flights[key]

    async def _result(self, flight: _Flight[T], rider: _Rider, work: Callable[[Begin], Awaitable[T]]) -> T:
        while True:
            try:
                return await work(partial(flight.begin, rider))
            except Overtaken:
                if not flight.settled:
                    await flight.free.wait()
                if flight.settled:
                    raise


def _draining() -> UnavailableError:
    return UnavailableError("node", "draining", "this node takes no more work; try another, or again later")
