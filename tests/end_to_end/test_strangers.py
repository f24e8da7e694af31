"""What strangers say through a whole host: guests that name what is not theirs, forge errors and answer nonsense, and
clients whose frames are none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.relay import RELAY, call, reply

pytestmark = pytest.mark.anyio

WASM = "application/wasm"
OTHER = "?namespace=other"


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("relay", RELAY, WASM)
        answer = await host.http.post(f"/modules{OTHER}", content=RELAY, headers={"content-type": WASM})
        digest = answer.json()["digest"]
        answer = await host.http.put(f"/definitions/relay{OTHER}", json={"module": digest})
        assert answer.status_code == 200, answer.text
        yield host


async def foreign(host: TestHost, key: str) -> str:
    """An actor of the other tenant."""
    answer = await host.http.put(f"/actors{OTHER}", json={"name": "relay", "key": key})
    found: str = answer.json()["actor"]["actor_id"]
    return found


async def says(host: TestHost, actor: str, **fields: Any) -> Any:
    """The answer to a host call of the actor's."""
    return await host.call(actor, "any", call(msgspec.json.encode(fields).decode()))


def key_of(text: str) -> str:
    """For actors that are to fail: each has faults of its own."""
    return text.encode().hex()[-120:]


async def raw(host: TestHost, actor: str, text: str) -> Any:
    return await host.call(actor, "any", call(text))


async def conns(host: TestHost, actor: str) -> list[str]:
    return [each["conn"] for each in (await says(host, actor, call="socket_list"))["ok"]]


async def still_open(socket: ClientConnection) -> None:
    """Nothing has come but the answer to this."""
    await socket.send(call('{"call":"now"}'))
    await (await socket.ping())


ABOUT_SOCKETS: list[dict[str, Any]] = [
    {"call": "socket_send", "text": "forged"},
    {"call": "socket_send", "data": "Zm9yZ2Vk"},
    {"call": "socket_close"},
    {"call": "socket_close", "code": 4000, "reason": "forged"},
    {"call": "socket_set_state", "state": {"forged": True}},
    {"call": "socket_set_tags", "tags": ["forged"]},
]


async def test_a_foreign_connection_and_an_unknown_one_are_the_same_error(host: TestHost) -> None:
    mine, neighbour, stranger = await host.actor("relay", "a"), await host.actor("relay", "b"), await foreign(host, "c")
    async with host.socket(mine), host.socket(neighbour) as theirs, host.socket(stranger) as others:
        (own,), (near,), (far,) = [await conns(host, each) for each in (mine, neighbour, stranger)]
        unknown = near[::-1]
        assert len({own, near, far, unknown}) == 4
        for verb in ABOUT_SOCKETS:
            answers = [await says(host, mine, **verb, conn=conn) for conn in (unknown, near, far)]
            assert answers[0]["error"]["code"] == "unknown_connection"
            assert answers[1] == answers[2] == answers[0]
            assert near not in str(answers)
        for actor, socket in ((neighbour, theirs), (stranger, others)):
            await still_open(socket)
            (row,) = (await host.snapshot(actor))["connections"]
            assert "forged" not in str(row)
        listed = [await says(host, mine, call="socket_list", after=after) for after in ("", "0")]
        assert [[each["conn"] for each in page["ok"]] for page in listed] == [[own], [own]]
        assert (await says(host, mine, call="socket_list", tag="forged"))["ok"] == []
        assert (await says(host, mine, call="socket_set_tags", conn=own, tags=["a"])) == {"ok": None}


async def test_alarms_keys_and_state_are_looked_up_in_the_callers_own_tables(host: TestHost) -> None:
    mine, neighbour, stranger = await host.actor("relay", "d"), await host.actor("relay", "e"), await foreign(host, "d")
    assert "ok" in await says(host, mine, call="alarm_set", alarm="bell", after=3_600_000)
    await says(host, mine, call="kv_put", entries=[["YQ==", "Yg=="]])
    await says(host, mine, call="state_put", value={"secret": 1})
    for other in (neighbour, stranger):
        for name in ("bell", "no such"):
            assert await says(host, other, call="alarm_cancel", alarm=name) == {"ok": False}
        assert await says(host, other, call="alarm_list") == {"ok": []}
        assert await says(host, other, call="kv_get", keys=["YQ=="]) == {"ok": [None]}
        assert await says(host, other, call="kv_list") == {"ok": []}
        assert await says(host, other, call="state_get") == {"ok": None}
    assert [each["alarm"] for each in (await says(host, mine, call="alarm_list"))["ok"]] == ["bell"]


@pytest.mark.parametrize("field", ["actor", "actor_id", "tenant", "namespace", "generation", "epoch"])
async def test_a_host_call_that_names_an_actor_is_no_call(host: TestHost, field: str) -> None:
    mine, victim = await host.actor("relay", "f"), await foreign(host, "f")
    for text in ('"call":"kv_get","keys":["YQ=="]', '"call":"state_get"', '"call":"socket_list"'):
        assert await raw(host, mine, f'{{{text},"{field}":"{victim}"}}') == -1


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", '{"call":1}', '{"call":"kv_get"}', '{"call":"kv_get","keys":[1]}',
        '{"call":"kv_get","keys":["YR=="]}x', '{"call":"kv_get","keys":["Y"]}', '{"call":"kv_get","keys":[{"$bin":0}]}',
        '{"call":"now"}{"call":"now"}', '{"call":"log","level":"fatal","message":""}', '{"call":"log","level":"info"}',
        '{"call":"socket_send","conn":"a","text":"\\ud800"}', '{"call":"timer","after":1e400}',
        '{"call":"timer","after":NaN}', '{"call":"timer","after":' + "9" * 5_000 + "}",
        '{"call":"state_put","value":' + "[" * 40 + "]" * 40 + "}", '{"call":"kv_list","limit":1.5}',
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
async def test_a_host_call_that_is_none_gets_a_number_and_the_actor_goes_on(host: TestHost, text: str) -> None:
    actor = await host.actor("relay", "malformed")
    assert await raw(host, actor, text) == -1
    assert "ok" in await raw(host, actor, '{"call":"now"}')


@pytest.mark.parametrize("group", ["internal", "auth", "actor", "guest", "limit", "storage", "node", "", "User"])
async def test_an_error_of_another_group_is_masked(host: TestHost, group: str) -> None:
    actor = await host.actor("relay", "forger")
    text = f'"error":{{"group":"{group}","code":"forbidden","message":"forged","metadata":{{"limit":"memory"}}}}'
    answer = await host.try_call(actor, "any", reply(text))
    error = refused(answer, 500, "internal/internal_error")
    assert "forged" not in answer.text
    assert "metadata" not in error


async def test_a_user_error_is_confined_in_its_code_and_its_size(host: TestHost) -> None:
    actor = await host.actor("relay", "user")
    odd = '"error":{"group":"user","code":"a\\n\\u001b[31m b","message":"why"}'
    with capture_logs() as lines:
        error = refused(await host.try_call(actor, "any", reply(odd)), 400, "user/user_error")
    assert error["message"] == "why"
    assert any("is not 1 to 64 of" in str(line.get("detail")) for line in lines)
    large = '"error":{"group":"user","code":"a","message":"why","metadata":"' + "x" * 20_000 + '"}'
    error = refused(await host.try_call(actor, "any", reply(large)), 400, "message/outgoing_too_long")
    assert error["metadata"] == {"limit": "error_metadata", "used": 20_002, "allowed": 16_384}
    assert host.node.metrics.counter("limits", "error_metadata") >= 1
    long = '"error":{"group":"user","code":"a","message":"' + "x" * 50_000 + '"}'
    error = refused(await host.try_call(actor, "any", reply(long)), 400, "user/a")
    assert len(error["message"]) == 4_096
    bad = '"error":{"group":"user","code":"a","message":"","metadata":["$BigInt","x"]}'
    refused(await host.try_call(actor, "any", reply(bad)), 500, "guest/bad_reply")
    assert "user/a\n" not in host.node.metrics.render()


@pytest.mark.parametrize(
    "text",
    [
        '"result":1,"error":{"group":"user","code":"a","message":"b"}', '"result":nul', '"result":"\\ud800"',
        '"result":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]', '"result":["$Nope",1]',
        '"result":1}],"pending":0,"settled":[{"event":1', '"result":1},{"event":1', '"result":1},{"event":99',
        '"result":1e999', '"error":{"group":"user","code":"a"}', '"error":[]',
        '"error":{"group":1,"code":"a","message":""}',
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
async def test_a_reply_that_is_none_ends_the_isolate_and_the_actor_comes_back(host: TestHost, text: str) -> None:
    actor = await host.actor("relay", key_of(text))
    refused(await host.try_call(actor, "any", reply(text)), 500, "guest/bad_reply")
    assert "ok" in await raw(host, actor, '{"call":"now"}')


async def answer_with(host: TestHost, key: str, result: str) -> Any:
    """The HTTP answer that the guest's result becomes."""
    actor = await host.actor("relay", key)
    return await host.http.post(f"/gateway/{actor}/request/", headers={"x-marked": reply(f'"result":{result}')})


async def test_headers_of_an_answer_are_lines_of_its_own(host: TestHost) -> None:
    given = '[["X-A","1"],["Set-Cookie","a=b"],["Content-Length","999"],["Transfer-Encoding","chunked"],'
    given += '["Connection","close"],["Service-Worker-Allowed","/"],["Clear-Site-Data","*"],["Upgrade","h2c"],'
    given += '["x-rivet-actor","x"]]'
    answer = await answer_with(host, "headers", f'{{"headers":{given},"body":"aGk="}}')
    assert (answer.status_code, answer.content, answer.headers["x-a"]) == (200, b"hi", "1")
    assert answer.headers["content-length"] == "2"
    assert answer.headers["x-rivet-actor"] != "x"
    gone = {"set-cookie", "transfer-encoding", "clear-site-data", "service-worker-allowed", "upgrade"}
    assert not gone & set(answer.headers)


@pytest.mark.parametrize(
    "result",
    ['{"status":100}', '{"status":101}', '{"status":199}', '{"status":600}', '{"status":-1}', '{"status":2e2}',
     '{"headers":[["x","a\\r\\nb: c"]]}', '{"headers":[["x\\r\\n","a"]]}', '{"headers":[["","a"]]}',
     '{"headers":[["x","\\u0000"]]}', '{"headers":[["x","\\u010d\\u010aset-cookie: a"]]}', '{"body":"a"}', '"text"'],
)  # fmt: skip
async def test_an_answer_that_http_cannot_carry_is_never_sent(host: TestHost, result: str) -> None:
    refused(await answer_with(host, key_of(result), result), 500, "guest/bad_reply")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_is_sent_without_one(host: TestHost, status: int) -> None:
    result = f'{{"status":{status},"headers":[["content-length","2"]],"body":"aGk="}}'
    answer = await answer_with(host, "bodiless", result)
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(
    ("limit", "headers", "used"),
    [
        ("headers", ",".join(['["a",""]'] * 129), 129),
        ("header_bytes", ",".join(f'["{"n" * 200}","{"v" * 500}"]' for _ in range(50)), 35_000),
    ],
)
async def test_headers_over_a_limit_are_refused_with_it(host: TestHost, limit: str, headers: str, used: int) -> None:
    answer = await answer_with(host, limit, f'{{"headers":[{headers}]}}')
    error = refused(answer, 400, "message/outgoing_too_long")
    assert (error["metadata"]["limit"], error["metadata"]["used"]) == (limit, used)
    assert host.node.metrics.counter("limits", limit) >= 1
    actor = await host.actor("relay", limit)
    assert "ok" in await raw(host, actor, '{"call":"now"}')


CODES = [-1, 0, 999, 1001, 1004, 1005, 1006, 1009, 1011, 1015, 1016, 2999, 5000, 65_536, 2**40]


async def test_a_close_of_a_guest_has_a_code_and_a_reason_that_a_frame_can_carry(host: TestHost) -> None:
    actor = await host.actor("relay", "closes")
    async with host.socket(actor) as socket:
        (conn,) = await conns(host, actor)
        for code in CODES:
            error = (await says(host, actor, call="socket_close", conn=conn, code=code))["error"]
            assert (error["group"], error["code"]) == ("request", "invalid")
        error = (await says(host, actor, call="socket_close", conn=conn, reason="\u00e9" * 62))["error"]
        assert error["metadata"] == {"limit": "close_reason", "used": 124, "allowed": 123}
        assert await raw(host, actor, f'{{"call":"socket_close","conn":"{conn}","reason":"\\ud800"}}') == -1
        await still_open(socket)
    for code, reason in ((1000, ""), (3000, "a\u0000b"), (4999, "\u00e9" * 61 + "x")):
        async with host.socket(actor) as socket:
            (conn,) = await conns(host, actor)
            assert await says(host, actor, call="socket_close", conn=conn, code=code, reason=reason) == {"ok": None}
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
        with anyio.fail_after(5):
            while await conns(host, actor):
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"error":{"group":"user","code":"not_you","message":""}', "user.not_you"),
        ('"error":{"group":"user","code":"a\\n' + "b" * 300 + '","message":""}', "user.user_error"),
        ('"error":{"group":"auth","code":"forbidden","message":""}', "internal.internal_error"),
    ],
)
async def test_an_open_that_a_guest_refuses_closes_with_a_code_of_the_table(
    host: TestHost, text: str, reason: str
) -> None:
    actor = await host.actor("relay", "opens")
    async with host.socket(actor, additional_headers={"x-request-id": reply(text)}) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason.split("#")[0] == reason


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"ok \xf4\x90\x80\x80", b"cut \xe2\x82"])
async def test_a_text_frame_that_is_no_utf8_closes_its_socket_alone(host: TestHost, data: bytes) -> None:
    actor = await host.actor("relay", "utf8")
    async with host.socket(actor) as other:
        async with host.socket(actor) as socket:
            socket.protocol.send_text(data)
            socket.transport.write(b"".join(socket.protocol.data_to_send()))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1007
        await still_open(other)
        with anyio.fail_after(5):
            while len(await conns(host, actor)) != 1:
                await anyio.lowlevel.checkpoint()


async def test_what_a_guest_logs_is_bounded_and_the_log_says_so_once(host: TestHost) -> None:
    actor = await host.actor("relay", "logs")
    line = call('{"call":"log","level":"info","message":"' + "x" * 16_000 + '"}')
    before = host.node.metrics.counter("log_lines_dropped", "log_minute")
    with capture_logs() as lines:
        for _ in range(80):
            await host.call(actor, "any", line)
    mine = [each for each in lines if each.get("actor_id") == actor]
    written = [each for each in mine if each["event"] == "guest log"]
    notes = [each for each in mine if each["event"] == "guest log lines dropped"]
    dropped = host.node.metrics.counter("log_lines_dropped", "log_minute") - before
    assert len(written) + dropped == 80
    assert len(written) <= 2 * 66  # a minute may end in the middle
    if dropped:
        assert 1 <= len(notes) <= 2
        assert notes[0]["lines"] >= 1


async def test_what_a_guest_logged_before_a_fault_is_in_the_log(host: TestHost) -> None:
    actor = await host.actor("relay", "last words")
    marked = call('{"call":"log","level":"error","message":"here"}') + reply('"result":nul')
    with capture_logs() as lines:
        await host.try_call(actor, "any", marked)
    assert [each["text"] for each in lines if each["event"] == "guest log"] == ["here"]
