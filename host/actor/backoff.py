"""Delays of retries. Pure: the jitter is passed in as a number of [0, 1)."""

from __future__ import annotations

__all__ = ["alarm_delay_ms", "fence_delay_ms", "next_attempt", "start_delay_ms"]

START_BASE_MS = 1_000
START_CAP_MS = 30_000
START_ATTEMPTS = 20
ALARM_BASE_MS = 2_000
FENCE_BASE_MS = 250
JITTER = 0.25


def start_delay_ms(attempt: int, jitter: float) -> int:
    """How long a failed start waits before the next; `attempt` counts from 1: 1 s, 2 s, 4 s … at most 30 s, plus up to
    a quarter of jitter, still capped."""
    plain = min(START_CAP_MS, START_BASE_MS << min(attempt - 1, 10))
    return min(START_CAP_MS, int(plain * (1 + JITTER * jitter)))


def next_attempt(attempt: int) -> int:
    """The number of the failed attempt that follows `attempt`; after 20 the count, and the delay, begin again."""
    return 1 if attempt >= START_ATTEMPTS else attempt + 1


def alarm_delay_ms(failed: int, jitter: float) -> int:
    """2 s·2^n after the n-th failed attempt of an alarm, n from 0, plus up to a quarter of jitter."""
    return int((ALARM_BASE_MS << min(failed, 16)) * (1 + JITTER * jitter))


def fence_delay_ms(times: int, jitter: float) -> int:
    """How long an actor that was fenced `times` times in a row waits before it looks again: not at all after the first,
    for it may be gone, or another start of it may have ended; then 250 ms, 500 ms … at most 30 s, plus up to a quarter
    of jitter, still capped."""
    if times <= 1:
        return 0
    plain = min(START_CAP_MS, FENCE_BASE_MS << min(times - 2, 10))
    return min(START_CAP_MS, int(plain * (1 + JITTER * jitter)))
