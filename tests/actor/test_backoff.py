"""Delays: they grow, they are capped, and the count begins again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.actor.backoff import alarm_delay_ms, fence_delay_ms, next_attempt, start_delay_ms


def test_a_failed_start_waits_one_second_then_doubles_up_to_thirty() -> None:
    assert [start_delay_ms(attempt, 0.0) for attempt in range(1, 9)] == [
        1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
    ]  # fmt: skip


@given(st.integers(1, 1_000), st.floats(0, 1, exclude_max=True))
def test_jitter_only_adds_and_never_passes_the_cap(attempt: int, jitter: float) -> None:
    plain = start_delay_ms(attempt, 0.0)
    assert plain <= start_delay_ms(attempt, jitter) <= min(30_000, plain * 5 // 4)


def test_after_twenty_attempts_the_count_and_the_delay_begin_again() -> None:
    attempt, counted = 0, []
    for _ in range(22):
        attempt = next_attempt(attempt)
        counted.append(attempt)
    assert counted == [*range(1, 21), 1, 2]
    assert start_delay_ms(next_attempt(20), 0.0) == 1_000


@pytest.mark.parametrize(("failed", "delay"), [(0, 2_000), (1, 4_000), (2, 8_000), (3, 16_000), (4, 32_000)])
def test_an_alarm_waits_two_seconds_then_doubles(failed: int, delay: int) -> None:
    assert alarm_delay_ms(failed, 0.0) == delay
    assert delay < alarm_delay_ms(failed, 0.999) < delay * 5 // 4


def test_one_fence_costs_nothing_and_further_ones_wait_ever_longer_up_to_thirty_seconds() -> None:
    assert [fence_delay_ms(times, 0.0) for times in range(1, 6)] == [0, 250, 500, 1_000, 2_000]
    assert fence_delay_ms(50, 0.999) == 30_000
    assert 250 < fence_delay_ms(2, 0.999) < 320
