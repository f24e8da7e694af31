"""Which message of a connection the mailbox takes in. Pure.

`last` of a line is the highest index that the mailbox has taken in. The next one is taken in; one at or below it came
again and is answered with the current acknowledgement; one beyond the next is a gap: the gateway is asked once to send
again, and if it cannot, the connection is closed.
"""

from __future__ import annotations

from enum import Enum, auto

from host.actor.watermark import Watermark

__all__ = ["Admission", "Lines"]


class Admission(Enum):
    TAKE = auto()
    SKIP = auto()
    DUPLICATE = auto()
    GAP = auto()
    UNKNOWN = auto()


class Lines:
    """Outlives instances, as the mailbox does: what was taken in stays taken in while the process lives."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def open(self, conn: str) -> bool:
        """A new connection; False if it is known already (its open came again)."""
        if conn in self._last:
            return False
        self._last[conn] = 0
        return True

    def restore(self, conn: str, msg_index: int) -> None:
        """A connection read from storage; what the mailbox took in before stays."""
        self._last.setdefault(conn, msg_index)

    def admit(self, conn: str, index: int, mark: Watermark | None) -> Admission:
        last = self._last.get(conn)
        if last is None:
            return Admission.UNKNOWN
        if index <= last:
            return Admission.DUPLICATE
        if index > last + 1:
            return Admission.GAP
        self._last[conn] = index
        return Admission.SKIP if mark is not None and mark.has_settled(index) else Admission.TAKE

    def last(self, conn: str) -> int:
        return self._last.get(conn, 0)

    def close(self, conn: str) -> None:
        self._last.pop(conn, None)

    def __contains__(self, conn: str) -> bool:
        return conn in self._last
