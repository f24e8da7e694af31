"""Faults of the last minute: an actor whose different events fault again and again has failed, one that a single
crafted message makes stumble has not. Pure; times are monotonic seconds."""

from __future__ import annotations

from host.actor.entries import Entry

__all__ = ["RecentFaults"]

WINDOW = 60.0
ALLOWED = 2


class RecentFaults:
    def __init__(self) -> None:
        self._faults: list[tuple[float, object]] = []

    def add(self, culprit: Entry | None, now: float) -> bool:
        """True when it is one too many; the count then begins anew. What is delivered again has a limit of its own
        and counts once; anything else counts each time."""
        self._faults = [(when, what) for when, what in self._faults if now - when < WINDOW]
        name: object = culprit.name if culprit is not None and culprit.redelivered else object()
        if all(name != what for _, what in self._faults):
            self._faults.append((now, name))
        if len(self._faults) <= ALLOWED:
            return False
        self._faults.clear()
        return True
