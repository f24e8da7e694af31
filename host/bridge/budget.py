"""How often, and with how many bytes, a guest may call the host in one turn.

No deadline interrupts host code, so the host bounds itself. The first call over the budget is told so (-3); a guest
that goes on all the same is ended.
"""

from __future__ import annotations

from host.model.errors import GuestFault
from host.model.limits import Limits

__all__ = ["OVER_BUDGET", "TOO_LARGE", "Budget", "budget_fault"]

OVER_BUDGET = -3
TOO_LARGE = -4


def budget_fault(limit: str, used: int, allowed: int, advice: str) -> GuestFault:
    metadata = b'{"limit":"%s","used":%d,"allowed":%d}' % (limit.encode(), used, allowed)
    return GuestFault("budget", f"{limit}: {used} used, {allowed} allowed; {advice}", metadata=metadata)


class Budget:
    __slots__ = ("_told", "bytes", "calls", "max_bytes", "max_calls")

    def __init__(self, limits: Limits) -> None:
        self.max_calls = limits.host_calls
        self.max_bytes = limits.host_call_bytes
        self.calls = 0
        self.bytes = 0
        self._told = False

    def begin_turn(self) -> None:
        self.calls = 0
        self.bytes = 0
        self._told = False

    def call(self, size: int = 0) -> int:
        """Counts one call with a request of `size` bytes: 0, or the number that the guest gets instead of an answer."""
        self.calls += 1
        too_large = size > self.max_bytes
        if not too_large:
            self.bytes += size
        if self.calls > self.max_calls or self.bytes > self.max_bytes:
            return self._over()
        return TOO_LARGE if too_large else 0

    def reply(self, size: int) -> int:
        """Counts the answer to it."""
        if size > self.max_bytes:
            return TOO_LARGE
        self.bytes += size
        return self._over() if self.bytes > self.max_bytes else 0

    def _over(self) -> int:
        if not self._told:
            self._told = True
            return OVER_BUDGET
        if self.calls > self.max_calls:
            raise budget_fault("host_calls", self.calls, self.max_calls, "make fewer host calls in one turn")
        raise budget_fault("host_call_bytes", self.bytes, self.max_bytes, "move fewer bytes in one turn")
