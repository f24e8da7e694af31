"""c.alarms and c.schedule."""

from __future__ import annotations

import pytest

from tests.isolate_sdk.conftest import NewGuest

SOURCE = """
import { actor } from "rivetkit";
export default actor({
  state: { rang: [] },
  onAlarm(c, alarm) { c.state.rang.push(alarm); if (alarm.payload === "throw") throw new Error("alarm"); },
  actions: {
    set: (c, id, options) => c.alarms.set(id, options),
    setDate: (c) => c.alarms.set("d", { at: new Date(5000) }),
    cancel: (c, id) => c.alarms.cancel(id),
    list: (c) => c.alarms.list(),
    after: (c, ms, ...rest) => c.schedule.after(ms, ...rest),
    at: (c, t, ...rest) => c.schedule.at(t, ...rest),
    unschedule: (c, id) => c.schedule.cancel(id),
    scheduled: (c) => c.schedule.list(),
    scheduledOne: async (c, id) => (await c.schedule.get(id)) ?? null,
    ring(c, ...args) { c.state.rang.push(["ring", ...args]); return "ignored"; },
  },
});
"""


def test_alarms_have_names_times_and_payloads(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.host.now = 1000
    assert guest.action("set", "a", {"after": 50.9, "payload": {"x": ["$BigInt", "1"]}}).result == 1050
    assert guest.action("set", "b", {"at": 40}).result == 40
    assert guest.action("setDate").result == 5000
    assert guest.host.alarms == {"a": (1050, {"x": ["$BigInt", "1"]}), "b": (40, None), "d": (5000, None)}
    assert guest.action("cancel", "b").result is True
    assert guest.action("cancel", "b").result is False
    assert guest.action("list").result == [
        {"id": "a", "at": 1050, "payload": {"x": ["$BigInt", "1"]}},
        {"id": "d", "at": 5000, "payload": None},
    ]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("", {"at": 1}), "not empty"),
        (("$schedule:x", {"at": 1}), "start with $"),
        (("a", {}), "either at"),
        (("a", {"at": 1, "after": 1}), "either at"),
        (("a", {"after": "soon"}), "after must be a number"),
    ],
)
def test_a_wrong_alarm_says_what_is_wrong(new_guest: NewGuest, args: tuple[object, ...], part: str) -> None:
    guest = new_guest(SOURCE)
    assert part in guest.action("set", *args).error["message"]
    assert guest.host.alarms == {}


def test_a_due_alarm_calls_on_alarm(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    settled = guest.one(type="alarm", alarm="a", scheduled_at=5, payload={"n": 1}, attempt=2)
    assert (settled.result, settled.error) == (None, None)
    assert guest.host.state["rang"] == [{"id": "a", "payload": {"n": 1}, "scheduledAt": 5, "attempt": 2}]
    assert guest.one(type="alarm", alarm="b", scheduled_at=5, payload="throw").error["message"] == "Error: alarm"


def test_a_schedule_is_an_alarm_that_runs_an_action(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    name = guest.action("after", 100, "ring", 1, ["$BigInt", "2"]).result
    ((alarm, (at, payload)),) = guest.host.alarms.items()
    assert (alarm, at) == (name, 100)
    assert payload == {"action": "ring", "args": [1, ["$BigInt", "2"]]}
    assert guest.action("list").result == []
    assert guest.action("scheduled").result == [
        {"id": name, "runAt": 100, "action": "ring", "args": [1, ["$BigInt", "2"]]}
    ]
    assert guest.action("scheduledOne", name).result == guest.action("scheduled").result[0]
    assert guest.action("scheduledOne", "mine").result is None
    settled = guest.one(type="alarm", alarm=alarm, scheduled_at=at, payload=payload)
    assert (settled.result, settled.error) == (None, None)
    why = {"kind": "at", "id": alarm, "scheduledAt": 100, "firedAt": guest.host.now, "attempt": 1}
    assert guest.host.state["rang"] == [["ring", 1, ["$BigInt", "2"], why]]


def test_a_users_payload_is_never_taken_for_a_schedule(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.one(type="alarm", alarm="mine", scheduled_at=1, payload={"action": "ring", "args": []})
    assert guest.host.state["rang"][0]["id"] == "mine"


def test_schedules_have_different_names_and_can_be_cancelled(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    first, second = guest.action("at", 10, "ring").result, guest.action("at", 10, "ring").result
    assert first != second
    assert guest.action("unschedule", first).result is True
    assert guest.action("unschedule", first).result is False
    assert guest.action("unschedule", "mine").result is False
    assert list(guest.host.alarms) == [second]


def test_only_an_action_that_exists_can_be_scheduled(new_guest: NewGuest) -> None:
    assert "no action nope" in new_guest(SOURCE).action("after", 1, "nope").error["message"]


def test_a_scheduled_action_that_is_gone_after_an_upgrade_fails(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    settled = guest.one(type="alarm", alarm="$schedule:1", scheduled_at=1, payload={"action": "old", "args": []})
    assert settled.error["code"] == "action_not_found"
