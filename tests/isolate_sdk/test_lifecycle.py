"""Start, state, stop, and what an action gives back."""

from __future__ import annotations

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost

COUNTER = """
import { actor } from "rivetkit";
export default actor({
  createState: (c, input) => ({ count: input?.from ?? 0, log: ["createState"] }),
  createVars: (c) => ({ started: c.state.log.length }),
  onCreate(c, input) { c.state.log.push(`onCreate ${input?.from}`); },
  onWake(c) { c.state.log.push("onWake"); },
  onSleep(c) { c.state.log.push("onSleep"); },
  onDestroy(c) { c.state.log.push("onDestroy"); },
  actions: {
    add(c, n) { return c.state.count += n; },
    replace(c, v) { c.state = v; },
    look(c) { return [c.state, c.vars, c.actorId, c.name, c.key]; },
    fail(c) { c.state.count = 100; throw new Error("late"); },
    bad(c) { c.state.self = c.state; },
    undo(c) { delete c.state.self; },
    async slow(c) { c.state.count = 50; await new Promise((r) => setTimeout(r, 5)); c.state.count = 51; },
  },
});
"""


def test_a_new_actor_runs_its_hooks_in_order_and_saves_its_state(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER, start=False)
    settled = guest.start(input={"from": 4})
    assert settled.result["actions"][:2] == ["add", "replace"]
    assert guest.host.state == {"count": 4, "log": ["createState", "onCreate 4", "onWake"]}
    look = guest.action("look").result
    assert look[1:] == [{"started": 2}, "a1", "room", ["k", "1"]]


def test_a_wake_keeps_the_state_and_creates_nothing(new_guest: NewGuest) -> None:
    host = FakeHost()
    host.state = {"count": 7, "log": []}
    guest = new_guest(COUNTER, host, start=False)
    guest.start("wake")
    assert guest.action("add", 1).result == 8
    assert host.state == {"count": 8, "log": ["onWake"]}


def test_a_start_whose_state_was_never_put_creates_it(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER, start=False)
    guest.start("restart")
    assert guest.host.state == {"count": 0, "log": ["createState", "onWake"]}


def test_each_isolate_gets_its_own_copy_of_a_literal_state(new_guest: NewGuest) -> None:
    source = """const state = { list: [] };
    export default { state, actions: { n: (c) => [c.state.list.push(1), state.list.length] } };"""
    assert new_guest(source).action("n").result == [1, 0]


def test_state_is_saved_only_when_it_changed(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    guest.host.calls.clear()
    guest.action("look")
    guest.action("add", 0)
    assert "state_put" not in guest.host.calls
    guest.action("add", 1)
    assert guest.host.calls.count("state_put") == 1


def test_state_may_be_replaced_by_any_value(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    guest.action("replace", [1, "two", None])
    assert guest.host.state == [1, "two", None]


def test_what_a_throwing_action_wrote_stays(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    settled = guest.action("fail")
    assert settled.error["message"] == "Error: late"
    assert guest.host.state["count"] == 100


def test_half_done_changes_of_a_suspended_handler_are_saved(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    assert guest.deliver({"type": "action", "name": "slow", "args": []}) == []
    assert guest.pending == 1
    assert guest.host.state["count"] == 50
    (call, after) = guest.host.timers[0]
    assert after == 5
    (settled,) = guest.complete(call)
    assert settled.error is None
    assert guest.pending == 0
    assert guest.host.state["count"] == 51


def test_a_state_that_cannot_be_saved_fails_the_event_and_is_put_back(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    guest.action("add", 1)
    for _ in range(2):
        settled = guest.action("bad")
        assert "must not contain itself" in settled.error["message"]
        assert guest.host.logs[-1][0] == "error"
        assert guest.action("add", 2).error is None
    assert guest.action("look").result[0]["count"] == 5
    assert guest.host.state["count"] == 5


def test_a_state_that_was_never_saved_is_put_back_to_none(new_guest: NewGuest) -> None:
    guest = new_guest(
        "export default { actions: { bad(c) { c.state = () => 1; }, look: (c) => c.state === undefined,"
        " deep(c) { let s = {}; for (let i = 0; i < 200000; i++) s = { s }; c.state = s; } } }"
    )
    for name in ("bad", "deep"):
        assert guest.action(name).error is not None
        assert guest.action("look").result is True


def test_what_is_in_work_when_the_state_is_put_back_fails_too(new_guest: NewGuest) -> None:
    guest = new_guest(
        "export default { state: { n: 1n }, actions: {"
        " async bad(c) { c.state.f = () => 1; await new Promise((r) => setTimeout(r, 5)); return 1; },"
        " add(c) { c.state.n += 1n; return Number(c.state.n); } } }"
    )
    assert guest.deliver({"type": "action", "name": "bad", "args": []}) == []
    assert guest.action("add").result == 2
    (settled,) = guest.complete(guest.host.timers[0][0])
    assert settled.error is not None
    assert guest.action("add").result == 3


def test_a_state_that_the_host_refuses_fails_the_event(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    guest.host.refuse["state_put"] = {"group": "limit", "code": "exceeded", "message": "state: too large"}
    assert guest.action("add", 1).error["message"] == "Error: state: too large"
    guest.host.refuse.clear()
    assert guest.action("add", 1).result == 1
    assert guest.host.state["count"] == 1


def test_state_keeps_maps_dates_sets_and_bytes(new_guest: NewGuest) -> None:
    source = """export default { actions: {
      set(c) { c.state = { m: new Map([[{ a: 1n }, new Set([1])]]), d: new Date(5), n: new Date(NaN),
        b: new Uint8Array([1, 2]),
        f: new Float32Array([0.5]), v: new DataView(new ArrayBuffer(2)), u: undefined, e: ["$Set", 1] }; },
      look(c) { const s = c.state; const [[k, v]] = [...s.m];
        return [k.a === 1n, v instanceof Set, +s.d, isNaN(s.n), s.b.length, s.f[0], s.v.byteLength, "u" in s,
          s.u === undefined, s.e]; } } }"""
    host = FakeHost()
    new_guest(source, host).action("set")
    woken = new_guest(source, host, start=False)
    woken.start("wake")
    assert woken.action("look").result == [True, True, 5, True, 2, 0.5, 2, True, True, ["$$Set", 1]]
    assert host.calls.count("state_put") == 1


def test_stop_runs_the_hook_of_its_reason(new_guest: NewGuest) -> None:
    guest = new_guest(COUNTER)
    guest.one(type="stop", reason="sleep", deadline_ms=15000)
    guest.one(type="stop", reason="destroy", deadline_ms=15000)
    assert guest.host.state["log"][-2:] == ["onSleep", "onDestroy"]


def test_a_plain_actor_has_the_hooks_of_a_stop_too(new_guest: NewGuest) -> None:
    source = """export default {
      onSleep(c) { c.state = [...(c.state ?? []), "sleep"]; }, onDestroy(c) { c.state = [...c.state, "destroy"]; },
      actions: { none() {} },
    }"""
    guest = new_guest(source)
    guest.one(type="stop", reason="sleep", deadline_ms=15000)
    guest.one(type="stop", reason="destroy", deadline_ms=15000)
    assert guest.host.state == ["sleep", "destroy"]


def test_a_start_that_throws_settles_with_the_error(new_guest: NewGuest) -> None:
    guest = new_guest("export default { onStart() { throw new TypeError('no start') } }", start=False)
    assert guest.start().error["message"] == "TypeError: no start"


def test_sleep_is_an_intent(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { nap(c) { c.sleep(); return 'soon' } } }")
    assert guest.action("nap").result == "soon"
    assert guest.host.calls[-1] == "sleep"


def test_destroy_is_an_intent(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { end(c) { c.destroy(); return 'soon' } } }")
    assert guest.action("end").result == "soon"
    assert guest.host.calls[-1] == "destroy"


def test_the_clock_stands_still_within_a_turn_and_moves_between_turns(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { t: () => [Date.now(), +new Date(), performance.now()] } }")
    guest.host.now = 1_700_000_000_123
    assert guest.action("t").result == [1_700_000_000_123] * 3
    guest.host.now += 7
    assert guest.action("t").result == [1_700_000_000_130] * 3


def test_random_numbers_come_from_the_host(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { r: (c) => c.random() } }")
    first, second = guest.action("r").result, guest.action("r").result
    assert 0 <= first < 1
    assert 0 <= second < 1
    assert first != second
    assert guest.host.calls.count("random") == 2
