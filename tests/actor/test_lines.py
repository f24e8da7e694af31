"""Which message of a connection is taken in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host.actor.lines import Admission, Lines
from host.actor.watermark import Watermark


def opened() -> Lines:
    lines = Lines()
    assert lines.open("c")
    return lines


def test_the_next_index_is_taken_in_and_the_first_is_one() -> None:
    lines, mark = opened(), Watermark()
    assert [lines.admit("c", index, mark) for index in (1, 2, 3)] == [Admission.TAKE] * 3
    assert lines.last("c") == 3


def test_what_came_before_is_a_duplicate_whether_it_has_settled_or_not() -> None:
    lines, mark = opened(), Watermark()
    lines.admit("c", 1, mark)
    assert lines.admit("c", 1, mark) is Admission.DUPLICATE
    assert lines.last("c") == 1


def test_a_gap_is_told_and_changes_nothing() -> None:
    lines, mark = opened(), Watermark()
    assert lines.admit("c", 2, mark) is Admission.GAP
    assert lines.last("c") == 0
    assert lines.admit("c", 1, mark) is Admission.TAKE


def test_an_index_that_settled_ahead_is_passed_over_once_its_turn_comes() -> None:
    lines = Lines()
    lines.restore("c", 1)
    mark = Watermark(1, (3,))
    assert lines.admit("c", 2, mark) is Admission.TAKE
    assert lines.admit("c", 3, mark) is Admission.SKIP
    assert lines.admit("c", 4, mark) is Admission.TAKE


def test_an_unknown_connection_is_told_and_a_closed_one_is_unknown() -> None:
    lines = Lines()
    assert lines.admit("c", 1, None) is Admission.UNKNOWN
    lines.open("c")
    assert not lines.open("c")
    lines.close("c")
    assert "c" not in lines
    assert lines.admit("c", 1, None) is Admission.UNKNOWN


def test_restoring_keeps_what_the_mailbox_took_in_before() -> None:
    lines, mark = opened(), Watermark()
    lines.admit("c", 1, mark)
    lines.admit("c", 2, mark)
    lines.restore("c", 1)
    assert lines.last("c") == 2
    assert lines.admit("c", 2, mark) is Admission.DUPLICATE


@given(st.lists(st.integers(1, 12), max_size=60))
def test_whatever_arrives_is_taken_in_once_and_in_order(arrivals: list[int]) -> None:
    lines, mark = opened(), Watermark()
    taken = [index for index in arrivals if lines.admit("c", index, mark) is Admission.TAKE]
    assert taken == list(range(1, len(taken) + 1))
