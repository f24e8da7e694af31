"""Crons as a guest sets them: one per name, their times kept when they are set again, their history bounded."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from host.capabilities.alarms import list_alarms, set_alarm
from host.capabilities.crons import cron_runs, delete_cron, list_crons, set_cron
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.errors import CallerError
from host.model.limits import Limits
from host.model.records import ActorImage, ActorRecord, AlarmRow, CronRun, Repeat

LIMITS = Limits()
NOW = 1_767_268_800_000  # 2026-01-01 12:00 UTC
HOUR = 3_600_000


def every(state: ActorState, recorder: TurnRecorder, name: str = "x", **more: Any) -> AlarmRow:
    options: dict[str, Any] = {"action": "go", "interval": HOUR, "now": NOW, "limits": LIMITS, **more}
    now, limits = options.pop("now"), options.pop("limits")
    return set_cron(state, recorder, limits, now, name, **options)


def runs(number: int, name: str = "x") -> list[CronRun]:
    return [CronRun(name, seq, "go", seq, seq, seq, "ok") for seq in range(1, number + 1)]


def test_a_cron_is_an_alarm_that_repeats_and_is_not_listed_among_alarms() -> None:
    state, recorder = ActorState(), TurnRecorder()
    set_alarm(state, recorder, LIMITS, NOW, "a", after=5)
    row = every(state, recorder, args=b'[1,["$BigInt","2"]]')
    payload = b'{"action":"go","args":[1,["$BigInt","2"]]}'
    repeat = Repeat("x", "every", "go", 100, interval=HOUR, anchor=NOW)
    assert row == AlarmRow("$cron:x", NOW + HOUR, NOW + HOUR, 2, payload, repeat=repeat)
    assert recorder.effects().alarms["$cron:x"] == row
    assert [alarm.alarm_id for alarm in list_alarms(state)] == ["a"]
    assert list_crons(state) == [row]


def test_an_expression_is_by_its_zone_and_utc_without_one() -> None:
    state, recorder = ActorState(), TurnRecorder()
    options: dict[str, Any] = {"interval": None, "expression": "30 17 * * *"}
    assert every(state, recorder, **options).scheduled_at == NOW + 5 * HOUR + HOUR // 2
    assert every(state, recorder, "y", **options, time_zone="Asia/Kolkata").scheduled_at == NOW + 24 * HOUR
    assert [row.repeat.time_zone for row in list_crons(state) if row.repeat] == ["UTC", "Asia/Kolkata"]


def test_set_again_with_the_same_times_it_keeps_its_place_and_what_is_in_work() -> None:
    state = ActorState()
    first = every(state, TurnRecorder())
    late = replace(first, due_at=first.due_at + 9, attempt=2, faults=1)
    state.alarms["$cron:x"] = late
    recorder = TurnRecorder()
    assert every(state, recorder, now=NOW + 5 * HOUR) == late
    assert recorder.effects().alarms == {}
    changed = every(state, recorder, now=NOW + 5 * HOUR, action="other", history=3)
    assert (changed.due_at, changed.fire_seq, changed.attempt) == (late.due_at, late.fire_seq, 2)
    assert changed.repeat == Repeat("x", "every", "other", 3, interval=HOUR, anchor=NOW)
    assert changed.payload == b'{"action":"other","args":[]}'
    assert recorder.effects().alarms == {"$cron:x": changed}


@pytest.mark.parametrize(
    "other",
    [
        {"interval": HOUR + 1},
        {"interval": None, "expression": "0 * * * *"},
        {"interval": None, "expression": "0 * * * *", "time_zone": "Asia/Kolkata"},
    ],
)
def test_other_times_begin_anew(other: dict[str, Any]) -> None:
    state, recorder = ActorState(), TurnRecorder()
    every(state, recorder)
    if "time_zone" in other:
        every(state, recorder, interval=None, expression="0 * * * *")
    before = state.fire_seq
    row = every(state, recorder, now=NOW + 10, **other)
    assert (row.fire_seq, row.attempt) == (before + 1, 0)
    assert row.scheduled_at > NOW + 10


def test_a_smaller_history_is_cut_at_once_and_none_is_none() -> None:
    state, recorder = ActorState(), TurnRecorder()
    every(state, recorder)
    state.runs["x"] = runs(5)
    assert [run.seq for run in cron_runs(state, LIMITS, "x")] == [5, 4, 3, 2, 1]
    assert [run.seq for run in cron_runs(state, LIMITS, "x", 2)] == [5, 4]
    every(state, recorder, history=2)
    assert [run.seq for run in cron_runs(state, LIMITS, "x")] == [5, 4]
    assert recorder.effects().runs_trimmed == {"x": 4}
    every(state, recorder, history=0)
    assert cron_runs(state, LIMITS, "x") == []
    assert recorder.effects().runs_trimmed["x"] > 5


def test_delete_takes_its_history_and_nothing_else() -> None:
    record = ActorRecord("0" * 32, "t", "n", (), 1, 1, 1, 1, "m", 0)
    row = AlarmRow("$cron:x", 5, 5, 7, b"{}", repeat=Repeat("x", "every", "go", 9, interval=HOUR))
    image = ActorImage(record, None, (row,), (), (), runs=(*runs(2), *runs(1, "y")))
    state, recorder = ActorState.from_image(image), TurnRecorder()
    assert len(cron_runs(state, LIMITS, "x")) == 2
    assert delete_cron(state, recorder, LIMITS, "x")
    assert not delete_cron(state, recorder, LIMITS, "x")
    assert cron_runs(state, LIMITS, "x") == []
    assert len(cron_runs(state, LIMITS, "y")) == 1
    effects = recorder.effects()
    assert effects.alarms == {"$cron:x": None}
    assert list(effects.runs_trimmed) == ["x"]


@pytest.mark.parametrize(
    ("options", "limit", "used"),
    [
        ({"name": "é" * 61}, "cron_name", 122),
        ({"action": "a" * 121}, "cron_name", 121),
        ({"args": b'"' + b"x" * 16_384 + b'"'}, "cron_args", 16_386),
        ({"interval": 4_999}, "cron_interval", 4_999),
        ({"history": 101}, "cron_history", 101),
    ],
)
def test_a_limit_names_itself_what_was_used_and_what_is_allowed(options: dict[str, Any], limit: str, used: int) -> None:
    state, recorder = ActorState(), TurnRecorder()
    with pytest.raises(CallerError) as caught:
        every(state, recorder, **options)
    assert (caught.value.limit, f"{limit}: {used} used" in caught.value.message) == (limit, True)
    assert (state.alarms, recorder.effects().alarms) == ({}, {})


def test_there_are_so_many_crons_and_no_more_and_they_count_as_alarms() -> None:
    limits = Limits(crons=2, alarms=3)
    state, recorder = ActorState(), TurnRecorder()
    set_alarm(state, recorder, limits, NOW, "a", after=5)
    for name in "xy":
        every(state, recorder, name, limits=limits)
    with pytest.raises(CallerError, match="crons: 3 used, 2 allowed"):
        every(state, recorder, "z", limits=limits)
    # One that there is may be set again.
    every(state, recorder, "x", limits=limits, action="other")
    delete_cron(state, recorder, limits, "y")
    set_alarm(state, recorder, limits, NOW, "b", after=5)
    with pytest.raises(CallerError, match="alarms: 4 used, 3 allowed"):
        every(state, recorder, "y", limits=limits)
    with pytest.raises(CallerError, match="alarms: 4 used, 3 allowed"):
        set_alarm(state, recorder, limits, NOW, "c", after=5)


def test_settings_of_one_turn_are_counted_the_refused_ones_too() -> None:
    state, recorder = ActorState(), TurnRecorder()
    for _ in range(50):
        every(state, recorder)
        with pytest.raises(CallerError, match="never fires"):
            every(state, recorder, interval=None, expression="0 0 30 2 *")
    with pytest.raises(CallerError, match="cron_sets: 101 used, 100 allowed"):
        every(state, recorder)
    every(state, TurnRecorder())
