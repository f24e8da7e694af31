"""Alarms: one per id, times that a number can hold, a new `fire_seq` for every setting."""

from __future__ import annotations

from typing import Any

import pytest

from host.capabilities.alarms import cancel_alarm, list_alarms, set_alarm
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.errors import CallerError
from host.model.limits import Limits
from host.model.records import ActorImage, ActorRecord, AlarmRow

LIMITS = Limits()
NOW = 1_000_000


def test_an_alarm_is_set_listed_and_cancelled() -> None:
    state, recorder = ActorState(), TurnRecorder()
    late = set_alarm(state, recorder, LIMITS, NOW, "late", after=500, payload=b"[1]")
    past = set_alarm(state, recorder, LIMITS, NOW, "past", at=1)
    assert late == AlarmRow("late", NOW + 500, NOW + 500, 1, b"[1]")
    assert list_alarms(state) == [past, late]
    assert cancel_alarm(state, recorder, LIMITS, "past")
    assert not cancel_alarm(state, recorder, LIMITS, "past")
    assert not cancel_alarm(state, recorder, LIMITS, "never")
    assert recorder.effects().alarms == {"late": late, "past": None}


def test_setting_an_id_again_replaces_it_and_outlives_the_older_setting() -> None:
    state, recorder = ActorState(), TurnRecorder()
    first = set_alarm(state, recorder, LIMITS, NOW, "a", after=0)
    second = set_alarm(state, recorder, LIMITS, NOW, "a", after=9)
    assert list_alarms(state) == [second]
    assert not state.alarm_settled("a", first.fire_seq)
    assert list_alarms(state) == [second]
    assert state.alarm_settled("a", second.fire_seq)
    assert list_alarms(state) == []


def test_fire_seq_goes_on_above_the_stored_ones() -> None:
    record = ActorRecord("0" * 32, "t", "n", (), 1, 1, 1, 1, "m", 0)
    rows = (AlarmRow("a", 5, 5, 7, b"null"), AlarmRow("b", 5, 5, 3, b"null"))
    state = ActorState.from_image(ActorImage(record, None, rows, (), ()))
    assert list_alarms(state) == list(rows)
    assert set_alarm(state, TurnRecorder(), LIMITS, NOW, "c", after=0).fire_seq == 8


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"at": 1, "after": 1},
        {"at": 0},
        {"at": -1},
        {"at": 2**53},
        {"after": -1},
        {"after": 2**53},
        {"after": 2**53 - 1},
        {"at": 10**400},
    ],
)
def test_a_time_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    state, recorder = ActorState(), TurnRecorder()
    with pytest.raises(CallerError) as error:
        set_alarm(state, recorder, LIMITS, NOW, "a", **fields)
    assert error.value.name == "request/invalid"
    assert not state.alarms
    assert not recorder.alarms


def test_ids_payloads_and_their_number_are_limited() -> None:
    state, recorder, limits = ActorState(), TurnRecorder(), Limits(alarms=2)
    set_alarm(state, recorder, limits, NOW, "é" * 64, after=1, payload=bytes(64 * 1024))
    set_alarm(state, recorder, limits, NOW, "b", at=2**53 - 1)
    set_alarm(state, recorder, limits, NOW, "b", after=2)
    for fields, limit in [
        ({"alarm_id": "c", "after": 1}, "alarms"),
        ({"alarm_id": "é" * 64 + "x", "after": 1}, "alarm_id"),
        ({"alarm_id": "b", "after": 1, "payload": bytes(64 * 1024 + 1)}, "alarm_payload"),
    ]:
        with pytest.raises(CallerError, match=f"^limit/exceeded: {limit}:"):
            set_alarm(state, recorder, limits, NOW, **fields)  # type: ignore[arg-type]
    for bad in ("", "x" * 129):
        with pytest.raises(CallerError):
            cancel_alarm(state, recorder, limits, bad)
