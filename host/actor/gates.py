"""The output gate as one function: what a hop produced leaves after its commit, or never (D1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["release_after"]

T = TypeVar("T")


async def release_after(commit: Callable[[], Awaitable[T | None]], release: Callable[[], None]) -> T | None:
    """D1, D3: `release` lets frames, answers and acknowledgements out and starts deferred calls. It runs only once
    `commit` has said, with None, that the turns they come from are on disk; anything else is why they are not."""
    lost = await commit()
    if lost is None:
        release()
    return lost
