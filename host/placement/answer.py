"""A place for one answer, waited for by one caller."""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

__all__ = ["Answer"]

T = TypeVar("T")


class Answer(Generic[T]):
    __slots__ = ("_event", "_value")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: T | None = None

    def set(self, value: T) -> None:
        self._value = value
        self._event.set()

    async def wait(self) -> T:
        await self._event.wait()
        assert self._value is not None
        return self._value
