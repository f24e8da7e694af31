"""Lookups of names for many tenants, any of which may run the name server behind a name.

The system's resolver cannot be called off, and takes as long as that server lets it: so each lookup has a thread of its
own, which counts until it is over, whoever still waits for it. Of an owner's there are no more at a time than `EACH`,
and `TOGETHER` of all: one that is answered by nobody holds up its owner's others and nobody else's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from threading import Thread
from typing import Any

import anyio

__all__ = ["EACH", "OWNER", "TOGETHER", "Lookups"]

EACH = 8
TOGETHER = 128

# For whom the running task looks names up.
OWNER: ContextVar[str] = ContextVar("owner", default="")

Answer = list[tuple[Any, ...]]


class _Owner:
    __slots__ = ("room", "users")

    def __init__(self) -> None:
        self.room = anyio.Semaphore(EACH)
        self.users = 0


class Lookups:
    """Call it with a host and a port; gives its addresses in the resolver's order, without repetitions. OSError and
    UnicodeError as the system raises them."""

    def __init__(self, lookup: Callable[[str, int], Answer] | None = None) -> None:
        self._lookup = lookup or _system
        self._owners: dict[str, _Owner] = {}
        self._together = anyio.Semaphore(TOGETHER)

    def __len__(self) -> int:
        """Those who look, or wait for it."""
        return sum(owner.users for owner in self._owners.values())

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        name = OWNER.get()
        owner = self._owners.setdefault(name, _Owner())
        owner.users += 1
        try:
            await owner.room.acquire()
            try:
                await self._together.acquire()
            except BaseException:
                owner.room.release()
                raise
        except BaseException:
            self._leave(name, owner)
            raise
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def over(found: Answer | BaseException) -> None:
            self._together.release()
            owner.room.release()
            self._leave(name, owner)
            if answer.done():  # nobody waits any more
                return
            if isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look() -> None:
            try:
                found: Answer | BaseException = self._lookup(host, port)
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                found = error
            with suppress(RuntimeError):  # the host has ended meanwhile
                loop.call_soon_threadsafe(over, found)

        try:
            # A daemon: the end of the host does not wait for anybody's name server.
            Thread(target=look, name="lookup", daemon=True).start()
        except RuntimeError as error:
            over(OSError(str(error)))
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in await answer))

    def _leave(self, name: str, owner: _Owner) -> None:
        owner.users -= 1
        if not owner.users:
            del self._owners[name]


def _system(host: str, port: int) -> Answer:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
