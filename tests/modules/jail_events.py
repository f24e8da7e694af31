"""What happens in a jail, as events: a child has taken its job, a number has been counted, the zygote has cleaned up.

A child's start is nothing that a process is told of. But a job is longer than a socket buffers, or is made to be: when
there is room in the socket again, there is a child that reads.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from unittest.mock import patch

import anyio

from host.modules.jail.frames import receive_frame, send_frame
from host.modules.jail.jail import Jail
from host.modules.jail.process import MAX_WORD
from host.telemetry.metrics import MetricsRegistry

__all__ = ["Happenings", "ToldMetrics", "clean", "told_of_work"]


class Happenings:
    """Whoever makes something happen tells; whoever waits looks again then, and only then."""

    def __init__(self) -> None:
        self._happened = anyio.Event()

    def tell(self) -> None:
        happened, self._happened = self._happened, anyio.Event()
        happened.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._happened.wait()


class ToldMetrics(MetricsRegistry):
    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def count(self, name: str, reason: str = "", n: int = 1) -> None:
        super().count(name, reason, n)
        self._tell()


@contextmanager
def told_of_work(tell: Callable[[], None]) -> Iterator[None]:
    """Tells whenever a child of a jail has begun to read its job; it is a process by then."""

    async def sent(sock: socket.socket, data: bytes) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, min(len(data) // 8, 100_000))
        await send_frame(sock, data)
        await anyio.wait_writable(sock)
        tell()

    with patch("host.modules.jail.process.send_frame", sent):
        yield


async def clean(jail: Jail) -> None:
    """Returns when the zygote has reaped every child that was dead, and has closed what it held of it."""
    zygote = jail._zygote
    assert zygote is not None
    # A child without a job ends at once, and the zygote closes its `life` last. It may come to that child before
    # others, but to the second only after all that it found in one go.
    for _ in range(2):
        data, life = zygote._launch(jail.budget)
        with closing(life):
            data.close()
            while await receive_frame(life, MAX_WORD) is not None:
                continue
