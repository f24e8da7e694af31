"""A set of byte-string ranges [start, end), kept disjoint and sorted: the range tombstones of a hop.

Merged on the way in, so that the question "is this key deleted?" costs a bisection however many ranges a guest deletes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

__all__ = ["Ranges"]


class Ranges:
    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: bytes, end: bytes) -> None:
        """Adds [start, end); an empty one changes nothing."""
        if start >= end:
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def covers(self, key: bytes) -> bool:
        at = bisect_right(self._starts, key) - 1
        return at >= 0 and key < self._ends[at]

    def skip_up(self, key: bytes) -> bytes:
        """The first key from `key` on that is not covered."""
        at = bisect_right(self._starts, key) - 1
        return self._ends[at] if at >= 0 and key < self._ends[at] else key

    def skip_down(self, end: bytes) -> bytes:
        """The lowest end of a walk down from `end` that leaves out only covered keys."""
        at = bisect_left(self._starts, end) - 1
        return self._starts[at] if at >= 0 and end <= self._ends[at] else end

    def pairs(self) -> list[tuple[bytes, bytes]]:
        return list(zip(self._starts, self._ends, strict=True))

    def clear(self) -> None:
        self._starts.clear()
        self._ends.clear()
