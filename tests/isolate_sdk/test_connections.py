"""Connections: their hooks in order, their state, what is sent to them, and the one that an HTTP call has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost
from tests.isolate_sdk.guest import Guest

ROOM = """
import { actor, event, UserError } from "rivetkit";
const note = (c, ...what) => c.state.log.push(what);
export default actor({
  state: { log: [] },
  onBeforeConnect(c, params) {
    note(c, "before", params, c.conns.size, c.conn === undefined, c.request && c.request.url);
    if (params?.token === "bad") throw new UserError("no entry", { code: "no_entry", metadata: { why: "token" } });
  },
  createConnState(c, params) { note(c, "state", c.conns.size); return { name: params?.name ?? "?", seen: [], n: 0 }; },
  onConnect(c, conn) {
    note(c, "connect", c.conns.size, c.conn === conn, conn.state.name);
    if (conn.params?.token === "late") throw new Error("late");
    if (conn.params?.greet) conn.send("welcome", conn.state.name, 1n);
  },
  onDisconnect(c, conn) {
    note(c, "gone", c.conns.size, c.conns.has(conn.id), c.conn === conn, conn.state.name);
    if (conn.params?.token === "stays") throw new Error("cannot say goodbye");
  },
  actions: {
    who: (c) => [c.conn.id.length > 10, c.conn.params, c.conn.state, c.conns.size, c.conns.get(c.conn.id) === c.conn],
    id: (c) => c.conn.id,
    count(c) { return ++c.conn.state.n; },
    see(c, what) { c.conn.state.seen.push(what); return c.conn.state === c.conn.state; },
    replace(c, state) { c.conn.state = state; },
    fail(c) { c.conn.state.n = 100; throw new UserError("failed"); },
    bad(c) { c.conn.state.f = () => 1; },
    others: (c) => [...c.conns].map(([id, conn]) => [id, conn.state.name, conn.isHibernatable]),
    lists: (c) => {
      const ids = [];
      c.conns.forEach((conn, id) => ids.push(id));
      return [[...c.conns.keys()], [...c.conns.values()].map((conn) => conn.id), [...c.conns.entries()].length, ids,
        c.conns.has("c1"), c.conns.get("nope")];
    },
    tell(c, id, ...args) { c.conns.get(id).send("told", ...args); },
    all(c, ...args) { c.broadcast("news", ...args); },
    async kick(c, id, reason) {
      const conn = c.conns.get(id);
      await conn.disconnect(reason);
      conn.send("x");
      return c.conns.has(id);
    },
    log: (c) => c.state.log,
    make: (c) => new c.conn.constructor(),
    async wait(c) { const { id } = c.conn; await new Promise((r) => setTimeout(r, 5)); return c.conns.has(id); },
  },
});
"""


def test_a_connection_goes_through_its_hooks_in_order(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    assert guest.connect("c1", params={"name": "joe"}).error is None
    assert guest.host.state["log"] == [
        ["before", {"name": "joe"}, 0, True, "http://actor/"],
        ["state", 0],
        ["connect", 1, True, "joe"],
    ]
    assert guest.host.conn_states == {"c1": {"name": "joe", "seen": [], "n": 0}}
    guest.gone("c1")
    assert guest.host.state["log"][3:] == [["gone", 0, False, True, "joe"]]


@pytest.mark.parametrize("connect", ["connect", "raw"])
def test_on_before_connect_refuses_with_code_and_metadata(new_guest: NewGuest, connect: str) -> None:
    guest = new_guest(ROOM)
    refused = guest.connect(params={"token": "bad"}) if connect == "connect" else guest.open(params={"token": "bad"})
    assert refused.error == {"group": "user", "code": "no_entry", "message": "no entry", "metadata": {"why": "token"}}
    assert [row[0] for row in guest.host.state["log"]] == ["before"]
    assert guest.via("c1", "who").error["code"] == "unknown_connection"


def test_a_throw_in_on_connect_ends_the_connection(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    assert guest.connect(params={"token": "late"}).error["message"] == "Error: late"
    guest.connect("c2")
    assert guest.via("c2", "others").result == [["c2", "?", True]]


def test_actions_of_a_connection_have_it(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("connection-1", params={"name": "joe"})
    guest.connect("connection-2", params={"name": "ann"})
    assert guest.via("connection-2", "who").result == [
        True, {"name": "ann"}, {"name": "ann", "seen": [], "n": 0}, 2, True,
    ]  # fmt: skip
    assert guest.via("connection-1", "others").result == [["connection-1", "joe", True], ["connection-2", "ann", True]]


def test_the_map_of_connections_is_live_and_cannot_be_changed(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1")
    guest.connect("c2")
    ids = ["c1", "c2"]
    assert guest.via("c1", "lists").result == [ids, ids, 2, ids, True, ["$Undefined", 0]]
    guest.gone("c1")
    assert guest.via("c2", "lists").result[0] == ["c2"]


def test_the_state_of_a_connection_is_tracked_and_saved_with_the_turn(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1", params={"name": "joe"})
    guest.host.calls.clear()
    assert guest.via("c1", "count").result == 1
    assert guest.via("c1", "see", {"deep": True}).result is True
    assert guest.host.conn_states["c1"] == {"name": "joe", "seen": [{"deep": True}], "n": 1}
    assert guest.host.calls.count("socket_set_state") == 2
    guest.via("c1", "who")
    assert guest.host.calls.count("socket_set_state") == 2
    assert guest.via("c1", "fail").error["code"] == "user_error"
    assert guest.host.conn_states["c1"]["n"] == 100
    guest.via("c1", "replace", {"$n": [1, ["x"]]})
    assert guest.host.conn_states["c1"] == {"$n": [1, ["x"]]}


def test_a_connection_state_that_cannot_be_saved_fails_the_turn_and_is_put_back(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1", params={"name": "joe"})
    assert "function" in guest.via("c1", "bad").error["message"]
    assert guest.via("c1", "who").result[2] == {"name": "joe", "seen": [], "n": 0}
    guest.host.refuse["socket_set_state"] = {"group": "limit", "code": "exceeded", "message": "too large"}
    assert "too large" in guest.via("c1", "see", "x").error["message"]
    assert "too large" in guest.via("c1", "replace", "x").error["message"]
    guest.host.refuse.clear()
    assert guest.via("c1", "who").result[2] == {"name": "joe", "seen": [], "n": 0}


def test_events_are_sent_to_one_or_to_all(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1", params={"greet": True, "name": "joe"})
    guest.connect("c2")
    guest.via("c1", "tell", "c2", {"a": 1}, None)
    guest.via("c1", "all", "hi", ["$x", 1])
    assert guest.host.events == [
        ("c1", "welcome", ["joe", ["$BigInt", "1"]]),
        ("c2", "told", [{"a": 1}, None]),
        ("*", "news", ["hi", ["$$x", 1]]),
    ]


def test_disconnecting_closes_with_the_reason_and_ends_with_on_disconnect(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1")
    guest.connect("c2", params={"name": "ann"})
    assert guest.via("c1", "kick", "c2", "behave").result is False
    assert guest.host.closed == [("c2", 1000, "behave")]
    assert guest.host.events == []
    assert guest.gone("c2").error is None
    assert guest.host.state["log"][-1] == ["gone", 1, False, True, "ann"]


def test_a_throw_in_on_disconnect_does_not_keep_the_connection(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1", params={"token": "stays"})
    guest.connect("c2")
    assert guest.gone("c1").error["message"] == "Error: cannot say goodbye"
    assert guest.via("c2", "others").result == [["c2", "?", True]]


def test_a_close_of_a_connection_that_is_not_known_is_nothing(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    assert guest.gone("never").error is None
    assert guest.host.state["log"] == []


def test_an_http_action_has_a_connection_while_it_is_in_work(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    answer = guest.one(type="action", name="who", args=[], params={"name": "joe"})
    assert answer.result == [True, {"name": "joe"}, {"name": "joe", "seen": [], "n": 0}, 1, True]
    assert [row[0] for row in guest.host.state["log"]] == ["before", "state", "connect", "gone"]
    assert guest.action("others").result[0][1:] == ["?", False]
    assert guest.host.conn_states == {}
    refused = guest.one(type="action", name="who", args=[], params={"token": "bad"})
    assert refused.error["code"] == "no_entry"


def test_each_http_call_has_an_id_of_its_own_and_they_overlap(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    first, second = guest.action("id").result, guest.action("id").result
    assert first != second
    assert len(first) == len(second) == 32
    for _ in range(2):
        assert guest.deliver({"type": "action", "name": "wait", "args": []}) == []
    assert [guest.complete(call)[0].result for call, _ in guest.host.timers[-2:]] == [True, True]
    assert len(guest.action("others").result) == 1


def test_what_is_sent_to_an_http_caller_goes_nowhere(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.one(type="action", name="who", args=[], params={"greet": True})
    assert guest.host.events == []


def test_an_action_without_hooks_may_ask_for_its_connection(new_guest: NewGuest) -> None:
    source = """export default (await import("rivetkit")).actor({ actions: {
      who: (c) => [c.conn === c.conn, c.conn.params, c.conn.state, c.conns.size, typeof c.conn.id, c.caller],
    } });"""
    answer = new_guest(source).one(type="action", name="who", args=[], params=[1])
    assert answer.result == [True, [1], ["$Undefined", 0], 0, "string", ["$Undefined", 0]]


def test_a_raw_request_and_a_raw_socket_have_their_connection(new_guest: NewGuest) -> None:
    source = ROOM.replace(
        "actions: {",
        """async onRequest(c, request) {
          return Response.json([c.conn.params, c.conn.state.name, c.request === request, c.conns.size]);
        },
        onWebSocket(c, ws) { note(c, "ws", c.conn.id, c.conn.state.name, c.conns.size); ws.state.n = 7; },
        actions: {""",
        1,
    )
    guest = new_guest(source)
    answer = guest.one(type="request", method="GET", path="/x", headers=[], body="", params={"name": "ann"})
    assert answer.result["status"] == 200
    assert guest.host.state["log"][-1][0] == "gone"
    assert guest.open("c9", params={"name": "bob"}).error is None
    assert guest.host.state["log"][-1] == ["ws", "c9", "bob", 1]
    assert guest.host.conn_states["c9"]["n"] == 7
    guest.gone("c9")
    assert guest.host.state["log"][-1] == ["gone", 0, False, True, "bob"]


def test_a_raw_socket_may_be_disconnected_as_a_connection(new_guest: NewGuest) -> None:
    source = """import { actor } from "rivetkit";
    export default actor({
      state: [], onDisconnect(c, conn) { c.state.push(conn.id); },
      onWebSocket(c, ws) {
        ws.onmessage = async () => { await c.conn.disconnect("bye"); ws.send("never"); c.state.push(ws.readyState); };
        ws.onclose = (e) => c.state.push(e.reason);
      },
    });"""
    guest = new_guest(source)
    guest.open("c1")
    assert guest.message("x").error is None
    assert (guest.host.closed, guest.host.sent) == ([("c1", 1000, "bye")], [])
    guest.one(type="socket_closed", conn="c1", code=1000, reason="bye", clean=True)
    assert guest.host.state == [2, "bye", "c1"]


def woken(new_guest: NewGuest, source: str, rows: list[dict[str, Any]]) -> Guest:
    host = FakeHost()
    host.state = {"log": []}
    host.connections = rows
    guest = new_guest(source, host, start=False)
    assert guest.start("wake", connection_count=len(rows)).error is None
    return guest


def test_after_a_wake_connections_are_back_without_any_hook(new_guest: NewGuest) -> None:
    row = {"path": "/", "hibernatable": True, "protocol": "connect", "params": {"token": "bad", "name": "joe"}}
    guest = woken(
        new_guest, ROOM, [{"conn": "c1", "state": {"name": "joe", "seen": [], "n": 5}, **row}, {"conn": "c2", **row}]
    )
    assert guest.host.state["log"] == []
    assert guest.via("c1", "count").result == 6
    assert guest.host.conn_states["c1"]["n"] == 6
    assert guest.via("c1", "lists").result[0] == ["c1", "c2"]
    guest.gone("c1")
    assert guest.host.state["log"] == [["gone", 1, False, True, "joe"]]


def test_a_literal_state_is_copied_for_each_connection(new_guest: NewGuest) -> None:
    source = """import { actor } from "rivetkit";
    export default actor({ connState: { list: [] }, actions: { add(c, x) { return c.conn.state.list.push(x); } } });"""
    guest = new_guest(source)
    guest.connect("c1")
    guest.connect("c2")
    assert [guest.via("c1", "add", 1).result, guest.via("c1", "add", 2).result] == [1, 2]
    assert guest.via("c2", "add", 1).result == 1
    assert guest.host.conn_states == {"c1": {"list": [1, 2]}, "c2": {"list": [1]}}


def test_a_connection_cannot_be_made_by_the_tenant(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    guest.connect("c1")
    assert "comes from a client" in guest.via("c1", "make").error["message"]


SLOW = """
import { actor } from "rivetkit";
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
export default actor({
  onConnect: async (c, conn) => { if (conn.params) await wait(conn.params.ms); },
  options: { onConnectTimeout: 50 },
  actions: { n: (c) => c.conns.size },
});
"""


def test_a_hook_that_takes_too_long_fails_and_one_in_time_ends_its_timer(new_guest: NewGuest) -> None:
    guest = new_guest(SLOW)
    guest.connect("c0")
    assert guest.host.timers == []
    event = {"type": "socket_opened", "path": "/", "headers": [], "hibernatable": True, "protocol": "connect"}
    assert guest.deliver({**event, "conn": "c1", "params": {"ms": 10}}) == []
    assert [after for _, after in guest.host.timers] == [10, 50]
    (settled,) = guest.complete(1)
    assert settled.error is None
    assert guest.host.ended_timers == [2]
    assert guest.deliver({**event, "conn": "c2", "params": {"ms": 90}}) == []
    (settled,) = guest.complete(4)
    assert settled.error["message"] == "Error: onConnect did not settle within 50 ms"
    assert guest.action("n").result == 3, "two that are open, and the caller's"
