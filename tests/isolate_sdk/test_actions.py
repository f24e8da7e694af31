"""Actions: results, errors and values on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest

SOURCE = """
import { actor, UserError } from "isolate";
const deep = (n) => { let v = 0; for (let i = 0; i < n; i++) v = [v]; return v; };
export default actor({ actions: {
  echo: (c, ...args) => args,
  type: (c, v) => [typeof v, v?.constructor?.name ?? null, String(v)],
  nothing() {},
  user() { throw new UserError("sorry", { code: "too_many", metadata: { left: 3n } }); },
  plainUser() { throw new UserError("sorry"); },
  badUser() { throw new UserError("sorry", { metadata: () => 1 }); },
  crash() { undefined.x; },
  async reject() { await null; throw new RangeError("later"); },
  odd(c, what) { throw { "1": 1, "2": null, "3": undefined, "4": Symbol("s"),
    "5": { get message() { throw 1 } } }[what]; },
  thenable: () => ({ then(ok) { ok("then") } }),
  badThen: () => ({ get then() { throw new Error("no then") } }),
  deep: (c, n) => deep(n),
  promise: () => ({ a: Promise.resolve(1) }),
  fn: () => [() => 1],
  map: () => new Map(),
  date: () => ({ at: new Date(0) }),
  surrogate: () => ["\\ud800x", { "\\udfff": "\\ud83d\\ude00" }, new Set(["\\udc00"])],
  numbers: () => [NaN, Infinity, -0, 1e21, 0.1, 2 ** 53],
  tags: () => [1n, new Uint8Array([1, 2, 3]), new ArrayBuffer(2), undefined, new Set([1, "a"]), ["$Date", 5],
    { u: undefined }],
  json: () => ({ toJSON() { return { shown: true } } }),
  shared: () => { const a = { x: 1 }; return [a, a]; },
  cyclic: () => { const a = {}; a.b = { a }; return a; },
  detached: async (c) => { Promise.reject(new Error("nobody listens")); return 1; },
  log(c) { c.log.debug("d", { a: [1n] }, null); console.log("l", 1n, undefined); console.warn("w");
    console.error(new TypeError("boom")); },
  proto: (c, o) => [Object.keys(o), Object.getPrototypeOf(o) === Object.prototype],
} });
"""


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, "", "ü €😀\n\u0000\"\\", [], {}, [1, [2, {"a": [None]}]], {"": {"$bin": 1}}, ["$$Set",
      1], ["a", "$b"]],
)  # fmt: skip
def test_plain_values_come_back_as_they_went(new_guest: NewGuest, value: Any) -> None:
    assert new_guest(SOURCE).action("echo", value, 1).result == [value, 1]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (["$BigInt", "123456789012345678901"], ["bigint", "BigInt", "123456789012345678901"]),
        (["$Uint8Array", "AQID"], ["object", "Uint8Array", "1,2,3"]),
        (["$ArrayBuffer", "AQID"], ["object", "ArrayBuffer", "[object ArrayBuffer]"]),
        (["$Undefined", 0], ["undefined", None, "undefined"]),
        (["$Set", [1, ["$BigInt", "2"]]], ["object", "Set", "[object Set]"]),
        (["$$x", 1], ["object", "Array", "$x,1"]),
    ],
)
def test_tagged_values_become_what_they_stand_for(new_guest: NewGuest, value: Any, seen: Any) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("type", value).result == seen
    assert guest.action("echo", {"deep": [value]}, 0).result == [{"deep": [value]}, 0]


@pytest.mark.parametrize("value", [["$Uint8Array", "A"], ["$BigInt", "x"], ["$Set", [["$BigInt", "x"]]], ["$Set", 5]])
def test_a_malformed_tag_fails_its_event_only(new_guest: NewGuest, value: Any) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("echo", value).error["code"] == "internal_error"
    assert guest.action("echo", 1, 2).result == [1, 2]


def test_results_are_tagged(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("tags").result == [
        ["$BigInt", "1"], ["$Uint8Array", "AQID"], ["$ArrayBuffer", "AAA="], ["$Undefined", 0], ["$Set", [1, "a"]],
        ["$$Date", 5], {"u": ["$Undefined", 0]},
    ]  # fmt: skip


def test_numbers_are_json_numbers(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("numbers").result == [None, None, 0, 1e21, 0.1, 2**53]


def test_an_action_without_a_result_gives_null(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("nothing").result is None


def test_strings_leave_well_formed(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("surrogate").result == ["\ufffdx", {"\ufffd": "😀"}, ["$Set", ["\ufffd"]]]


@pytest.mark.parametrize(
    ("action", "part"),
    [("promise", "await missing"), ("fn", "function"), ("map", "Map"), ("cyclic", "must not contain itself")],
)
def test_what_is_no_value_is_a_clear_error(new_guest: NewGuest, action: str, part: str) -> None:
    error = new_guest(SOURCE).action(action).error
    assert error["message"].startswith("TypeError: ")
    assert part in error["message"]


def test_values_may_be_28_levels_deep(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("deep", 28).error is None
    assert "deeper than 28" in guest.action("deep", 29).error["message"]


def test_to_json_and_dates_and_shared_objects_are_written_as_usual(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("json").result == {"shown": True}
    assert guest.action("date").result == {"at": "1970-01-01T00:00:00.000Z"}
    assert guest.action("shared").result == [{"x": 1}, {"x": 1}]


def test_a_user_error_keeps_code_message_and_metadata(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("user").error == {
        "group": "user", "code": "too_many", "message": "sorry", "metadata": {"left": ["$BigInt", "3"]},
    }  # fmt: skip
    assert guest.action("plainUser").error == {"group": "user", "code": "user_error", "message": "sorry"}
    assert guest.action("badUser").error["group"] == "internal"


@pytest.mark.parametrize(
    ("action", "message"),
    [("crash", "TypeError: cannot read property 'x' of undefined"), ("reject", "RangeError: later")],
)
def test_any_other_throw_is_internal_and_brings_its_stack(new_guest: NewGuest, action: str, message: str) -> None:
    error = new_guest(SOURCE).action(action).error
    assert (error["group"], error["code"], error["message"]) == ("internal", "internal_error", message)
    assert f"at {action} (actor.js:" in error["metadata"]["stack"]


@pytest.mark.parametrize("what", ["1", "2", "3", "4", "5"])
def test_whatever_is_thrown_settles_the_event(new_guest: NewGuest, what: str) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("odd", what).error["code"] == "internal_error"
    assert guest.pending == 0


def test_an_unknown_action_is_not_found(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    for name in ("nope", "constructor", "__proto__"):
        assert guest.action(name).error["code"] == "action_not_found"


def test_thenables_are_awaited(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("thenable").result == "then"
    assert guest.action("badThen").error["message"] == "Error: no then"


def test_a_rejection_that_nobody_handles_is_logged(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("detached").result == 1
    ((level, message),) = guest.host.logs
    assert level == "error"
    assert message.startswith("unhandled promise rejection: Error: nobody listens")


def test_log_lines_have_levels_and_show_values(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("log")
    assert guest.host.logs[:3] == [
        ("debug", 'd {"a":[["$BigInt","1"]]} null'),
        ("info", "l 1n undefined"),
        ("warn", "w"),
    ]
    assert guest.host.logs[3][1].startswith("TypeError: boom\n    at log (actor.js:")


def test_a_member_named_proto_stays_a_member(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("proto", {"__proto__": {"x": 1}}).result == [["__proto__"], True]
