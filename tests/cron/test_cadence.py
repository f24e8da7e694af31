"""Intervals from an anchor, and what was missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.cron.cadence import MOST_COUNTED, Missed, missed, next_after
from host.model.records import Repeat

HOUR, DAY = 3_600_000, 86_400_000
NOON = 1_767_268_800_000  # 2026-01-01 12:00 UTC
EVERY = Repeat("x", "every", "go", 10, interval=1_000, anchor=500)
HOURLY = Repeat("x", "cron", "go", 10, expression="0 * * * *", time_zone="UTC")


@pytest.mark.parametrize(
    ("after", "found"), [(0, 1_500), (500, 1_500), (1_499, 1_500), (1_500, 2_500), (9_999, 10_500)]
)
def test_the_nth_time_is_the_anchor_plus_n_intervals(after: int, found: int) -> None:
    assert next_after(EVERY, after) == found


def test_an_interval_ends_with_the_numbers() -> None:
    assert next_after(EVERY, 2**53 - 2) is None
    assert next_after(Repeat("x", "every", "go", 10, interval=2**53 - 1, anchor=1), 1) is None


def test_nothing_is_missed_between_one_time_and_the_next() -> None:
    assert missed(EVERY, 1_500, 2_499) is None
    assert missed(HOURLY, NOON, NOON + HOUR - 1) is None


def test_what_was_missed_is_counted_from_the_first_to_the_last() -> None:
    assert missed(EVERY, 1_500, 2_500) == Missed(2_500, 2_500, 1)
    assert missed(EVERY, 1_500, 5_000) == Missed(2_500, 4_500, 3)
    assert missed(HOURLY, NOON, NOON + DAY) == Missed(NOON + HOUR, NOON + DAY, 24)


def test_counting_ends_somewhere() -> None:
    minutely = Repeat("x", "cron", "go", 10, expression="* * * * *", time_zone="Europe/Berlin")
    assert missed(minutely, NOON, NOON + 365 * DAY) == Missed(NOON + 60_000, NOON + MOST_COUNTED * 60_000, MOST_COUNTED)
    assert missed(EVERY, 500, 10**12) == Missed(1_500, 500 + MOST_COUNTED * 1_000, MOST_COUNTED)


@given(st.integers(1, 10**7), st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**6))
def test_the_next_time_is_the_first_of_the_cadence_that_is_later(
    interval: int, anchor: int, after: int, n: int
) -> None:
    found = next_after(Repeat("x", "every", "go", 1, interval=interval, anchor=anchor), after)
    assert found is not None
    assert found > after
    assert (found - anchor) % interval == 0
    assert found - interval <= max(after, anchor)
    time = anchor + (n + 1) * interval
    assert time <= after or time >= found
