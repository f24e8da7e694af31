"""The golden vectors: one exchange per event, per host call and per kind of reply, in both codecs.

`python -m tests.bridge.golden` writes `schemas/golden/`. Authors of guests test their side against these files, so a
change in them is a change of the ABI: the test compares byte for byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from host.bridge import envelopes as e
from host.bridge.codec import Codec
from host.bridge.framing import pack
from tests.bridge.support import encode_struct

__all__ = ["CALLS", "ERRORS", "EVENTS", "GOLDEN", "REPLIES", "documents", "render"]

GOLDEN = Path(__file__).resolve().parents[2] / "schemas" / "golden"
CONN = "00112233445566778899aabbccddeeff"
LONG = bytes(range(256)) * 4  # 1 KiB: the shortest buffer that goes behind the header

EVENTS: dict[str, e.Event] = {
    "start_create": e.StartEvent(1, "create", "0f" * 16, 1, "counter", ["a", ""], 0, UNSET, Raw(b'{"n":1}')),
    "start_upgrade": e.StartEvent(2, "upgrade", "0f" * 16, 3, "counter", [], 2, 7),
    "stop": e.StopEvent(3, "sleep", 15000),
    "action": e.ActionEvent(4, "increment", Raw(b'[1,["$BigInt","2"]]')),
    "action_of_actor": e.ActionEvent(16, "increment", Raw(b"[]"), caller="0e" * 16, caller_name="scheduler"),
    "action_of_connection": e.ActionEvent(5, "increment", Raw(b"[]"), CONN),
    "action_over_http_with_params": e.ActionEvent(16, "increment", Raw(b"[]"), params=Raw(b'{"user":"u"}')),
    "action_authorised": e.ActionEvent(19, "increment", Raw(b"[]"), auth=Raw(b'{"user":"ada"}')),
    "auth_action": e.AuthEvent(
        20, "action", "connection", [("origin", "null")], name="increment", claims=Raw(b'{"user":"ada"}')
    ),
    "auth_socket": e.AuthEvent(21, "socket", "anonymous", [], method="GET", path="/room?x=1", params=Raw(b"[1]")),
    "request": e.RequestEvent(6, "POST", "/x?y=1", [("a", "1"), ("a", "2")], b"body"),
    "request_params": e.RequestEvent(6, "GET", "/x", [], b"", Raw(b'{"token":"t"}')),
    "request_long": e.RequestEvent(7, "PUT", "/x", [], LONG),
    "socket_opened": e.SocketOpenedEvent(8, CONN, "/room", [("origin", "null")], True, Raw(b'{"name":"n"}'), 2),
    "socket_opened_connect": e.SocketOpenedEvent(17, CONN, "/", [], True, Raw(b'{"user":"u"}'), protocol="connect"),
    "subscribe": e.SubscribeEvent(18, CONN, "orders"),
    "socket_message_text": e.SocketMessageEvent(9, CONN, 1, text="h\u00e9llo"),
    "socket_message_data": e.SocketMessageEvent(10, CONN, 2, data=b"\x00\x01\xff"),
    "socket_message_long": e.SocketMessageEvent(11, CONN, "9007199254740993", data=LONG, attempt=2),
    "socket_closed": e.SocketClosedEvent(12, CONN, 1001, "going away", True),
    "alarm": e.AlarmEvent(13, "daily", 1_700_000_000_000, Raw(b'{"k":["$Undefined",0]}'), 3),
    "alarm_cron": e.AlarmEvent(
        14, "$cron:tick", 1_700_000_060_000, Raw(b'{"action":"tidy","args":[1]}'), cron="tick", kind="every"
    ),
    "completion": e.CompletionEvent(14, 5, Raw(b"null")),
    "completion_fetch": e.CompletionEvent(
        17,
        7,
        Raw(b'{"status":200,"headers":[["a","b"]],"url":"https://api.example.com/","redirected":false}'),
        body=b"hi",
    ),
    "completion_fetch_long": e.CompletionEvent(
        18, 8, Raw(b'{"status":200,"headers":[],"url":"https://api.example.com/","redirected":true}'), body=LONG
    ),
    "completion_error": e.CompletionEvent(15, 6, error=e.CallError("actor", "aborted", "it went away")),
}

REPLIES: dict[str, tuple[e.TurnReply, list[bytes]]] = {
    "nothing": (e.TurnReply([], 1), []),
    "settled_without_result": (e.TurnReply([e.Settled(9)], 0), []),
    "value": (e.TurnReply([e.Settled(4, Raw(b'{"count":["$BigInt","3"]}'))], 0), []),
    "user_error": (e.TurnReply([e.Settled(4, error=e.CallError("user", "no", "not today", Raw(b"[1]")))], 2), []),
    "start": (e.TurnReply([e.Settled(1, Raw(b'{"actions":["increment"],"request":false}'))], 0), []),
    "start_connect": (e.TurnReply([e.Settled(1, Raw(b'{"connect":true,"guarded_events":["orders"]}'))], 0), []),
    "http": (e.TurnReply([e.Settled(6, Raw(b'{"status":201,"headers":[["a","b"]],"body":"Ym9keQ=="}'))], 0), []),
    "http_long": (e.TurnReply([e.Settled(7, Raw(b'{"body":{"$bin":0}}'))], 0), [LONG]),
}

CALLS: dict[str, tuple[Struct, Any]] = {
    "kv_get": (e.KvGet([b"a", b"b", b"c"]), [b"1", None, LONG]),
    "kv_put": (e.KvPut([(b"a", b"1"), (b"b", b"")]), None),
    "kv_put_long": (e.KvPut([(b"a", LONG), (LONG, b"2")]), None),
    "kv_delete": (e.KvDelete([b"a"]), None),
    "kv_list": (e.KvList(prefix=b"a", reverse=True, limit=2), [(b"ab", LONG), (b"aa", b"1")]),
    "kv_list_range": (e.KvList(start=b"a", end=b"b"), []),
    "kv_delete_range": (e.KvDeleteRange(b"a", b"b"), None),
    "state_get": (e.StateGet(), Raw(b'{"count":1}')),
    "state_get_never_put": (e.StateGet(), None),
    "state_put": (e.StatePut(Raw(b'{"count":1}')), None),
    "alarm_set": (e.AlarmSet("daily", after=5000, payload=Raw(b"[1]")), e.AlarmTime("daily", 1_700_000_005_000)),
    "alarm_set_at": (e.AlarmSet("daily", at=1_700_000_005_000), e.AlarmTime("daily", 1_700_000_005_000)),
    "alarm_cancel": (e.AlarmCancel("daily"), True),
    "cron_set": (
        e.CronSet(
            "daily", "tidy", args=Raw(b"[1]"), expression="0 3 * * MON-FRI", time_zone="Europe/Berlin", history=5
        ),
        e.CronTime("daily", 1_700_000_005_000),
    ),
    "cron_set_every": (
        e.CronSet("tick", "tidy", interval=60_000),
        e.CronTime("tick", 1_700_000_060_000),
    ),
    "cron_delete": (e.CronDelete("daily"), True),
    "cron_list": (
        e.CronList(),
        [
            e.CronInfo(
                "daily",
                1_700_000_005_000,
                Raw(b'{"action":"tidy","args":[1]}'),
                5,
                expression="0 3 * * MON-FRI",
                time_zone="Europe/Berlin",
                last_at=1_699_900_005_000,
            ),
            e.CronInfo(
                "tick",
                1_700_000_060_000,
                Raw(b'{"action":"tidy","args":[]}'),
                100,
                interval=60_000,
                anchor=1_700_000_000_000,
            ),
        ],
    ),
    "cron_history": (
        e.CronHistory("daily", limit=3),
        [
            e.CronRunInfo("tidy", 5, 6, 6, "skipped", 0, number=2, until=9),
            e.CronRunInfo("tidy", 1, 2, 4, "error", 2, e.CallError("user", "no", "not today")),
            e.CronRunInfo("tidy", 1, 1, 1, "ok"),
        ],
    ),
    "alarm_list": (e.AlarmList(), [e.AlarmInfo("daily", 1_700_000_005_000, Raw(b"[1]"))]),
    "socket_send": (e.SocketSend(CONN, text="h\u00e9llo"), None),
    "socket_send_data": (e.SocketSend(CONN, data=b"\x00\xff"), None),
    "socket_send_long": (e.SocketSend(CONN, data=LONG), None),
    "socket_close": (e.SocketClose(CONN, 4000, "bye"), None),
    "event_send": (e.EventSend(CONN, "orders", Raw(b'[1,["$BigInt","2"]]')), None),
    "event_broadcast": (e.EventBroadcast("orders", Raw(b"[]")), 3),
    "socket_set_state": (e.SocketSetState(CONN, Raw(b'{"name":"n"}')), None),
    "socket_set_tags": (e.SocketSetTags(CONN, ["admin"]), None),
    "socket_list": (
        e.SocketList(limit=2, tag="admin"),
        [
            e.SocketInfo(CONN, "/room", True, Raw(b"{}"), Raw(b'{"name":"n"}'), ["admin"]),
            e.SocketInfo("ff" * 16, "/", True, protocol="connect"),
        ],
    ),
    "log": (e.Log("warn", "line"), None),
    "now": (e.Now(), 1_700_000_000_000),
    "random": (e.Random(4), b"\x01\x02\x03\x04"),
    "random_long": (e.Random(1024), LONG),
    "sleep": (e.Sleep(), None),
    "destroy": (e.Destroy(), None),
    "keep_awake": (e.KeepAwake(2, 1), None),
    "timer": (e.Timer(250), e.TimerStarted(1)),
    "timer_cancel": (e.TimerCancel(1), True),
    "fetch": (e.Fetch("https://api.example.com/x?y=1"), e.CallStarted(2)),
    "fetch_post": (
        e.Fetch("https://api.example.com/", "POST", [("content-type", "text/plain")], b"body", "manual", 5_000),
        e.CallStarted(3),
    ),
    "fetch_long": (e.Fetch("https://api.example.com/", "PUT", body=LONG), e.CallStarted(4)),
    "actor_call": (
        e.ActorCall("counter", ["a", ""], "getOrCreate", "increment", Raw(b"[1]"), Raw(b'{"n":1}'), timeout=5_000),
        e.CallStarted(5),
    ),
    "actor_call_by_id": (e.ActorCall(actor="0f" * 16, action="increment"), e.CallStarted(6)),
    "actor_call_create": (e.ActorCall("counter", ["b"], "create"), e.CallStarted(7)),
    "call_cancel": (e.CallCancel(5), True),
}

ERRORS: dict[str, e.CallError] = {
    "plain": e.CallError("guest", "unknown_connection", "this actor has no such connection"),
    "limit": e.CallError("limit", "exceeded", "too much", Raw(b'{"limit":"kv_key","used":3,"allowed":2}')),
}


def documents() -> dict[str, list[dict[str, Any]]]:
    json, framed = Codec("json"), Codec("framed")
    turns = {name: e.Turn(1, 1_700_000_000_000, [event]) for name, event in EVENTS.items()}
    return {
        "events.json": [
            {
                "name": name,
                "type": turn.events[0].__struct_config__.tag,
                "json": json.encode_turn(turn).decode(),
                "framed": framed.encode_turn(turn).hex(),
            }
            for name, turn in turns.items()
        ],
        "replies.json": [
            {
                "name": name,
                # a placeholder has no meaning in the codec json, so such a reply is framed only
                "json": None if buffers else msgspec.json.encode(reply).decode(),
                "framed": pack(msgspec.json.encode(reply), buffers).hex(),
            }
            for name, (reply, buffers) in REPLIES.items()
        ],
        "calls.json": [
            {
                "name": name,
                "call": call.__struct_config__.tag,
                "request": _both(encode_struct(call, framed=False), encode_struct(call, framed=True)),
                "answer": _both(json.encode_ok(ok), framed.encode_ok(ok)),
            }
            for name, (call, ok) in CALLS.items()
        ],
        "errors.json": [
            {"name": name, **_both(json.encode_error(error), framed.encode_error(error))}
            for name, error in ERRORS.items()
        ],
    }


def render(document: list[dict[str, Any]]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _both(json: bytes, framed: bytes) -> dict[str, str]:
    return {"json": json.decode(), "framed": framed.hex()}


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for file, document in documents().items():
        (GOLDEN / file).write_text(render(document), encoding="utf-8")
