"""The end of an actor on this node, once its destroy is on disk: its guest hears of it if it can; it ends either way.

One that is awake is stopped with the reason `destroy`; one that sleeps is started on the one start path and stopped
then. Whatever becomes of that, a trap, a throw, a start that fails, is the end. How long all of it may take is for
whoever began the destroy to say, for a guest may never come back from its thread.
"""

from __future__ import annotations

import anyio

from host.model.errors import ErrorInfo

__all__ = ["GRACE_OVER", "Destroying"]

GRACE_OVER = "grace"


class Destroying:
    """`missed` says why the guest has not heard of its end, or not to the end: `grace`, or the name of an error; None
    if it has."""

    __slots__ = ("_over", "missed")

    def __init__(self) -> None:
        self._over = anyio.Event()
        self.missed: str | None = None

    def miss(self, error: ErrorInfo) -> None:
        # a code of the guest's choice is no name for a counter
        self.missed = "user" if error.group == "user" else error.name

    def over(self) -> None:
        """The actor has ended on this node."""
        self._over.set()

    async def wait(self) -> None:
        await self._over.wait()
