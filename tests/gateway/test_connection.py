"""The counters of one connection, without I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host.gateway.connection import Connection, size_of
from host.model.tunnel import Opened


def connection() -> Connection:
    return Connection(Opened("a", "c", "gw", "r", "/", (), None, 0))


def test_messages_are_numbered_from_one_and_kept_until_acknowledged() -> None:
    conn = connection()
    assert [conn.take(text, size_of(text)).index for text in ("x", "yy", "zzz")] == [1, 2, 3]
    assert (conn.unacknowledged, conn.buffered) == (3, 6)
    conn.ack(2)
    assert (conn.unacknowledged, conn.buffered) == (1, 3)
    assert [message.data for message in conn.after(0)] == ["zzz"]


def test_an_acknowledgement_that_is_old_or_beyond_the_end_does_no_harm() -> None:
    conn = connection()
    conn.take(b"x", 1)
    conn.ack(1)
    conn.ack(0)
    conn.ack(-1)
    conn.ack(9)
    assert (conn.unacknowledged, conn.buffered, conn.next_index) == (0, 0, 2)
    assert conn.take(b"y", 1).index == 2


def test_an_acknowledged_message_means_that_the_open_is_committed() -> None:
    conn = connection()
    conn.ack(0)
    assert not conn.open_acked
    conn.take(b"x", 1)
    conn.ack(1)
    assert conn.open_acked


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 60)), max_size=80))
def test_the_counts_are_exact_whatever_the_order_of_messages_and_acknowledgements(steps: list[bytes | int]) -> None:
    conn = connection()
    sizes: list[int] = []
    freed = 0
    for step in steps:
        if isinstance(step, bytes):
            conn.take(step, len(step))
            sizes.append(len(step))
        else:
            conn.ack(step)
            freed = max(freed, min(step, len(sizes)))
        assert conn.unacknowledged == len(sizes) - freed
        assert conn.buffered == sum(sizes[freed:])
        assert [message.index for message in conn.after(0)] == list(range(freed + 1, len(sizes) + 1))


def test_frames_are_bounded_but_one_alone_may_be_larger() -> None:
    conn = connection()
    assert conn.push("x" * 20, 10)
    assert not conn.push("y", 10)
    assert conn.queued == 20


def test_text_counts_as_the_bytes_that_it_becomes() -> None:
    assert size_of("é€") == 5
    conn = connection()
    assert conn.push("é€", 10)
    assert conn.queued == 5


def test_half_a_surrogate_pair_is_replaced_because_no_frame_can_carry_it() -> None:
    conn = connection()
    assert conn.push("a\ud800b", 10)
    assert conn.outgoing == [("a?b", 3)]


def test_a_close_code_that_no_frame_may_carry_becomes_1000_and_a_long_reason_is_cut() -> None:
    conn = connection()
    conn.begin_close(1006, "é" * 100)
    assert conn.closing == (1000, "é" * 61)
    conn.begin_close(3999, "fine")
    assert conn.closing == (3999, "fine")
