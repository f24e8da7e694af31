"""Schemas of actions, parameters and events; who may subscribe; and what an action's answer goes through."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest

CHECKED = """
import { actor, event, queue, UserError } from "rivetkit";
// As zod has it: parse throws an error with issues.
const zod = { parse(value) {
  if (!Array.isArray(value) || typeof value[0] !== "number") {
    throw Object.assign(new Error("[...]"), { issues: [
      { code: "invalid_type", path: [0, { key: "x" }, Symbol("s")], message: "a number", input: () => 1 },
    ] });
  }
  return [value[0] + 1, "parsed"];
} };
const standard = { "~standard": { version: 1, vendor: "t", validate: (value) =>
  value && value.ok ? { value: { ...value, seen: true } } : { issues: [{ message: "not ok", path: ["ok"] }] } } };
const throws = { parse() { throw new Error("plain"); } };
const late = { "~standard": { validate: async (value) => ({ value }) } };
export default actor({
  connParamsSchema: { parse(params) { if (params?.age < 18) throw new Error("too young"); return params ?? {}; } },
  actions: {
    add: (c, ...args) => args, one: (c, value) => value, free: (c, x) => x, throws() {}, late() {},
    group: { inner: (c, ...args) => args, deep: { er: () => "deeper" } }, dotted: { name: (c, ...args) => args },
    news: (c, ...args) => c.broadcast("news", ...args), other: (c, ...args) => c.broadcast("other", ...args),
    list: (c, ...args) => c.broadcast("list", ...args), plain: (c, ...args) => c.broadcast("plain", ...args),
    params: (c) => c.conn.params,
  },
  actionInputSchemas: {
    add: zod, throws, late, group: { inner: zod }, "dotted.name": zod, one: { parse: ([v]) => ({ v }) },
  },
  events: {
    news: event({ schema: standard }), other: standard, plain: event(),
    list: event({ schema: { parse: (value) => [...value, "checked"] } }),
    secret: event({ canSubscribe: (c) => c.conn.params.admin === true }),
    later: event({ canSubscribe: async (c) => { await c.kv.get("x"); return true; } }),
    odd: event({ canSubscribe: () => 1 }),
    broken: event({ canSubscribe() { throw new UserError("no", { code: "closed" }); } }),
  },
});
"""

ZOD_ISSUES = [{"message": "a number", "path": [0, "x", "a symbol"], "code": "invalid_type"}]


@pytest.mark.parametrize("name", ["add", "group.inner", "dotted.name"])
def test_arguments_are_what_the_schema_makes_of_them(new_guest: NewGuest, name: str) -> None:
    guest = new_guest(CHECKED)
    assert guest.action(name, 4).result == [5, "parsed"]
    assert guest.action(name, "x").error == {
        "group": "actor",
        "code": "validation_error",
        "message": f"Invalid action `{name}` arguments",
        "metadata": {"issues": ZOD_ISSUES},
    }


def test_a_result_that_is_no_list_is_the_one_argument(new_guest: NewGuest) -> None:
    assert new_guest(CHECKED).action("one", 7).result == {"v": 7}


def test_groups_of_actions_have_dots_in_their_names(new_guest: NewGuest) -> None:
    guest = new_guest(CHECKED)
    assert guest.action("group.deep.er").result == "deeper"
    assert guest.action("group").error["code"] == "action_not_found"
    assert guest.action("free", "x").result == "x"


def test_a_schema_that_throws_something_else_or_answers_later(new_guest: NewGuest) -> None:
    guest = new_guest(CHECKED)
    error = guest.action("throws").error
    assert (error["code"], error["metadata"]) == (
        "validation_error",
        {"issues": [{"message": "Error: plain", "path": []}]},
    )
    assert "must answer at once" in guest.action("late").error["message"]


def test_events_are_checked_before_they_are_sent(new_guest: NewGuest) -> None:
    guest = new_guest(CHECKED)
    for name in ("news", "other"):
        assert guest.action(name, {"ok": 1}).error is None
        assert guest.action(name, {"ok": 0}).error["metadata"] == {"issues": [{"message": "not ok", "path": ["ok"]}]}
    guest.action("list", 1, 2)
    guest.action("plain", 1, 2)
    seen = {"ok": 1, "seen": True}
    assert guest.host.events == [
        ("*", "news", [seen]), ("*", "other", [seen]), ("*", "list", [1, 2, "checked"]), ("*", "plain", [1, 2]),
    ]  # fmt: skip


def test_parameters_are_checked_before_anything_runs(new_guest: NewGuest) -> None:
    guest = new_guest(CHECKED)
    assert guest.connect(params={"age": 7}).error["message"] == "Invalid connection params"
    assert guest.one(type="action", name="params", args=[], params={"age": 20}).result == {"age": 20}
    assert guest.one(type="action", name="params", args=[], params={"age": 2}).error["code"] == "validation_error"


def test_the_start_names_the_events_that_ask_who_may_subscribe(new_guest: NewGuest) -> None:
    reply = new_guest(CHECKED, start=False).start().result
    assert reply["guarded_events"] == ["secret", "later", "odd", "broken"]
    assert reply["connect"] is True


@pytest.mark.parametrize(
    ("event", "params", "error"),
    [
        ("secret", {"admin": True}, None),
        ("secret", {}, ("auth", "forbidden")),
        ("later", {}, None),
        ("odd", {}, ("internal", "internal_error")),
        ("broken", {}, ("user", "closed")),
        ("plain", {}, None),
        ("never declared", {}, None),
    ],
)
def test_who_may_subscribe(new_guest: NewGuest, event: str, params: Any, error: tuple[str, str] | None) -> None:
    guest = new_guest(CHECKED)
    guest.connect("c1", params=params)
    found = guest.one(type="subscribe", conn="c1", event=event).error
    assert (None if found is None else (found["group"], found["code"])) == error


RESPONSES = """
import { actor, UserError } from "rivetkit";
export default actor({
  onBeforeActionResponse: async (c, name, args, output) => {
    if (name === "hidden") throw new UserError("not for you");
    return { name, args, output, conn: c.conn.id === "c1" };
  },
  actions: {
    sync: (c, x) => x, async later(c, x) { return x * 2; }, hidden: () => "secret",
    fails() { throw new UserError("f"); },
  },
});
"""


def test_an_answer_goes_through_on_before_action_response(new_guest: NewGuest) -> None:
    guest = new_guest(RESPONSES)
    guest.connect("c1")
    assert guest.via("c1", "sync", 1).result == {"name": "sync", "args": [1], "output": 1, "conn": True}
    assert guest.action("later", 2).result == {"name": "later", "args": [2], "output": 4, "conn": False}
    assert guest.action("hidden").error["message"] == "not for you"
    assert guest.action("fails").error["message"] == "f"
