"""A small map that forgets what was used least recently once the weight of its entries passes a bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Lru"]

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Belongs to one thread. An entry heavier than the whole bound is not kept."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._weight = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        former = self._entries.pop(key, None)
        if former is not None:
            self._weight -= former[1]
        self._entries[key] = (value, weight)
        self._weight += weight
        while self._weight > self._bound:
            _, (_, gone) = self._entries.popitem(last=False)
            self._weight -= gone
