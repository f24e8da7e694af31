"""One hostile case, as data: what it attacks, how it is driven, what must happen, and which counter must move.

`run` is made by one of the functions in `drives.py`; it tells what happened, or raises `Escaped` if it was not what
must happen. A case never judges itself contained: the runner adds what is common to all (the host lives, the neighbour
is answered, the counter has moved).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from host.selftest.lab import Lab

__all__ = ["Case"]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    """theme/what, unique."""
    attacks: str
    """The name of a limit, or the rule in a few words."""
    how: str
    """Where it comes in: upload, action, start, frame, …"""
    must: str
    """What has to happen, for people."""
    run: Callable[[Lab], Awaitable[str]]
    counter: tuple[str, ...] = ()
    """Metric names without prefix and suffix; at least one of them has to move. Empty: nothing is refused."""
    seconds: float = 20.0
    """More than this is a hang."""
    limits: tuple[str, ...] = ()
    """The limits whose errors it sees with used and allowed."""
    slow: bool = False
    """Takes a budget of many seconds to its end."""
