"""c.state as a tracked document: changes anywhere in it are found, identity holds, nothing is written for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost

FRESH = """
  state: { n: 0, list: [{ a: 1 }, { a: 2 }], deep: { er: { est: [] } }, map: new Map([["k", { v: 1 }]]),
    set: new Set([1]), when: new Date(5), bytes: new Uint8Array([1, 2, 3]), view: new DataView(new ArrayBuffer(4)),
    raw: new ArrayBuffer(2), pairs: [["$Set", 1]], big: 1n },
"""

# name → (what an action does with the state `s`, what then shows in it)
CHANGES: dict[str, tuple[str, str]] = {
    "a number": ("s.n = 7", "s.n === 7"),
    "a new member": ("s.x = 'new'", "s.x === 'new'"),
    "a deleted member": ("delete s.n", "!('n' in s)"),
    "a member of a member": ("s.deep.er.est = 'x'", "s.deep.er.est === 'x'"),
    "push": ("s.deep.er.est.push(1, 2)", "s.deep.er.est.length === 2"),
    "pop": ("s.list.pop()", "s.list.length === 1"),
    "splice": ("s.list.splice(0, 1)", "s.list[0].a === 2"),
    "sort": ("s.list.sort((x, y) => y.a - x.a)", "s.list[0].a === 2"),
    "an element": ("s.list[1].a = 9", "s.list[1].a === 9"),
    "length": ("s.list.length = 0", "s.list.length === 0"),
    "what find gave": ("s.list.find((each) => each.a === 2).a = 3", "s.list[1].a === 3"),
    "a loop": ("for (const each of s.list) each.a += 10", "s.list[0].a === 11 && s.list[1].a === 12"),
    "assign": ("Object.assign(s.deep, { one: 1, two: 2 })", "s.deep.one + s.deep.two === 3"),
    "defineProperty": ("Object.defineProperty(s, 'd', { value: 4, enumerable: true })", "s.d === 4"),
    "map set": ("s.map.set('x', 1)", "s.map.get('x') === 1"),
    "map delete": ("s.map.delete('k')", "s.map.size === 0"),
    "map clear": ("s.map.clear()", "s.map.size === 0"),
    "a value of a map": ("s.map.get('k').v = 2", "s.map.get('k').v === 2"),
    "map forEach": ("s.map.forEach((v) => { v.v = 5 })", "s.map.get('k').v === 5"),
    "map values": ("for (const v of s.map.values()) v.v = 6", "s.map.get('k').v === 6"),
    "map entries": ("for (const [k, v] of s.map) v.v = k", "s.map.get('k').v === 'k'"),
    "set add": ("s.set.add(2)", "s.set.has(2)"),
    "set delete": ("s.set.delete(1)", "s.set.size === 0"),
    "set clear": ("s.set.clear()", "s.set.size === 0"),
    "an object in a set": (
        "s.set.add({ z: 0 }); for (const o of s.set) if (o.z === 0) o.z = 1",
        "[...s.set][1].z === 1",
    ),
    "a date": ("s.when.setTime(9)", "+s.when === 9"),
    "bytes": ("s.bytes[1] = 200", "s.bytes[1] === 200"),
    "bytes set": ("s.bytes.set([7, 8], 1)", "s.bytes[2] === 8"),
    "bytes fill": ("s.bytes.fill(4)", "s.bytes[0] === 4"),
    "bytes by a view": ("new Uint8Array(s.bytes.buffer)[0] = 77", "s.bytes[0] === 77"),
    "a data view": ("s.view.setUint8(1, 5)", "s.view.getUint8(1) === 5"),
    "a whole new state": ("c.state = { fresh: true }", "s.fresh"),
    "a spread of itself": ("c.state = { ...s, n: 1 }", "s.n === 1 && s.map.get('k').v === 1 && s.list[0].a === 1"),
    "a part put elsewhere": ("s.twice = { part: s.list[0] }", "s.twice.part.a === 1"),
    "a map in a new map": ("s.map = new Map([['m', s.map]])", "s.map.get('m').get('k').v === 1"),
    "a set of parts": ("s.set = new Set([s.list[0]])", "[...s.set][0].a === 1"),
    "what was put in and then changed": ("const o = { a: 1 }; s.o = o; o.a = 2", "s.o.a === 2"),
    "an element put in and then changed": ("const o = {}; s.list.push(o); o.late = true", "s.list[2].late === true"),
}


def actor(actions: str, fresh: str = FRESH, more: str = "") -> str:
    return 'import { actor } from "rivetkit"; export default actor({' + fresh + more + " actions: {" + actions + "} });"


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_saved_and_told_and_comes_back(new_guest: NewGuest, name: str) -> None:
    change, shows = CHANGES[name]
    source = actor(
        f"change(c) {{ const s = c.state; {change}; }},"
        f"shows(c) {{ const s = c.state; try {{ return !!({shows}); }} catch {{ return false; }} }},"
        "told: (c) => [c.vars.told, c.vars.same], puts() {},",
        more=" vars: { told: 0 }, onStateChange(c, next) { c.vars.told++; c.vars.same = next === c.state; },",
    )
    host = FakeHost()
    guest = new_guest(source, host)
    assert guest.action("shows").result is False
    host.calls.clear()
    assert guest.action("change").error is None
    assert host.calls.count("state_put") == 1
    assert guest.action("told").result == [1, True]
    assert guest.action("shows").result is True
    woken = new_guest(source, host, start=False)
    woken.start("wake")
    assert woken.action("shows").result is True
    assert host.calls.count("state_put") == 1


READS = """
  read(c) {
    const s = c.state;
    return [s.n, s.list.map((each) => each.a), JSON.stringify(s.deep), [...s.map.keys()], s.map.get("k").v,
      s.set.has(1), s.when.getTime(), s.bytes.length, [...s.bytes], s.bytes.slice(1)[0], s.view.getUint8(0),
      s.raw.byteLength, s.big === 1n,
      Object.keys(s).length, "n" in s, s.list.includes(s.list[0]), s.list.indexOf(s.list[1]), Array.isArray(s.list),
      s.map instanceof Map, s.when instanceof Date, s.bytes instanceof Uint8Array, s.map.size, s.nothing === undefined];
  },
  same(c) {
    const s = c.state, raw = { r: 1 };
    s.raw2 = raw; s.list.push(raw);
    return [c.state === s, s.deep === s.deep, s.list[0] === s.list[0], s.map.get("k") === [...s.map.values()][0],
      s.list.includes(raw), s.list.indexOf(s.raw2), s.raw2 === s.list[2], s.map === s.map, s.when === s.when,
      s.list.find((each) => each.a === 2) === s.list[1], s.map.get === s.map.get, s.map.has("k")];
  },
  clone(c) {
    const copy = structuredClone(c.state);
    copy.map.set("other", 1); copy.list[0].a = 100; copy.when.setTime(0); copy.bytes[0] = 99;
    return [copy.map.size, c.state.map.size, c.state.list[0].a, +c.state.when, c.state.bytes[0], copy.big === 1n];
  },
  out(c) { const { list, set, bytes, raw, pairs } = c.state; return { list, set, bytes, raw, pairs }; },
  async keep(c) { await c.kv.put("bytes", c.state.bytes); return new TextDecoder().decode(c.state.bytes).length; },
"""


def test_reading_writes_nothing(new_guest: NewGuest) -> None:
    guest = new_guest(actor(READS))
    guest.host.calls.clear()
    assert guest.action("read").result == [
        0, [1, 2], '{"er":{"est":[]}}', ["k"], 1, True, 5, 3, [1, 2, 3], 2, 0, 2, True, 11, True, True, 1, True,
        True, True, True, 1, True,
    ]  # fmt: skip
    assert guest.host.calls == []


def test_identity_holds(new_guest: NewGuest) -> None:
    same = new_guest(actor(READS)).action("same").result
    assert same == [True, True, True, True, True, 2, True, True, True, True, True, True]


def test_a_clone_is_a_plain_copy(new_guest: NewGuest) -> None:
    assert new_guest(actor(READS)).action("clone").result == [2, 1, 1, 5, 1, True]


def test_parts_of_the_state_can_be_sent_and_stored(new_guest: NewGuest) -> None:
    guest = new_guest(actor(READS))
    assert guest.action("out").result == {
        "list": [{"a": 1}, {"a": 2}],
        "set": ["$Set", [1]],
        "bytes": ["$Uint8Array", "AQID"],
        "raw": ["$ArrayBuffer", "AAA="],
        "pairs": [["$$Set", 1]],
    }
    assert guest.action("keep").result == 3
    assert guest.host.kv == {b"bytes": b"\x01\x02\x03"}


WATCHED = actor(
    """
  twice(c) { c.state.n = 1; c.state.n = 2; c.state.list.push(1); },
  back(c) { c.state.n = 5; c.state.n = 0; },
  same(c) { c.state.n = c.state.n; },
  async waits(c) { c.state.n = 1; await new Promise((r) => setTimeout(r, 1)); c.state.n = 2; },
  async inner(c) { c.state.n = 1; await c.kv.get("x"); c.state.n = 2; },
  later(c) { const o = { a: 1 }; c.state.o = o; c.vars.o = o; },
  past(c) { c.vars.o.a = 2; },
  fail(c) { c.state.n = 3; throw new Error("no"); },
  early: async (c) => { c.state.n = 4; await c.saveState(); c.state.n = 0; },
  log: (c) => c.vars.log,
    """,
    more="""
  vars: { log: [] },
  onStateChange(c, next) {
    c.vars.log.push(next.n);
    if (next.n === 2) c.state.n = 200;
    if (next.n === 3) throw new Error("hook");
  },
    """,
)


@pytest.mark.parametrize(
    ("name", "told"),
    [("twice", [2]), ("back", []), ("same", []), ("inner", [2]), ("fail", [3]), ("early", [0])],
)
def test_a_change_is_told_once_a_turn_and_only_if_there_is_one(new_guest: NewGuest, name: str, told: list[int]) -> None:
    guest = new_guest(WATCHED)
    guest.action(name)
    assert guest.action("log").result == told


def test_what_the_hook_changes_is_saved_and_not_told(new_guest: NewGuest) -> None:
    guest = new_guest(WATCHED)
    guest.action("twice")
    assert guest.host.state["n"] == 200
    assert guest.action("log").result == [2]


def test_each_turn_of_a_handler_that_waits_tells_what_it_changed(new_guest: NewGuest) -> None:
    guest = new_guest(WATCHED)
    event: dict[str, Any] = {"type": "action", "name": "waits", "args": []}
    assert guest.deliver(event) == []
    assert guest.host.state["n"] == 1
    guest.complete(guest.host.timers[-1][0])
    assert guest.action("log").result == [1, 2]


def test_a_throw_in_the_hook_is_logged_and_fails_nothing(new_guest: NewGuest) -> None:
    guest = new_guest(WATCHED)
    assert guest.action("fail").error["message"] == "Error: no"
    assert any("onStateChange failed: Error: hook" in text for _, text in guest.host.logs)
    assert guest.host.state["n"] == 3


def test_a_hook_may_wait(new_guest: NewGuest) -> None:
    source = actor(
        "go(c) { c.state.n = 1; }, seen: (c) => c.kv.get('seen'), gone(c) { c.state.n = 2; },",
        more="""async onStateChange(c, next) {
          await c.kv.put("seen", `${next.n}`);
          if (next.n === 2) throw new Error("late");
        },""",
    )
    guest = new_guest(source)
    assert guest.action("go").error is None
    assert guest.host.kv == {b"seen": b"1"}
    guest.action("gone")
    assert any("late" in text for _, text in guest.host.logs)


def test_neither_the_first_state_nor_a_wake_is_a_change(new_guest: NewGuest) -> None:
    host = FakeHost()
    assert new_guest(WATCHED, host).action("log").result == []
    woken = new_guest(WATCHED, host, start=False)
    woken.start("wake")
    assert woken.action("log").result == []


def test_a_change_past_the_document_is_found_by_the_next_one_and_by_the_stop(new_guest: NewGuest) -> None:
    guest = new_guest(WATCHED)
    guest.action("later")
    guest.action("past")
    assert guest.host.state["o"] == {"a": 1}
    guest.action("twice")
    assert guest.host.state["o"] == {"a": 2}
    guest = new_guest(WATCHED)
    guest.action("later")
    guest.action("past")
    guest.one(type="stop", reason="sleep", deadline_ms=1)
    assert guest.host.state["o"] == {"a": 2}


def test_a_large_state_costs_nothing_while_it_is_left_alone(new_guest: NewGuest) -> None:
    source = actor(
        "grow(c, n) { c.state.rows = Array.from({ length: n }, (_, i) => ({ i, name: 'row ' + i })); },"
        "touch: (c) => c.state.n,"
    )
    guest = new_guest(source)
    guest.action("grow", 20_000)
    used = guest.call("heap_used")
    guest.host.calls.clear()
    guest.host.asked = 0
    for _ in range(20):
        guest.action("touch")
    assert guest.host.calls == []
    assert guest.call("heap_used") <= used + 20_000
    assert guest.host.asked < 100, "the engine asks every 40,000 steps"


def test_a_loop_over_a_large_state_leaves_little_behind(new_guest: NewGuest) -> None:
    source = actor(
        "grow(c, n) { c.state.rows = Array.from({ length: n }, (_, i) => ({ i, name: 'row ' + i })); },"
        "sum: (c) => c.state.rows.reduce((sum, row) => sum + row.i, 0),"
    )
    guest = new_guest(source)
    guest.action("grow", 5_000)
    used = guest.call("heap_used")
    assert guest.action("sum").result == 5_000 * 4_999 // 2
    assert guest.call("heap_used") - used < 5_000 * 200


def test_what_an_actor_keeps_of_its_state_is_the_same_in_a_later_turn(new_guest: NewGuest) -> None:
    source = actor(
        "keep(c) { c.vars.kept = c.state.list[1]; c.vars.map = c.state.map; },"
        "same(c) { c.vars.kept.a = 9; return [c.vars.kept === c.state.list[1], c.vars.map === c.state.map]; },",
        more=" vars: {},",
    )
    guest = new_guest(source)
    guest.action("keep")
    assert guest.action("same").result == [True, True]
    assert guest.host.state["list"][1] == {"a": 9}


HOSTILE = """
spoil() {
  const broken = () => { throw new Error("taken"); };
  Map.prototype.get = Map.prototype.set = Map.prototype.forEach = broken;
  WeakMap.prototype.get = WeakMap.prototype.set = broken;
  Array.prototype.push = Object.keys = Reflect.get = Reflect.set = Set.prototype.add = broken;
  Object.prototype.get = () => "trapped";
},
"""


def test_changed_builtins_do_not_get_between_the_document_and_its_saving(new_guest: NewGuest) -> None:
    go = "go(c) { c.state.n = 1; c.state.map.set('h', 2); return c.state.map.get('h'); },"
    guest = new_guest(actor(HOSTILE + go))
    guest.action("spoil")
    assert guest.action("go").result == 2
    assert guest.host.state["n"] == 1
    assert guest.host.state["map"][1][1] == ["h", 2]


def test_no_handler_of_a_proxy_is_in_reach(new_guest: NewGuest) -> None:
    source = actor(
        """go(c) {
      const seen = [];
      Object.defineProperty(Object.prototype, "root", { set() { seen.push("root"); }, configurable: true });
      Object.defineProperty(Object.prototype, "target", { set() { seen.push("target"); }, configurable: true });
      c.state.deep.er.est.push(1); c.state.map.get("k").v = 1;
      return [seen, c.state.root === undefined, Reflect.ownKeys(c.state.map)];
    },"""
    )
    assert new_guest(source).action("go").result == [[], True, []]


def test_what_cannot_be_saved_puts_the_document_back(new_guest: NewGuest) -> None:
    guest = new_guest(
        actor("bad(c) { c.state.n = 9; c.state.f = () => 1; }, look: (c) => [c.state.n, 'f' in c.state],")
    )
    assert "function" in guest.action("bad").error["message"]
    assert guest.action("look").result == [0, False]
