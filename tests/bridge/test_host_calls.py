"""Every host call: what it does, and what it does with hostile requests. A test fails if a call has no such test."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw, Struct

from host.bridge import envelopes as e
from host.bridge.host_calls import HOST_CALLS, HostCall
from host.model.calls import FetchCall, PeerCall
from host.model.definitions import CAPABILITIES, Manifest
from host.model.effects import (
    DeferredTimer,
    KvDelete,
    KvDeleteRange,
    KvPut,
    LogLine,
    SendClose,
    SendFrame,
    TurnEffects,
)
from host.model.records import AlarmRow, ConnectionRow
from host.model.tunnel import SocketProtocol
from tests.bridge.golden import CALLS
from tests.bridge.support import Guest, session
from tests.capabilities.support import FakeReader

NOW = 1_700_000_000_000
URL = "https://api.example.com/"
NAMES = [row.name for row in HOST_CALLS]

# Requests that are no call at all, by call: each is answered with -1.
MALFORMED: dict[str, list[str]] = {
    "kv_get": ["", '"keys":"YQ=="', '"keys":["Y"]', '"keys":[null]', '"keys":[],"more":1'],
    "kv_put": ["", '"entries":[["YQ=="]]', '"entries":[["YQ==","YQ==","YQ=="]]', '"entries":{"YQ==":"YQ=="}'],
    "kv_delete": ["", '"keys":[1]', '"keys":[["YQ=="]]', '"keys":["\xff"]'],
    "kv_list": ['"prefix":null', '"limit":1.5', '"limit":"1"', '"reverse":1', '"limit":' + "9" * 5000],
    "kv_delete_range": ["", '"start":"YQ=="', '"start":"YQ==","end":null'],
    "state_get": ['"value":1'],
    "state_put": ["", '"value":', '"value":NaN', '"value":"\\ud800"', '"value":' + "[" * 32 + "]" * 32],
    "alarm_set": ["", '"alarm":1,"at":1', '"alarm":"a","at":1.5', '"alarm":"a","at":"1"', '"alarm":"a","at":1e999'],
    "alarm_cancel": ["", '"alarm":null', '"alarm":["a"]'],
    "alarm_list": ['"limit":1'],
    "cron_set": [
        "",
        '"cron":"a"',
        '"cron":"a","action":1,"interval":9000',
        '"cron":"a","action":"b","interval":9000.5',
        '"cron":"a","action":"b","interval":"9000"',
        '"cron":"a","action":"b","expression":null',
        '"cron":"a","action":"b","expression":"* * * * *","args":NaN',
        '"cron":"a","action":"b","expression":"* * * * *","timezone":"UTC"',
    ],
    "cron_delete": ["", '"cron":1', '"cron":["a"]'],
    "cron_list": ['"cron":"a"'],
    "cron_history": ["", '"cron":"a","limit":1.5', '"cron":"a","limit":null'],
    "socket_send": ["", '"conn":1,"text":"x"', '"conn":"c","text":1', '"conn":"c","text":"\\udc00"', '"text":"x"'],
    "socket_close": ["", '"conn":"c","code":"1000"', '"conn":"c","reason":null', '"conn":"c","code":1e3000'],
    "event_send": ["", '"conn":"c","name":"e"', '"conn":"c","name":1,"args":[]', '"conn":"c","name":"e","args":'],
    "event_broadcast": ["", '"name":"e"', '"name":"e","args":[],"conn":"c"', '"name":"\\udc00","args":[]'],
    "socket_set_state": ["", '"conn":"c"', '"conn":"c","state":tru'],
    "socket_set_tags": ["", '"conn":"c","tags":"x"', '"conn":"c","tags":[1]'],
    "socket_list": ['"after":1', '"limit":null', '"tag":["x"]'],
    "log": ["", '"level":"fatal","message":"x"', '"level":"info"', '"level":"info","message":1'],
    "now": ['"then":1'],
    "random": ["", '"len":"4"', '"len":4.5', '"len":null'],
    "sleep": ['"now":true'],
    "destroy": ['"actor":"00112233445566778899aabbccddeeff"', '"now":true'],
    "keep_awake": ["", '"awake":1', '"awake":1,"wait":null', '"awake":1.5,"wait":0', '"awake":"1","wait":0'],
    "timer": ["", '"after":"1"', '"after":0.5', '"after":null'],
    "timer_cancel": ["", '"timer":"1"', '"timer":1.5', '"timer":null', '"call":1'],
    "fetch": [
        "",
        '"url":1',
        '"url":"https://a.example/","headers":[["a"]]',
        '"url":"https://a.example/","headers":{"a":"b"}',
        '"url":"https://a.example/","body":"Y"',
        '"url":"https://a.example/","redirect":"error "',
        '"url":"https://a.example/","timeout":"1"',
        '"url":"https://a.example/","caller":"b"',
    ],
    "actor_call": [
        '"name":1',
        '"key":"k"',
        '"key":[1]',
        '"method":"getorcreate"',
        '"name":"a","action":1',
        '"name":"a","action":"x","args":',
        '"name":"a","tenant":"other"',
        '"name":"a","caller":"00112233445566778899aabbccddeeff"',
        '"name":"a","depth":0',
    ],
    "call_cancel": ["", '"which":"1"', '"which":1.5', '"which":[1]'],
}

# Well-formed requests that the capability refuses, by call, with the error's name. Every call that can refuse has some.
REFUSED: dict[str, list[tuple[Struct, str]]] = {
    "kv_get": [(e.KvGet([b""]), "request/invalid"), (e.KvGet([b"k"] * 129), "limit/exceeded")],
    "kv_put": [(e.KvPut([(b"k", bytes(131_073))]), "limit/exceeded"), (e.KvPut([(b"", b"")]), "request/invalid")],
    "kv_delete": [(e.KvDelete([bytes(2049)]), "limit/exceeded")],
    "kv_list": [(e.KvList(limit=1001), "limit/exceeded"), (e.KvList(b"a", b"a"), "request/invalid")],
    "kv_delete_range": [(e.KvDeleteRange(bytes(2049), b""), "limit/exceeded")],
    "state_put": [(e.StatePut(Raw(b'"' + b"x" * 2**20 + b'"')), "limit/exceeded")],
    "alarm_set": [
        (e.AlarmSet("a"), "request/invalid"),
        (e.AlarmSet("a", at=1, after=1), "request/invalid"),
        (e.AlarmSet("a", at=0), "request/invalid"),
        (e.AlarmSet("a", after=2**53), "request/invalid"),
        (e.AlarmSet("a", at=10**18), "request/invalid"),
        (e.AlarmSet("", at=1), "request/invalid"),
        (e.AlarmSet("$cron:a", at=1), "request/invalid"),
        (e.AlarmSet("a" * 129, at=1), "limit/exceeded"),
    ],
    "alarm_cancel": [
        (e.AlarmCancel(""), "request/invalid"),
        (e.AlarmCancel("$cron:a"), "request/invalid"),
    ],
    "cron_set": [
        (e.CronSet("", "b", interval=9_000), "request/invalid"),
        (e.CronSet("a" * 121, "b", interval=9_000), "limit/exceeded"),
        (e.CronSet("a", "", interval=9_000), "request/invalid"),
        (e.CronSet("a", "b" * 121, interval=9_000), "limit/exceeded"),
        (e.CronSet("a", "b"), "request/invalid"),
        (e.CronSet("a", "b", expression="* * * * *", interval=9_000), "request/invalid"),
        (e.CronSet("a", "b", interval=9_000, time_zone="UTC"), "request/invalid"),
        (e.CronSet("a", "b", interval=4_999), "limit/exceeded"),
        (e.CronSet("a", "b", interval=0), "request/invalid"),
        (e.CronSet("a", "b", interval=-5), "request/invalid"),
        (e.CronSet("a", "b", interval=2**53), "request/invalid"),
        (e.CronSet("a", "b", interval=2**53 - 1), "request/invalid"),
        (e.CronSet("a", "b", interval=10**30), "request/invalid"),
        (e.CronSet("a", "b", interval=9_000, history=-1), "request/invalid"),
        (e.CronSet("a", "b", interval=9_000, history=101), "limit/exceeded"),
        (e.CronSet("a", "b", interval=9_000, args=Raw(b'"' + b"x" * 16_384 + b'"')), "limit/exceeded"),
        (e.CronSet("a", "b", expression="* * * *"), "request/invalid"),
        (e.CronSet("a", "b", expression="0 0 30 2 *"), "request/invalid"),
        (e.CronSet("a", "b", expression="0 0 */20 * 1L"), "request/invalid"),
        (e.CronSet("a", "b", expression="* * * * *", time_zone="Mars/Base"), "request/invalid"),
        (e.CronSet("a", "b", expression="* * * * *", time_zone="../../../etc/passwd"), "request/invalid"),
        (e.CronSet("a", "b", expression=", ".join(["1"] * 50_000)), "request/invalid"),
    ],
    "cron_delete": [(e.CronDelete(""), "request/invalid"), (e.CronDelete("a" * 121), "limit/exceeded")],
    "cron_history": [(e.CronHistory(""), "request/invalid"), (e.CronHistory("a", limit=0), "request/invalid")],
    "socket_send": [
        (e.SocketSend("conn"), "request/invalid"),
        (e.SocketSend("conn", text="x", data=b"x"), "request/invalid"),
        (e.SocketSend("other", text="x"), "guest/unknown_connection"),
        (e.SocketSend("conn", data=bytes(2**20 + 1)), "message/outgoing_too_long"),
        (e.SocketSend("conn", text="é" * (2**19 + 1)), "message/outgoing_too_long"),
    ],
    "socket_close": [
        (e.SocketClose("other"), "guest/unknown_connection"),
        (e.SocketClose("conn", 1001), "request/invalid"),
        (e.SocketClose("conn", reason="x" * 124), "limit/exceeded"),
    ],
    "event_send": [
        (e.EventSend("conn", "e", Raw(b"[]")), "request/invalid"),
        (e.EventSend("other", "e", Raw(b"[]")), "guest/unknown_connection"),
        (e.EventSend("talk", "e", Raw(b"{}")), "request/invalid"),
        (e.EventSend("talk", "e", Raw(b'[["$Nothing",1]]')), "request/invalid"),
        (e.EventSend("talk", "e" * 257, Raw(b"[]")), "limit/exceeded"),
        (e.EventSend("talk", "e", Raw(b'["' + b"x" * 2**20 + b'"]')), "message/outgoing_too_long"),
    ],
    "event_broadcast": [
        (e.EventBroadcast("e", Raw(b"1")), "request/invalid"),
        (e.EventBroadcast("e", Raw(b'["$Set",[1]]')), "request/invalid"),
        (e.EventBroadcast("e", Raw(b'[["$BigInt",1]]')), "request/invalid"),
        (e.EventBroadcast("e" * 257, Raw(b"[]")), "limit/exceeded"),
        (e.EventBroadcast("e", Raw(b'["' + b"x" * 2**20 + b'"]')), "message/outgoing_too_long"),
    ],
    "socket_set_state": [
        (e.SocketSetState("other", Raw(b"1")), "guest/unknown_connection"),
        (e.SocketSetState("conn", Raw(b'"' + b"x" * 16_383 + b'"')), "limit/exceeded"),
    ],
    "socket_set_tags": [
        (e.SocketSetTags("other", []), "guest/unknown_connection"),
        (e.SocketSetTags("conn", [str(at) for at in range(11)]), "limit/exceeded"),
    ],
    "socket_list": [(e.SocketList(limit=257), "limit/exceeded"), (e.SocketList(limit=0), "request/invalid")],
    "keep_awake": [(e.KeepAwake(-1, 0), "request/invalid"), (e.KeepAwake(0, 2**31), "request/invalid")],
    "random": [
        (e.Random(0), "request/invalid"),
        (e.Random(65_537), "request/invalid"),
        (e.Random(-1), "request/invalid"),
    ],
    "timer": [(e.Timer(-1), "request/invalid"), (e.Timer(2**31), "request/invalid")],
    "fetch": [
        (e.Fetch(URL, headers=[("a", "b")] * 129), "message/outgoing_too_long"),
        (e.Fetch(URL, headers=[("a", "b" * 16_000)] * 3), "message/outgoing_too_long"),
        (e.Fetch(URL, timeout=60_001), "limit/exceeded"),
        (e.Fetch(URL, timeout=0), "request/invalid"),
        (e.Fetch(URL, headers=[("a b", "c")]), "request/invalid"),
        (e.Fetch(URL, headers=[("a", "b\r\nhost: c")]), "request/invalid"),
        (e.Fetch(URL, headers=[("a:", "b")]), "request/invalid"),
        (e.Fetch(URL, "GET /x HTTP/1.1\r\n"), "request/invalid"),
        (e.Fetch(URL, ""), "request/invalid"),
    ],
    "actor_call": [
        (e.ActorCall("a", action="x", args=Raw(b'["' + b"x" * 2**20 + b'"]')), "message/outgoing_too_long"),
        (e.ActorCall("a", action="x", args=Raw(b"1")), "request/invalid"),
        (e.ActorCall("a", action="x", args=Raw(b'["$BigInt",["x"]]')), "request/invalid"),
        (e.ActorCall("a", ["k" * 129], action="x"), "actor/key_too_large"),
        (e.ActorCall("a", ["k"] * 600, action="x"), "actor/key_too_large"),
        (e.ActorCall("a", method="create", input=Raw(b'["$Nothing",1]')), "request/invalid"),
        (e.ActorCall("a" * 257, action="x"), "request/invalid"),
        (e.ActorCall("a", action="x" * 257), "request/invalid"),
        (e.ActorCall(action="x", actor="0" * 257), "request/invalid"),
        (e.ActorCall("a", action="x", actor="0f" * 16), "request/invalid"),
        (e.ActorCall(key=["k"], action="x", actor="0f" * 16), "request/invalid"),
        (e.ActorCall(method="create", actor="0f" * 16), "request/invalid"),
        (e.ActorCall("a", action="x", timeout=60_001), "limit/exceeded"),
        (e.ActorCall("a", action="x", timeout=-1), "request/invalid"),
    ],
}


def connect_row(conn: str, protocol: SocketProtocol, *subscriptions: str) -> ConnectionRow:
    return ConnectionRow(conn, "g", "r", 1, 0, "/", NOW, NOW, subscriptions=subscriptions, protocol=protocol)


@pytest.fixture(params=[False, True], ids=["json", "framed"])
def guest(request: pytest.FixtureRequest) -> Guest:
    reader = FakeReader({b"old": b"row", b"big": bytes(2000)})
    guest = session("conn", framed=request.param, reader=reader, now_ms=NOW)
    guest.calls.state.add_connection(connect_row("talk", "bare", "e"))
    return guest


def effects(guest: Guest) -> TurnEffects:
    return guest.calls.end_turn()


@pytest.mark.parametrize("row", HOST_CALLS, ids=NAMES)
def test_every_call_has_a_struct_a_golden_vector_and_hostile_tests(row: HostCall) -> None:
    assert row in HOST_CALLS
    name = row.name
    assert issubclass(row.struct, Struct)
    assert row.struct.__struct_config__.tag_field == "call"
    assert row.struct.__struct_config__.forbid_unknown_fields
    assert any(call.__struct_config__.tag == name for call, _ in CALLS.values()), "no golden vector"
    assert MALFORMED.get(name), "no hostile test"


def test_the_table_is_the_union_of_calls() -> None:
    assert {row.struct for row in HOST_CALLS} == set(e.Call.__args__)
    assert len(NAMES) == len(set(NAMES))
    assert {row.capability for row in HOST_CALLS} == CAPABILITIES | {None}
    assert set(MALFORMED) == set(NAMES)
    assert set(REFUSED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_malformed_requests_are_answered_with_a_number(guest: Guest, name: str) -> None:
    for fields in MALFORMED[name]:
        body = b'{"call":"%s"%s}' % (name.encode(), (fields and "," + fields).encode("latin-1"))
        request = len(body).to_bytes(4, "little") + body if guest.framed else body
        assert guest.calls.host_call(request) == -1, fields
    assert effects(guest) == TurnEffects()


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_answers_that_change_nothing(guest: Guest, name: str) -> None:
    for call, error in REFUSED[name]:
        found = guest.error(call)
        assert f"{found['group']}/{found['code']}" == error
        assert found["message"]
        if found["group"] == "limit":
            assert set(found["metadata"]) == {"limit", "used", "allowed"}
    if name != "state_put":
        left = effects(guest)
        assert left == TurnEffects(refused=left.refused)


@pytest.mark.parametrize("row", HOST_CALLS, ids=NAMES)
def test_a_call_needs_its_capability_and_no_other(row: HostCall) -> None:
    name, capability = row.name, row.capability
    call = next(call for call, _ in CALLS.values() if call.__struct_config__.tag == name)
    others = Manifest(1, "framed", (*(CAPABILITIES - {capability}), "root"))
    just_it = Manifest(1, "framed", (capability,) if capability else ())
    answer = session("00112233445566778899aabbccddeeff", manifest=others).raw(call)
    assert answer == -2 if capability else isinstance(answer, bytes)
    assert isinstance(session("00112233445566778899aabbccddeeff", manifest=just_it).raw(call), bytes)


@pytest.mark.parametrize("name", ["queue_take", "nonsense"])
def test_calls_of_a_later_abi_are_not_granted(guest: Guest, name: str) -> None:
    body = b'{"call":"%s","x":1}' % name.encode()
    assert guest.calls.host_call(len(body).to_bytes(4, "little") + body if guest.framed else body) == -2


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"call":1}', b'{"call":null}', b"\xff", b'{"calls":"now"}']
)
def test_what_names_no_call_is_malformed(guest: Guest, body: bytes) -> None:
    assert guest.calls.host_call(len(body).to_bytes(4, "little") + body if guest.framed else body) == -1


# --- what each does ---------------------------------------------------------------------------------------------------


def test_kv_reads_rows_and_its_own_writes(guest: Guest) -> None:
    assert guest.ok(e.KvGet([b"old", b"none", b"big"])) == [b"row", None, bytes(2000)]
    assert guest.ok(e.KvPut([(b"new", bytes(1500)), (b"old", b"2")])) is None
    assert guest.ok(e.KvGet([b"new", b"old"])) == [bytes(1500), b"2"]
    assert guest.ok(e.KvDelete([b"old"])) is None
    assert guest.ok(e.KvList()) == [(b"big", bytes(2000)), (b"new", bytes(1500))]
    assert guest.ok(e.KvList(prefix=b"n", limit=1)) == [(b"new", bytes(1500))]
    assert guest.ok(e.KvList(start=b"b", end=b"c", reverse=True)) == [(b"big", bytes(2000))]
    assert guest.ok(e.KvDeleteRange(b"a", b"c")) is None
    assert guest.ok(e.KvList(reverse=True)) == [(b"new", bytes(1500))]
    ops = (KvPut(b"new", bytes(1500)), KvPut(b"old", b"2"), KvDelete(b"old"), KvDeleteRange(b"a", b"c"))
    assert effects(guest).kv == ops


def test_state_is_null_until_it_is_put(guest: Guest) -> None:
    assert bytes(guest.ok(e.StateGet())) == b"null"
    assert guest.ok(e.StatePut(Raw(b'{"a":["$Map",[]]}'))) is None
    assert bytes(guest.ok(e.StateGet())) == b'{"a":["$Map",[]]}'
    assert effects(guest).state == b'{"a":["$Map",[]]}'


def test_alarms_are_set_listed_and_cancelled(guest: Guest) -> None:
    assert guest.ok(e.AlarmSet("b", after=5, payload=Raw(b'{"x":1}'))) == e.AlarmTime("b", NOW + 5)
    assert guest.ok(e.AlarmSet("a", at=7)) == e.AlarmTime("a", 7)
    listed = guest.ok(e.AlarmList())
    assert [(info.alarm, info.at, bytes(info.payload)) for info in listed] == [
        ("a", 7, b"null"),
        ("b", NOW + 5, b'{"x":1}'),
    ]
    assert guest.ok(e.AlarmCancel("a")) is True
    assert guest.ok(e.AlarmCancel("a")) is False
    assert effects(guest).alarms == {"a": None, "b": AlarmRow("b", NOW + 5, NOW + 5, 1, b'{"x":1}')}


def test_events_go_to_one_connection_or_to_all_that_are_subscribed_encoded_once_each(guest: Guest) -> None:
    state = guest.calls.state
    for conn, protocol in (("b2", "bare"), ("c", "cbor"), ("j", "json")):
        state.add_connection(connect_row(conn, protocol, "e", "f"))  # type: ignore[arg-type]
    assert guest.ok(e.EventBroadcast("nobody", Raw(b"[]"))) == 0
    assert guest.ok(e.EventSend("j", "any", Raw(b"[1]"))) is None
    assert guest.ok(e.SocketClose("c")) is None
    assert guest.ok(e.EventBroadcast("e", Raw(b'["x"]'))) == 3
    state.subscribe("b2", "e", False)
    state.subscribe("j", "e", False)
    assert guest.ok(e.EventBroadcast("e", Raw(b"[]"))) == 1
    state.remove_connection("talk")
    assert guest.ok(e.EventBroadcast("e", Raw(b"[]"))) == 0
    assert set(state.subscribers) == {"f", "e"}  # c is closed, and its row is there still
    found = effects(guest).outputs
    assert [output.conn for output in found] == ["j", "c", "talk", "b2", "j", "talk"]
    frames = [output.data for output in found if isinstance(output, SendFrame)]
    assert frames[0] == '{"body":{"tag":"Event","val":{"name":"any","args":[1]}}}'
    assert frames[1] is frames[2]  # bare, once for both
    assert frames[3] == '{"body":{"tag":"Event","val":{"name":"e","args":["x"]}}}'


def test_what_a_broadcast_would_cost_is_looked_at_before_a_frame_is_made(guest: Guest) -> None:
    for number in range(200):
        guest.calls.state.add_connection(connect_row(f"j{number}", "json", "e"))
    calls, told = 0, 0
    while told < 200_000:
        answer = guest.raw(e.EventBroadcast("e", Raw(b"[]")))
        assert isinstance(answer, bytes)
        if b"error" in answer:
            assert b'"limit":"effects"' in answer
            break
        calls, told = calls + 1, told + 201
    assert 400 < calls < 700
    assert effects(guest).size <= 8 * 1024 * 1024


def test_sockets_send_attach_and_close(guest: Guest) -> None:
    assert guest.ok(e.SocketSend("conn", text="é")) is None
    assert guest.ok(e.SocketSend("conn", data=bytes(1024))) is None
    assert guest.ok(e.SocketSetState("conn", Raw(b"[1]"))) is None
    assert guest.ok(e.SocketSetTags("conn", ["x"])) is None
    (info,) = guest.ok(e.SocketList(tag="x"))
    assert (info.conn, info.path, info.hibernatable, bytes(info.state), info.tags) == ("conn", "/", True, b"[1]", ["x"])
    assert guest.ok(e.SocketClose("conn", 3000, "bye")) is None
    (talk,) = guest.ok(e.SocketList())
    assert (talk.conn, talk.protocol) == ("talk", "connect")
    assert guest.error(e.SocketSend("conn", text="late"))["code"] == "connection_closed"
    found = effects(guest)
    assert found.outputs == (SendFrame("conn", "é"), SendFrame("conn", bytes(1024)), SendClose("conn", 3000, "bye"))
    assert found.connections == {"conn": (b"[1]", ("x",))}


def test_log_now_random_sleep_and_timer(guest: Guest) -> None:
    assert guest.ok(e.Log("warn", "line")) is None
    guest.calls.guest_log("error", "written")
    assert guest.ok(e.Now()) == NOW == guest.calls.now_ms
    first, second = guest.ok(e.Random(2000)), guest.calls.random(2000)
    assert len(first) == len(second) == 2000
    assert first != second
    assert guest.ok(e.Timer(250)) == e.TimerStarted(1)
    assert guest.ok(e.Timer(0)) == e.TimerStarted(2)
    assert guest.ok(e.Timer(9)) == e.TimerStarted(3)
    assert [guest.ok(e.TimerCancel(call)) for call in (3, 3, -1, 2**62)] == [True, False, False, False]
    assert guest.ok(e.Sleep()) is None
    assert guest.ok(e.Destroy()) is None
    assert guest.ok(e.KeepAwake(1, 1)) is None
    assert guest.ok(e.KeepAwake(2, 0)) is None
    found = effects(guest)
    assert found.logs == (LogLine("warn", "line"), LogLine("error", "written"))
    assert found.timers == (DeferredTimer(1, 250), DeferredTimer(2, 0))
    assert found.sleep
    assert found.destroy
    assert found.held == (2, 0)


def test_calls_are_recorded_with_ids_of_their_own(guest: Guest) -> None:
    assert guest.ok(e.Timer(1)) == e.TimerStarted(1)
    assert guest.ok(e.Fetch(URL, "PUT", [("a", "b")], bytes(2000), "manual", 5)) == e.CallStarted(2)
    peer = e.ActorCall("a", ["k"], "getOrCreate", "x", Raw(b"[1]"), Raw(b"2"))
    assert guest.ok(peer) == e.CallStarted(3)
    assert guest.ok(e.ActorCall("a", method="create")) == e.CallStarted(4)
    # Given up before it has begun; the others are no calls, or not outstanding.
    assert guest.ok(e.CallCancel(3)) is True
    assert [guest.ok(e.CallCancel(which)) for which in (1, 3, 5, -1)] == [False] * 4
    found = effects(guest)
    assert found.deferred == (
        FetchCall(2, URL, "PUT", (("a", "b"),), bytes(2000), "manual", 5),
        PeerCall(4, "a", (), "create", None, b"[]"),
    )
    assert found.cancelled == (3,)
    assert guest.calls.outstanding == 2


def test_what_is_recorded_does_not_hold_the_request(guest: Guest) -> None:
    guest.ok(e.StatePut(Raw(b"[1]")))
    assert type(effects(guest).state) is bytes


def test_a_line_of_one_budget_is_shared_by_both_doors() -> None:
    guest = session(log_turn=10)
    guest.ok(e.Log("info", "12345678"))
    guest.calls.guest_log("info", "x")
    found = effects(guest)
    assert len(found.logs) == found.logs_dropped == 1


def test_the_answer_of_a_call_is_what_the_table_says() -> None:
    for row in HOST_CALLS:
        msgspec.json.Decoder(row.ok)
