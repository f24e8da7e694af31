"""A token bucket: what is used is taken from it, and it fills again at a steady rate up to a bound.

It may be overdrawn, because what a turn costs is known only afterwards: it then has to fill up from below nothing
first, so that over time nobody gets more than the rate. Pure; times are monotonic seconds.
"""

from __future__ import annotations

__all__ = ["TokenBucket"]

# A bucket that is exactly empty is empty, so a wait ends a moment after that.
MOMENT = 0.001


class TokenBucket:
    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Full at first; `rate` is what it gains in a second."""
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def configure(self, rate: float, burst: float, now: float) -> None:
        """What was gained until now stays, within the new bound."""
        self._level = min(burst, self.level(now))
        self._at = now
        self._rate, self._burst = rate, burst

    def level(self, now: float) -> float:
        level = self._level
        if now > self._at:
            level += (now - self._at) * self._rate
        return level if level < self._burst else self._burst

    def take(self, amount: float, now: float) -> float:
        """However little is there; the level after it."""
        self._level = left = self.level(now) - amount
        if now > self._at:
            self._at = now
        return left

    def try_take(self, amount: float, now: float) -> bool:
        """Only if it is there."""
        if self.level(now) < amount:
            return False
        self.take(amount, now)
        return True

    def positive(self, now: float) -> bool:
        return self.level(now) > 0

    def wait(self, now: float, amount: float = 0.0) -> float:
        """Seconds until there is more than nothing, or until `amount` is there."""
        missing = amount - self.level(now)
        if missing < 0 or (missing <= 0 and amount > 0):
            return 0.0
        return missing / self._rate + MOMENT
