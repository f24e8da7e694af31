"""The watermark of one connection (D2): which message indexes have settled. Pure.

`msg_index` is the highest n with every index up to n settled: contiguous, never going back. What settled above it is
kept in `ahead` until the gap below it closes.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Watermark"]


class Watermark:
    __slots__ = ("ahead", "msg_index")

    def __init__(self, msg_index: int = 0, ahead: Iterable[int] = ()) -> None:
        self.msg_index = msg_index
        self.ahead = set(ahead)

    def settle(self, index: int) -> None:
        """D2: marks one index; `msg_index` moves only over what has settled without a gap. Settling an index twice is a
        programming error."""
        if index == self.msg_index + 1 and not self.ahead:
            self.msg_index = index
            return
        if self.has_settled(index):
            raise ValueError(f"index {index} has settled already (watermark {self.msg_index})")
        if index != self.msg_index + 1:
            self.ahead.add(index)
            return
        self.msg_index = index
        while self.msg_index + 1 in self.ahead:
            self.msg_index += 1
            self.ahead.remove(self.msg_index)

    def has_settled(self, index: int) -> bool:
        return index <= self.msg_index or index in self.ahead

    def settled_ahead(self) -> tuple[int, ...]:
        """D2: kept in the same row, so that they are never delivered again."""
        return tuple(sorted(self.ahead))
