"""The bucket: a bound, a steady rate, and debts that are paid before anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host.placement.token_bucket import TokenBucket


def test_it_is_full_at_first_and_fills_up_to_its_bound_only() -> None:
    bucket = TokenBucket(2.0, 10.0, 100.0)
    assert bucket.level(100.0) == bucket.level(1_000.0) == 10.0
    bucket.take(4.0, 1_000.0)
    assert (bucket.level(1_000.0), bucket.level(1_001.0), bucket.level(1_009.0)) == (6.0, 8.0, 10.0)


def test_a_debt_is_paid_before_there_is_anything_to_take() -> None:
    bucket = TokenBucket(2.0, 10.0, 0.0)
    bucket.take(14.0, 0.0)
    assert (bucket.level(0.0), bucket.positive(0.0), bucket.positive(2.0)) == (-4.0, False, False)
    assert 2.0 < bucket.wait(0.0) < 2.01
    assert bucket.positive(bucket.wait(0.0))


def test_what_is_not_there_is_not_taken_and_the_wait_says_when_it_is() -> None:
    bucket = TokenBucket(0.5, 2.0, 0.0)
    assert [bucket.try_take(1.0, 0.0) for _ in range(3)] == [True, True, False]
    assert bucket.level(0.0) == 0.0
    assert bucket.try_take(1.0, bucket.wait(0.0, 1.0))


def test_another_rate_counts_from_the_change_on() -> None:
    bucket = TokenBucket(1.0, 10.0, 0.0)
    bucket.take(10.0, 0.0)
    bucket.configure(5.0, 8.0, 4.0)
    assert (bucket.level(4.0), bucket.level(4.5), bucket.level(9.0)) == (4.0, 6.5, 8.0)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1.0, 5.0)
    bucket.take(1.0, 5.0)
    assert bucket.level(4.0) == bucket.level(5.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), max_size=50))
def test_nobody_gets_more_than_the_burst_and_the_rate_together(steps: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(1.0, 4.0, 0.0)
    now = taken = 0.0
    for passed, wanted in steps:
        now += passed
        if bucket.try_take(wanted, now):
            taken += wanted
        assert taken <= 4.0 + now + 1e-6
