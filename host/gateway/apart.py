"""Decoding and encoding of what is large, apart from the event loop: a megabyte that a stranger has filled with the
smallest of items takes a third of a second, in which nobody else would be served. One at a time: what it takes in
memory it takes once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

__all__ = ["LARGE", "apart"]

LARGE = 32 * 1_024

P = ParamSpec("P")
T = TypeVar("T")

_one_at_a_time: RunVar[CapacityLimiter] = RunVar("one_at_a_time")


async def apart(size: int, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """What `work` gives or raises; on a thread if `size`, in bytes, is large."""
    if size < LARGE:
        return work(*args, **more)
    limiter = _one_at_a_time.get(None)
    if limiter is None:
        limiter = CapacityLimiter(1)
        _one_at_a_time.set(limiter)
    return await anyio.to_thread.run_sync(partial(work, *args, **more), limiter=limiter)
