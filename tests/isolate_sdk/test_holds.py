"""c.keepAwake and c.waitUntil: what the SDK tells the host of the promises that it was given."""

from __future__ import annotations

from tests.isolate_sdk.conftest import NewGuest

SOURCE = """
import { actor } from "isolate";
const open = {};
const make = (name) => new Promise((yes, no) => { open[name] = { yes, no }; });
export default actor({ actions: {
  keep(c, ...names) { for (const name of names) c.keepAwake(make(name)); },
  wait(c, ...names) { for (const name of names) c.waitUntil(make(name)); },
  settle(c, ...names) { for (const name of names) open[name].yes(name); },
  reject(c, name) { open[name].no(new Error("no luck")); },
  async through(c) { return (await c.keepAwake(Promise.resolve(7))) + c.keepAwake(1); },
  same(c) { const p = make("same"); return c.keepAwake(p) === p && c.waitUntil(p) === undefined; },
  odd(c) { c.waitUntil(undefined); c.keepAwake({ get then() { throw new Error("a getter"); } }); return "fine"; },
} });
"""


def test_the_counts_are_told_once_a_turn_when_they_have_changed(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("keep", "a", "b")
    guest.action("wait", "c")
    assert guest.host.held == [(2, 0), (2, 1)]
    guest.action("settle", "a")
    guest.action("same")
    guest.action("settle", "b", "c", "same")
    assert guest.host.held[2:] == [(1, 1), (2, 2), (0, 0)]


def test_keep_awake_gives_its_promise_back(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("same").result is True
    assert guest.action("through").result == 8
    assert guest.host.held == [(1, 1)]


def test_a_rejection_is_logged_and_holds_no_longer(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("wait", "a")
    assert guest.action("reject", "a").error is None
    assert guest.host.held == [(0, 1), (0, 0)]
    assert [level for level, text in guest.host.logs if "no luck" in text and "waitUntil" in text] == ["error"]


def test_what_is_no_promise_holds_nothing(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("odd").result == "fine"
    assert guest.host.held == []
    assert any("a getter" in text for _, text in guest.host.logs)


def test_counts_that_the_host_refuses_fail_the_event_and_are_told_again(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.host.refuse["keep_awake"] = -3
    assert "host calls" in guest.action("keep", "a").error["message"]
    guest.host.refuse.clear()
    assert guest.action("settle").error is None
    assert guest.host.held == [(1, 0)]
