"""c.cron: what the SDK asks of the host, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest

SOURCE = """
import { actor } from "rivetkit";
export default actor({
  state: { ran: [] },
  actions: {
    set: (c, options) => c.cron.set(options),
    every: (c, options) => c.cron.every(options),
    get: async (c, name) => (await c.cron.get(name)) ?? null,
    list: (c) => c.cron.list(),
    delete: (c, name) => c.cron.delete(name),
    history: (c, name, options) => c.cron.history(name, options),
    tick(c, ...args) { c.state.ran.push(args); return "dropped"; },
    no() { throw new Error("no"); },
  },
});
"""

JOBS = [
    {
        "cron": "daily", "at": 50, "payload": {"action": "tick", "args": [["$BigInt", "2"]]}, "history": 7,
        "expression": "0 3 * * *", "time_zone": "Asia/Kolkata", "last_at": 20,
    },
    {
        "cron": "tick", "at": 60, "payload": {"action": "tick", "args": []}, "history": 100, "interval": 9000,
        "anchor": 1,
    },
]  # fmt: skip
SHOWN = [
    {
        "name": "daily", "action": "tick", "args": [["$BigInt", "2"]], "nextRunAt": 50, "lastRunAt": 20,
        "maxHistory": 7, "kind": "cron", "expression": "0 3 * * *", "timezone": "Asia/Kolkata",
    },
    {
        "name": "tick", "action": "tick", "args": [], "nextRunAt": 60, "maxHistory": 100, "kind": "every",
        "interval": 9000,
    },
]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "options", "asked"),
    [
        (
            "set",
            {"name": "x", "expression": "0 3 * * *", "action": "tick"},
            {"cron": "x", "action": "tick", "expression": "0 3 * * *"},
        ),
        (
            "set",
            {
                "name": 'q"', "expression": "* * * * *", "timezone": "UTC", "action": "tick",
                "args": [1, ["$BigInt", "2"]],
            },
            {
                "cron": 'q"', "action": "tick", "expression": "* * * * *", "time_zone": "UTC",
                "args": [1, ["$BigInt", "2"]],
            },
        ),
        (
            "every",
            {"name": "x", "interval": 9000.7, "action": "tick", "maxHistory": 0, "expression": "ignored"},
            {"cron": "x", "action": "tick", "interval": 9000, "history": 0},
        ),
    ],
)  # fmt: skip
def test_what_is_set_is_asked_of_the_host(new_guest: NewGuest, verb: str, options: Any, asked: Any) -> None:
    guest = new_guest(SOURCE)
    answer = guest.action(verb, options)
    assert (answer.result, answer.error) == (None, None)
    assert guest.host.crons == [asked]


@pytest.mark.parametrize(
    ("verb", "options", "says"),
    [
        ("set", None, "give one object"),
        ("set", "x", "give one object"),
        ("set", {"expression": "* * * * *", "action": "tick"}, "name must be a string"),
        ("set", {"name": "", "expression": "* * * * *", "action": "tick"}, "name must be a string"),
        ("set", {"name": "x", "action": "tick"}, "expression must be a string, not undefined"),
        ("set", {"name": "x", "expression": "* * * * *", "timezone": 5, "action": "tick"}, "timezone must be a string"),
        ("set", {"name": "x", "expression": "* * * * *"}, "action must be a string"),
        ("set", {"name": "x", "expression": "* * * * *", "action": "nope"}, "no action nope"),
        ("every", {"name": "x", "interval": "5", "action": "tick"}, "interval must be a number"),
        ("every", {"name": "x", "interval": 9000, "action": "tick", "args": "x"}, "args must be an array"),
        ("every", {"name": "x", "interval": 9000, "action": "tick", "maxHistory": "1"}, "maxHistory must be a number"),
        ("delete", None, "name must be a string"),
        ("history", 5, "name must be a string"),
        ("get", {}, "name must be a string"),
    ],
)
def test_what_is_wrong_is_said_without_asking_the_host(new_guest: NewGuest, verb: str, options: Any, says: str) -> None:
    guest = new_guest(SOURCE)
    assert says in guest.action(verb, options).error["message"]
    assert guest.host.crons == []


def test_jobs_are_shown_in_the_words_of_rivetkit(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.host.cron_jobs = JOBS
    assert guest.action("list").result == SHOWN
    assert guest.action("get", "tick").result == SHOWN[1]
    assert guest.action("get", "none").result is None
    assert guest.action("delete", "tick").result is True
    assert guest.action("delete", "tick").result is False


def test_a_history_tells_of_runs_failures_and_what_was_skipped(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.host.cron_runs = [
        {
            "action": "tick", "scheduled_at": 9, "started_at": 12, "finished_at": 12, "result": "skipped", "attempt": 0,
            "number": 3, "until": 11,
        },
        {
            "action": "tick", "scheduled_at": 5, "started_at": 6, "finished_at": 8, "result": "error", "attempt": 2,
            "error": {"group": "user", "code": "no", "message": "not today"},
        },
        {"action": "tick", "scheduled_at": 1, "started_at": 2, "finished_at": 2, "result": "ok"},
    ]  # fmt: skip
    assert guest.action("history", "x").result == [
        {
            "action": "tick", "scheduledAt": 9, "firedAt": 12, "finishedAt": 12, "result": "skipped", "count": 3,
            "until": 11,
        },
        {
            "action": "tick", "scheduledAt": 5, "firedAt": 6, "finishedAt": 8, "result": "error", "attempt": 2,
            "error": {"group": "user", "code": "no", "message": "not today"},
        },
        {"action": "tick", "scheduledAt": 1, "firedAt": 2, "finishedAt": 2, "result": "ok", "attempt": 1},
    ]  # fmt: skip
    assert len(guest.action("history", "x", {"limit": 2}).result) == 2


def test_a_run_calls_the_action_with_its_arguments_and_why(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    payload = {"action": "tick", "args": [1, ["$BigInt", "2"]]}
    settled = guest.one(
        type="alarm", alarm="$cron:x", scheduled_at=5, payload=payload, attempt=2, cron="x", kind="every"
    )
    assert (settled.result, settled.error) == (None, None)
    why = {
        "kind": "every", "id": "$cron:x", "scheduledAt": 5, "firedAt": guest.host.now, "attempt": 2, "name": "x",
    }  # fmt: skip
    assert guest.host.state["ran"] == [[1, ["$BigInt", "2"], why]]


def test_arguments_that_are_no_list_are_none(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.one(
        type="alarm", alarm="$cron:x", scheduled_at=5, payload={"action": "tick", "args": 7}, cron="x", kind="cron"
    )
    assert [len(args) for args in guest.host.state["ran"]] == [1]


def test_a_run_fails_as_its_action_does(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    event = {"type": "alarm", "alarm": "$cron:x", "scheduled_at": 5, "cron": "x", "kind": "cron"}
    assert guest.one(**event, payload={"action": "no", "args": []}).error["message"] == "Error: no"
    assert guest.one(**event, payload={"action": "gone", "args": []}).error["code"] == "action_not_found"
