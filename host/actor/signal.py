"""A signal for one waiter: set any number of times, it wakes it once. It takes itself back, so one is enough."""

from __future__ import annotations

import asyncio

__all__ = ["Signal"]


class Signal:
    """Belongs to the event loop."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Returns once it has been set since the last return, and takes that back."""
        while not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._set = False
