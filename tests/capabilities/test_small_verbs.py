"""Document, log, randomness, timers, intents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.capabilities import intents
from host.capabilities.document import get_document, put_document
from host.capabilities.log import MAX_LINE, LogBudget
from host.capabilities.random import RandomStream, actor_seed
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.capabilities.timers import MAX_DELAY, Timers
from host.model.effects import DeferredTimer, LogLine
from host.model.errors import CallerError
from host.model.limits import Limits


def test_the_last_document_of_a_turn_counts() -> None:
    state, recorder = ActorState(), TurnRecorder()
    assert get_document(state) is None
    put_document(state, recorder, Limits(), b"[1]")
    put_document(state, recorder, Limits(), b"[1,2]")
    assert get_document(state) == b"[1,2]"
    assert recorder.effects().state == b"[1,2]"
    assert recorder.effects().size == 5


def test_a_document_over_the_limit_changes_nothing_and_is_remembered() -> None:
    state, recorder, limits = ActorState(), TurnRecorder(), Limits(state=4)
    put_document(state, recorder, limits, b"1234")
    with pytest.raises(CallerError, match="state: 5 used, 4 allowed"):
        put_document(state, recorder, limits, b"12345")
    assert get_document(state) == b"1234"
    assert recorder.over_state == 5
    put_document(state, recorder, limits, b"1")
    assert recorder.over_state is None


def test_a_long_line_is_cut_where_a_character_ends() -> None:
    log, recorder = LogBudget(), TurnRecorder()
    log.begin_turn(0)
    log.log(recorder, Limits(), "warn", "é" * MAX_LINE)
    log.log(recorder, Limits(), "nonsense", "a\ud800")
    first, second = recorder.logs
    assert first.message.endswith("é... (cut)")
    assert MAX_LINE - 2 <= len(first.message.encode()) <= MAX_LINE
    assert second == LogLine("info", "a?")


def test_lines_over_the_budget_of_a_turn_are_dropped_and_counted() -> None:
    log, recorder, limits = LogBudget(), TurnRecorder(), Limits(log_turn=10)
    log.begin_turn(0)
    for line in ("1234", "1234", "", "5"):
        log.log(recorder, limits, "info", line)
    assert [line.message for line in recorder.logs] == ["1234", "1234"]
    assert recorder.effects().logs_dropped == 2
    log.begin_turn(0)
    log.log(recorder, limits, "info", "again")
    assert len(recorder.logs) == 3


def test_lines_over_the_budget_of_a_minute_are_dropped_until_it_is_over() -> None:
    log, recorder, limits = LogBudget(), TurnRecorder(), Limits(log_turn=10, log_minute=15)
    for now in (0, 59_999, 60_000):
        log.begin_turn(now)
        log.log(recorder, limits, "info", "123456789")
    assert len(recorder.logs) == 2
    assert recorder.logs_dropped == 1


@given(st.lists(st.integers(0, 3000), max_size=12))
def test_a_stream_is_the_same_however_it_is_read(sizes: list[int]) -> None:
    split, whole = RandomStream(b"seed"), RandomStream(b"seed")
    parts = [split.read(size) for size in sizes]
    assert [len(part) for part in parts] == sizes
    assert b"".join(parts) == whole.read(sum(sizes))


def test_no_two_starts_share_a_stream() -> None:
    seeds = [actor_seed(key, actor, epoch) for key in (b"k", b"l") for actor in ("a", "b") for epoch in (1, 2)]
    assert len({RandomStream(seed).read(32) for seed in seeds}) == 8
    assert RandomStream(actor_seed(b"k", "a", 1)).read(16) == RandomStream(actor_seed(b"k", "a", 1)).read(16)
    assert actor_seed(b"k", "a", 1)[-8:] == (1).to_bytes(8, "big")


def test_timers_get_ids_that_rise_and_are_bounded() -> None:
    timers, recorder, limits = Timers(), TurnRecorder(), Limits(timers=2)
    assert timers.start(recorder, limits, 0) == 1
    assert timers.start(recorder, limits, MAX_DELAY) == 2
    with pytest.raises(CallerError, match="timers: 3 used, 2 allowed"):
        timers.start(recorder, limits, 5)
    timers.done(1)
    timers.done(1)
    assert timers.start(recorder, limits, 5) == 3
    assert len(timers) == 2
    assert recorder.effects().timers == (DeferredTimer(1, 0), DeferredTimer(2, MAX_DELAY), DeferredTimer(3, 5))


def test_a_timer_that_is_ended_makes_room_at_once() -> None:
    timers, recorder, limits = Timers(), TurnRecorder(), Limits(timers=2)
    timers.share(8, 10)
    first, second = timers.start(recorder, limits, 1), timers.start(recorder, limits, 2)
    assert timers.cancel(recorder, first)
    assert not timers.cancel(recorder, first)
    assert not timers.cancel(recorder, 99)
    assert timers.start(recorder, limits, 3) == 3
    assert recorder.effects().timers == (DeferredTimer(second, 2), DeferredTimer(3, 3))
    assert recorder.effects().ended_timers == ()
    later = TurnRecorder()
    assert timers.cancel(later, second)
    assert later.effects().ended_timers == (second,)


@pytest.mark.parametrize("after", [-1, MAX_DELAY + 1, 10**30])
def test_a_delay_has_bounds(after: int) -> None:
    with pytest.raises(CallerError, match="delay"):
        Timers().start(TurnRecorder(), Limits(), after)


def test_destroy_is_an_intent() -> None:
    recorder = TurnRecorder()
    assert not recorder.effects().destroy
    intents.destroy(recorder)
    assert recorder.effects().destroy
    assert not recorder.effects().sleep


def test_sleep_is_an_intent() -> None:
    recorder = TurnRecorder()
    assert not recorder.effects().sleep
    intents.sleep(recorder)
    assert recorder.effects().sleep


def test_the_log_is_told_of_dropped_lines_once_a_minute_and_of_every_one() -> None:
    log, limits = LogBudget(), Limits(log_turn=10)
    told, refused = [], 0
    for turn in range(300):
        recorder = TurnRecorder()
        log.begin_turn(turn * 1_000)
        for _ in range(5):
            log.log(recorder, limits, "info", "12345678")
        told.append(recorder.logs_told)
        refused += recorder.refused["log_turn"]
    assert told[0] == 4
    assert [turn for turn, lines in enumerate(told) if lines] == [0, 60, 120, 180, 240]
    assert sum(told) == 4 * 241  # those after the last note are told with the next
    assert refused == 4 * 300


def test_a_line_over_the_budget_of_a_minute_names_that_limit() -> None:
    log, recorder = LogBudget(), TurnRecorder()
    log.begin_turn(0)
    for _ in range(3):
        log.log(recorder, Limits(log_minute=12), "info", "12345")
    assert recorder.refused == {"log_minute": 1}
