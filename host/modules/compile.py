"""The compiler for modules of our own: the JavaScript engine and its image.

It is a worker thread, one at a time, so that it leaves the other cores to the guests; what waits is bounded. Tenants'
modules never come here: they are compiled in the jail (`host.modules.admitter`). A compilation that has begun is not
cancelled half-way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.model.errors import UnavailableError

__all__ = ["Compiler", "Progress", "no_progress"]

T = TypeVar("T")
MAX_WAITING = 64


class Progress(Protocol):
    """Told when something begins that may take over a second, and when it is over."""

    def __call__(self, what: str, *, done: bool) -> None: ...


def no_progress(what: str, *, done: bool) -> None:
    """Tells nobody."""


class Compiler:
    def __init__(self, engine: Engine, *, progress: Progress = no_progress, max_waiting: int = MAX_WAITING) -> None:
        self._engine = engine
        self._progress = progress
        self._one = anyio.CapacityLimiter(1)
        self._waiting = 0
        self._max_waiting = max_waiting

    async def compile(self, wasm: bytes, what: str) -> Code:
        """Raises the tenant's error for a module that is malformed; `what` is for the progress display."""
        return await self.run(lambda: self._engine.compile(wasm), f"compiling {what}")

    async def run(self, job: Callable[[], T], what: str) -> T:
        """Something else that takes as long, in the same line."""
        if self._waiting >= self._max_waiting:
            raise UnavailableError(
                "node", "full", f"{self._waiting} compilations are waiting already; try again", retry_after=1.0
            )
        self._waiting += 1
        try:
            async with self._one:
                self._progress(what, done=False)
                try:
                    # the line is kept by `_one`, so the thread comes from a limiter that never blocks
                    return await run_sync(job, limiter=anyio.CapacityLimiter(1))
                finally:
                    self._progress(what, done=True)
        finally:
            self._waiting -= 1
