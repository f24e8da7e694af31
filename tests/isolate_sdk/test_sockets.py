"""Raw WebSockets: opening, messages, closing, and coming back after a wake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost
from tests.isolate_sdk.frames import Buffers
from tests.isolate_sdk.guest import Guest, Settled

ROOM = """
import { actor } from "rivetkit";
export default actor({
  state: { seen: [] },
  async onWebSocket(c, ws, { request }) {
    await null;
    c.state.seen.push(["attach", ws.id, ws.path, ws.params ?? null, ws.readyState, request.url,
      request.headers.get("x-a")]);
    ws.addEventListener("open", () => { c.state.seen.push(["open", ws.readyState]); ws.send("welcome"); });
    ws.onmessage = (e) => {
      c.state.seen.push([typeof e.data, e.data.byteLength ?? e.data, e.rivetMessageIndex, e.attempt, e.target === ws]);
      ws.send(e.data);
      if (e.data === "throw") throw new Error("listener");
      if (e.data === "close") { ws.close(3001, "bye"); ws.send("never"); }
      if (e.data === "state") { ws.state = { n: 1n }; ws.tags = ["a", "b"]; }
      if (e.data === "look") ws.send(JSON.stringify([ws.state && String(ws.state.n), ws.tags, ws.url,
        ws.protocol, ws.binaryType]));
      if (e.data === "view") ws.send(new Uint16Array([0x4241]).subarray(0, 1));
      if (e.data === "bad") ws.send(5);
      if (e.data === "badClose") ws.close(1001);
    };
    ws.addEventListener("message", async (e) => {
      if (e.data !== "wait") return;
      await new Promise((done) => setTimeout(done, 10));
      ws.send("waited");
    });
    ws.addEventListener("close", (e) => c.state.seen.push(["close", e.code, e.reason, e.wasClean, ws.readyState]));
  },
});
"""


def opened(new_guest: NewGuest, source: str = ROOM) -> Guest:
    guest = new_guest(source)
    settled = guest.open("c1", "/chat?x=1", params={"who": ["$BigInt", "1"]})
    assert settled.error is None
    return guest


def test_a_new_socket_is_attached_and_then_opens(new_guest: NewGuest) -> None:
    guest = new_guest(ROOM)
    settled = guest.one(
        type="socket_opened", conn="c1", path="/chat?x=1", headers=[["X-A", "1"], ["x-a", "2"]], hibernatable=True
    )
    assert settled.error is None
    assert guest.host.state["seen"] == [
        ["attach", "c1", "/chat?x=1", None, 0, "http://actor/chat?x=1", "1, 2"],
        ["open", 1],
    ]
    assert guest.host.sent == [("c1", "welcome")]


def test_a_text_message_brings_its_text_and_index(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    assert guest.message("héllo", index=9).error is None
    assert guest.host.state["seen"][-1] == ["string", "héllo", 9, 1, True]
    assert guest.host.sent[-1] == ("c1", "héllo")


def test_a_large_index_stays_a_string(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    guest.one(type="socket_message", conn="c1", index="9007199254740993", text="x", attempt=2)
    assert guest.host.state["seen"][-1][2:4] == ["9007199254740993", 2]


@pytest.mark.parametrize("size", [0, 3, 1023, 1024, 16384])
def test_binary_messages_are_array_buffers_and_echo_byte_for_byte(new_guest: NewGuest, size: int) -> None:
    guest = opened(new_guest)
    payload, buffers = bytes(i * 7 % 256 for i in range(size)), Buffers()
    event = {"type": "socket_message", "conn": "c1", "index": 1, "data": buffers.field(payload)}
    (settled,) = guest.deliver(event, buffers=buffers)
    assert settled.error is None
    assert guest.host.sent[-1] == ("c1", payload)
    assert guest.host.state["seen"][-1][:2] == ["object", size]


def test_a_view_is_sent_as_its_own_bytes(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    guest.message("view")
    assert guest.host.sent[-1] == ("c1", b"AB")


def test_a_throwing_listener_is_the_error_of_the_event_and_the_socket_stays(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    assert guest.message("throw").error["message"] == "Error: listener"
    assert guest.host.closed == []
    assert guest.message("again").error is None


def test_a_message_settles_when_every_listener_has(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    event: dict[str, Any] = {"type": "socket_message", "conn": "c1", "index": 1, "text": "wait"}
    assert guest.deliver(event) == []
    assert guest.pending == 1
    (settled,) = guest.complete(guest.host.timers[0][0])
    assert (settled.event, settled.error) == (event["id"], None)
    assert guest.host.sent[-1] == ("c1", "waited")


def test_all_listeners_run_even_if_the_first_throws(new_guest: NewGuest) -> None:
    source = """export default (await import("rivetkit")).actor({ onWebSocket(c, ws) {
      ws.addEventListener("message", () => { throw new Error("one") });
      ws.addEventListener("message", async () => { throw new Error("two") });
      ws.addEventListener("message", { handleEvent() { ws.send("three") } });
      ws.addEventListener("message", () => ws.send("once"), { once: true });
      const gone = () => ws.send("gone"); ws.addEventListener("message", gone); ws.removeEventListener("message", gone);
    } });"""
    guest = opened(new_guest, source)
    assert guest.message("x").error["message"] == "Error: one"
    assert guest.host.sent == [("c1", "three"), ("c1", "once")]
    assert "Error: two" in guest.host.logs[0][1]
    guest.message("y")
    assert guest.host.sent[2:] == [("c1", "three")]


def test_closing_sends_code_and_reason_and_stops_sending(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    guest.message("close")
    assert guest.host.closed == [("c1", 3001, "bye")]
    assert ("c1", "never") not in guest.host.sent
    settled = guest.one(type="socket_closed", conn="c1", code=3001, reason="bye", clean=True)
    assert settled.error is None
    assert guest.host.state["seen"][-1] == ["close", 3001, "bye", True, 3]
    assert guest.message("late").error["code"] == "unknown_connection"


@pytest.mark.parametrize(("text", "name"), [("bad", "TypeError"), ("badClose", "InvalidAccessError")])
def test_what_cannot_be_sent_is_a_clear_error(new_guest: NewGuest, text: str, name: str) -> None:
    assert name in opened(new_guest).message(text).error["message"]


def test_state_and_tags_are_kept_by_the_host(new_guest: NewGuest) -> None:
    guest = opened(new_guest)
    guest.message("state")
    assert guest.host.conn_states == {"c1": {"n": ["$BigInt", "1"]}}
    assert guest.host.conn_tags == {"c1": ["a", "b"]}
    guest.message("look")
    assert guest.host.sent[-1][1] == '["1",["a","b"],"ws://actor/chat?x=1","","arraybuffer"]'


def test_an_opening_that_throws_settles_with_the_error_and_forgets_the_socket(new_guest: NewGuest) -> None:
    guest = new_guest("export default { onConnect(conn) { throw new Error('full') }, onMessage() {} }")
    assert guest.open().error["message"] == "Error: full"
    assert guest.message("x").error["code"] == "unknown_connection"


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"conn": f"c{i:04}", "path": f"/{i}", "hibernatable": True, "state": {"n": ["$BigInt", str(i)]}, "tags": ["t"]}
        for i in range(count)
    ]


def woken(
    new_guest: NewGuest, count: int, source: str = ROOM, *, host: FakeHost | None = None
) -> tuple[Guest, list[Settled]]:
    host = host or FakeHost()
    host.state = {"seen": []}
    host.connections = rows(count)
    guest = new_guest(source, host, start=False)
    event = {
        "type": "start", "reason": "wake", "actor": "a", "generation": 1, "name": "room", "key": [],
        "connection_count": count,
    }  # fmt: skip
    return guest, guest.deliver(event)


def test_after_a_wake_sockets_are_attached_again_without_an_open_event(new_guest: NewGuest) -> None:
    guest, settled = woken(new_guest, 2)
    assert [one.error for one in settled] == [None]
    assert guest.host.state["seen"] == [
        ["attach", "c0000", "/0", None, 1, "http://actor/0", None],
        ["attach", "c0001", "/1", None, 1, "http://actor/1", None],
    ]
    assert guest.host.sent == []
    guest.message("look", conn="c0001", index=5)
    assert guest.host.sent[-1] == ("c0001", '["1",["t"],"ws://actor/1","","arraybuffer"]')


def test_many_sockets_come_back_in_pages_of_a_turn_each(new_guest: NewGuest) -> None:
    guest, settled = woken(new_guest, 600)
    assert (settled, guest.pending) == ([], 1)
    assert len(guest.host.state["seen"]) == 256
    assert guest.complete(guest.host.timers[-1][0]) == []
    assert len(guest.host.state["seen"]) == 512
    (done,) = guest.complete(guest.host.timers[-1][0])
    assert done.error is None
    assert len(guest.host.state["seen"]) == 600
    assert [after for _, after in guest.host.timers] == [0, 0, 0]


@pytest.mark.parametrize("most", [200, 3_000, 20_000])
def test_a_page_that_is_too_long_an_answer_is_asked_for_again_by_halves(new_guest: NewGuest, most: int) -> None:
    host = FakeHost()
    host.longest["socket_list"] = most
    guest, settled = woken(new_guest, 300, host=host)
    turns = 1
    while not settled:
        settled = guest.complete(guest.host.timers[-1][0])
        turns += 1
    assert [one.error for one in settled] == [None]
    assert [row[1] for row in guest.host.state["seen"]] == [f"c{i:04}" for i in range(300)]
    assert turns < 400


def test_one_socket_that_is_too_much_by_itself_fails_the_start(new_guest: NewGuest) -> None:
    host = FakeHost()
    host.longest["socket_list"] = 10
    _, settled = woken(new_guest, 1, host=host)
    assert ["larger than the host takes" in one.error["message"] for one in settled] == [True]


def test_a_restored_socket_whose_handler_throws_is_closed_alone(new_guest: NewGuest) -> None:
    source = """import { actor } from "rivetkit"; export default actor({ onWebSocket(c, ws) {
      if (ws.id === "c0000") throw new Error("broken"); ws.onmessage = (e) => ws.send(e.data); } });"""
    guest, settled = woken(new_guest, 2, source)
    assert [one.error for one in settled] == [None]
    assert guest.host.closed == [("c0000", 4500, "ws.restore_error")]
    assert "Error: broken" in guest.host.logs[0][1]
    assert guest.message("hi", conn="c0001").error is None


def test_the_plain_face_gets_the_connection_first_and_the_context_last(new_guest: NewGuest) -> None:
    source = """export default {
      state: [],
      onStart(c) { c.state.push("start"); },
      onConnect(conn, c) { conn.send("hi"); },
      onMessage(conn, data, c) { c.state.push(data); conn.send(data + "!"); },
      onClose(conn, code, reason, c) { c.state.push([conn.id, code, reason]); },
      onAlarm(alarm, c) { c.state.push(alarm.id); },
    };"""
    guest = new_guest(source)
    guest.open("c1")
    guest.message("a")
    guest.one(type="socket_closed", conn="c1", code=1000, reason="", clean=True)
    guest.one(type="alarm", alarm="tick", scheduled_at=1, payload=None)
    assert guest.host.sent == [("c1", "hi"), ("c1", "a!")]
    assert guest.host.state == ["start", "a", ["c1", 1000, ""], "tick"]


def test_a_socket_cannot_be_made_by_the_tenant(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { go: () => new WebSocket('ws://x') } }")
    assert "cannot open one itself" in guest.action("go").error["message"]
