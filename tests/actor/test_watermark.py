"""The watermark of a connection, against a plain set of what has settled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.actor.watermark import Watermark


def contiguous(settled: set[int]) -> int:
    """The highest n with all <= n in the set."""
    top = 0
    while top + 1 in settled:
        top += 1
    return top


@given(st.lists(st.integers(1, 40), max_size=60))
def test_it_is_the_highest_index_below_which_everything_settled_and_never_goes_back(indexes: list[int]) -> None:
    mark, model = Watermark(), set[int]()
    for index in indexes:
        before = mark.msg_index
        if index in model:
            with pytest.raises(ValueError, match="settled already"):
                mark.settle(index)
        else:
            mark.settle(index)
            model.add(index)
        assert mark.msg_index == contiguous(model) >= before
        assert mark.settled_ahead() == tuple(sorted(one for one in model if one > mark.msg_index))
        assert all(mark.has_settled(one) == (one in model) for one in range(1, 45))


@given(st.sets(st.integers(1, 40)))
def test_it_comes_back_from_a_row_as_it_was(settled: set[int]) -> None:
    mark = Watermark()
    for index in sorted(settled, reverse=True):
        mark.settle(index)
    again = Watermark(mark.msg_index, mark.settled_ahead())
    assert (again.msg_index, again.settled_ahead()) == (mark.msg_index, mark.settled_ahead())
    missing = mark.msg_index + 1
    again.settle(missing)
    assert again.msg_index == contiguous(settled | {missing})


def test_opening_takes_no_index() -> None:
    assert Watermark().msg_index == 0
    assert Watermark().has_settled(0)
    assert not Watermark().has_settled(1)
