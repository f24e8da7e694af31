"""Crons of a static actor, turn by turn."""

from __future__ import annotations

import pytest
from msgspec import Raw

from host import Actor, CronJob, CronRun, UserError, action
from host.bridge.envelopes import AlarmEvent
from host.model.errors import CallerError, ErrorInfo
from host.model.records import CronRun as StoredRun
from tests.static.support import Turns

NOW = 1_700_000_000_000


class Clock(Actor):
    state = {"seen": []}

    def on_wake(self) -> None:
        self.cron.every("tick", 60_000, "seen", 1, {"two": 2})

    @action
    def seen(self, *args: object) -> None:
        firing = self.firing
        why = None if firing is None else [firing.kind, firing.name, firing.scheduled_at, firing.attempt]
        self.state["seen"].append([list(args), why])

    @action
    async def later(self) -> None:
        before = self.firing
        await self.delay(10)
        self.state["seen"].append([before == self.firing, self.firing is not None])

    @action
    def daily(self, expression: str, zone: str) -> int:
        return self.cron.set("daily", expression, "seen", time_zone=zone, history=2)

    @action
    def jobs(self) -> list[str]:
        return [f"{job.name} {job.action} {job.args}" for job in self.cron.list()]

    @action
    def delete(self, name: str) -> bool:
        return self.cron.delete(name)

    def job(self, name: str) -> CronJob | None:
        return self.cron.get(name)


def woken() -> Turns:
    turns = Turns(Clock)
    turns.start()
    return turns


def test_one_that_is_set_at_a_wake_is_a_row_that_repeats() -> None:
    turns = woken()
    row = turns.effects.alarms["$cron:tick"]
    assert row is not None
    assert (row.due_at, row.payload) == (NOW + 60_000, b'{"action":"seen","args":[1,{"two":2}]}')
    assert turns.action(2, "jobs") == ["tick seen (1, {'two': 2})"]
    turns.start("wake")
    assert turns.effects.alarms == {}


def test_its_action_is_told_why_it_runs_and_a_call_is_not() -> None:
    turns = woken()
    payload = Raw(b'{"action":"seen","args":[1]}')
    turns.deliver(AlarmEvent(2, "$cron:tick", NOW, payload, attempt=3, cron="tick", kind="every"))
    turns.deliver(AlarmEvent(3, "$schedule:1", NOW, payload))
    turns.action(4, "seen", 5)
    assert turns.document() == {"seen": [[[1], ["every", "tick", NOW, 3]], [[1], ["at", None, NOW, 1]], [[5], None]]}


def test_it_is_told_why_after_a_wait_too() -> None:
    turns = woken()
    payload = Raw(b'{"action":"later","args":[]}')
    turns.deliver(AlarmEvent(2, "$cron:tick", NOW, payload, cron="tick", kind="every"))
    timers = turns.effects
    turns.action(3, "seen")
    turns.effects = timers
    turns.complete()
    assert turns.document() == {"seen": [[[], None], [True, True]]}


def test_jobs_and_runs_are_what_the_host_has() -> None:
    turns = woken()
    at = turns.action(2, "daily", "0 3 * * *", "Europe/Berlin")
    actor = turns.guest._awake
    assert isinstance(actor, Clock)
    error = ErrorInfo("user", "no", "not today")
    turns.calls.state.runs["daily"] = [
        StoredRun("daily", 1, "seen", 5, 6, 7, "error", 2, error),
        StoredRun("daily", 2, "seen", 8, 9, 9, "skipped", 0, number=3, until=10),
    ]
    turns.calls.begin_turn(NOW)
    assert actor.job("daily") == CronJob("daily", "seen", (), at, 2, "0 3 * * *", "Europe/Berlin")
    assert actor.job("none") is None
    skipped = CronRun("seen", 8, 9, 9, "skipped", 0, number=3, until=10)
    assert actor.cron.history("daily") == [skipped, CronRun("seen", 5, 6, 7, "error", 2, "user/no", "not today")]
    assert actor.cron.history("daily", 1) == [skipped]
    assert actor.cron.delete("daily") is True
    assert actor.cron.delete("daily") is False
    assert actor.cron.history("daily") == []


def test_what_is_wrong_is_raised() -> None:
    turns = woken()
    actor = turns.guest._awake
    turns.calls.begin_turn(NOW)
    with pytest.raises(CallerError, match="minute '61' is wrong; allowed"):
        actor.cron.set("x", "61 * * * *", "seen")
    with pytest.raises(CallerError, match="there is no time zone"):
        actor.cron.set("x", "1 * * * *", "seen", time_zone="Mars")
    with pytest.raises(ValueError, match="no action 'nope'"):
        actor.cron.every("x", 60_000, "nope")
    with pytest.raises(CallerError, match="cron_interval"):
        actor.cron.every("x", 1, "seen")


class Later(Actor):
    @action
    def plan(self) -> str:
        return self.schedule.after(9_000, "plan", 1, {"two": 2})

    @action
    def planned(self, id: str) -> list[object]:
        found = self.schedule.get(id)
        return [[one.id, one.action, list(one.args), one.at] for one in self.schedule.list()] + [found is not None]


def test_what_is_scheduled_is_listed_by_time_and_found_by_id() -> None:
    turns = Turns(Later)
    turns.start()
    first = turns.action(2, "plan")
    turns.now += 5
    second = turns.action(3, "plan")
    rows = [[id, "plan", [1, {"two": 2}], NOW + 9_000 + late] for id, late in ((first, 0), (second, 5))]
    assert turns.action(4, "planned", first) == [*rows, True]
    assert turns.action(5, "planned", "$schedule:none") == [*rows, False]


class Failing(Actor):
    @action
    def no(self) -> None:
        raise UserError("no", code="no")


def test_an_action_that_is_gone_and_one_that_raises_fail_the_run() -> None:
    turns = Turns(Failing)
    turns.start()
    for event, name in ((2, "gone"), (3, "no")):
        payload = Raw(b'{"action":"%s","args":[]}' % name.encode())
        turns.deliver(AlarmEvent(event, "$cron:x", NOW, payload, cron="x", kind="cron"))
    assert (turns.errors[2].code, turns.errors[3].code) == ("action_not_found", "no")
