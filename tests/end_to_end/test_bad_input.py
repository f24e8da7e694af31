"""What callers and handlers do wrong: the event fails with its code, and nothing else does.

The guests that end their isolate are in `test_faults.py`, the modules that are refused in `test_bad_modules.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

HOSTILE = (Path(__file__).parent / "hostile.js").read_bytes()
MASKED = "An internal error occurred"


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("hostile", HOSTILE, limits={"handler_timeout": 400})
        yield host


async def test_an_unknown_definition_is_told(host: TestHost) -> None:
    answer = await host.http.put("/actors", json={"name": "nobody", "key": "k"})
    assert "nobody" in refused(answer, 404, "definition/not_found")["message"]
    refused(await host.http.get("/definitions/nobody"), 404, "definition/not_found")
    query = "/gateway/nobody/action/add?rvt-namespace=default&rvt-method=getOrCreate&rvt-key=k"
    refused(await host.http.post(query, json={"args": []}), 404, "definition/not_found")


@pytest.mark.parametrize("name", ["nothing-of-the-kind", "constructor", "__proto__", "onRequest"])
async def test_an_unknown_action_is_told(host: TestHost, name: str) -> None:
    actor = await host.actor("hostile", "unknown-action")
    error = refused(await host.try_call(actor, name), 404, "actor/action_not_found")
    assert name in error["message"]
    await host.call(actor, "add", 0)  # it runs now, so that the host knows its actions
    refused(await host.try_call(actor, name), 404, "actor/action_not_found")


async def test_an_unknown_actor_is_told(host: TestHost) -> None:
    for actor in ("0" * 32, "not-an-id"):
        refused(await host.try_call(actor, "add", 1), 404, "actor/not_found")
    refused(await host.http.delete(f"/actors/{'0' * 32}"), 404, "actor/not_found")


async def test_a_user_error_keeps_its_code_its_message_and_its_metadata(host: TestHost) -> None:
    actor = await host.actor("hostile", "user")
    error = refused(await host.try_call(actor, "user"), 400, "user/not_allowed")
    assert error["message"] == "you may not"
    assert error["metadata"] == {"left": ["$BigInt", "3"], "why": ["x"]}
    error = refused(await host.http.get(f"/gateway/{actor}/request/user"), 400, "user/not_yours")
    assert error["message"] == "not for you"


@pytest.mark.parametrize(
    ("action", "secret"),
    [
        ("fails", "TypeError: secret of the action"),
        ("rejects", "a secret string"),
        ("forges", "secret forgery"),
        ("cyclic", "must not contain itself"),
        ("functionResult", "a function cannot be part of a value"),
        ("symbolResult", "a symbol cannot be part of a value"),
        ("deepResult", "nested deeper"),
    ],
)
async def test_any_other_failure_is_masked_and_the_log_has_it_under_the_ray_id(
    host: TestHost, action: str, secret: str
) -> None:
    actor = await host.actor("hostile", "masked")
    with capture_logs() as lines:
        answer = await host.try_call(actor, action)
    assert refused(answer, 500, "internal/internal_error")["message"] == MASKED
    ray = answer.headers["x-rivet-ray-id"]
    told = [line for line in lines if line.get("ray") == ray and secret in str(line.get("detail"))]
    assert [line["actor_id"] for line in told] == [actor]


async def test_a_request_handler_that_throws_or_answers_nothing_is_masked(host: TestHost) -> None:
    actor = await host.actor("hostile", "masked-request")
    for path in ("throw", "nothing"):
        with capture_logs() as lines:
            answer = await host.http.get(f"/gateway/{actor}/request/{path}")
        assert refused(answer, 500, "internal/internal_error")["message"] == MASKED
        assert any(line.get("ray") == answer.headers["x-rivet-ray-id"] and line.get("detail") for line in lines)


async def test_what_json_cannot_say_arrives_by_tags(host: TestHost) -> None:
    actor = await host.actor("hostile", "tags")
    assert await host.call(actor, "bigint") == {
        "big": ["$BigInt", "1180591620717411303424"],
        "list": [["$BigInt", "1"]],
    }
    assert await host.call(actor, "tagged") == {
        "bytes": ["$Uint8Array", "AQL/"],
        "set": ["$Set", [1]],
        "undef": ["$Undefined", 0],
        "escape": ["$$x", 1],
    }
    assert await host.call(actor, "nothing") is None
    assert await host.call(actor, "notANumber") is None
    assert await host.call(actor, "halfSurrogate") == "\ufffd and text"


async def test_what_a_handler_wrote_before_it_threw_is_kept(host: TestHost) -> None:
    actor = await host.actor("hostile", "throw-keeps")
    refused(await host.try_call(actor, "writesAndThrows"), 400, "user/no")
    assert await host.call(actor, "add", 0) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"args":{}}',
        b'{"args":[1]} x',
        b'{"args":["\xff"]}',
        b'{"args":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"args":[["$BigInt","x"]]}',
        b'{"args":[["$Uint8Array","!!"]]}',
        b'{"args":[["$Nonsense",1]]}',
    ],
)
async def test_arguments_that_are_no_values_are_refused(host: TestHost, body: bytes) -> None:
    actor = await host.actor("hostile", "arguments")
    answer = await host.http.post(f"/gateway/{actor}/action/same", content=body)
    refused(answer, 400, "request/invalid")
    assert await host.call(actor, "same", 1) == 1


async def test_oversize_bodies_are_refused_with_the_limit(host: TestHost) -> None:
    actor = await host.actor("hostile", "bodies")
    answer = await host.http.post(f"/gateway/{actor}/action/same", json={"args": ["x" * 1_048_576]})
    assert refused(answer, 413, "request/too_large")["metadata"]["limit"] == "action"
    assert len(await host.call(actor, "same", "x" * 1_048_570)) == 1_048_570

    answer = await host.http.post(f"/gateway/{actor}/request/echo", content=b"x" * 4_194_305)
    assert refused(answer, 413, "request/too_large")["metadata"] == {
        "limit": "body",
        "used": 4_194_305,
        "allowed": 4_194_304,
    }
    answer = await host.http.post(f"/gateway/{actor}/request/echo", content=b"x" * 4_194_304)
    assert answer.status_code == 200


async def test_answers_that_are_too_long_are_told_to_the_caller(host: TestHost) -> None:
    actor = await host.actor("hostile", "long-answers")
    error = refused(await host.try_call(actor, "largeResult"), 400, "message/outgoing_too_long")
    assert error["metadata"] == {"limit": "action", "used": 2_000_002, "allowed": 1_048_576}
    error = refused(await host.http.get(f"/gateway/{actor}/request/large"), 400, "message/outgoing_too_long")
    assert error["metadata"]["limit"] == "body"


@pytest.mark.parametrize(
    ("key", "value", "metadata"),
    [
        (2_049, 1, {"limit": "kv_key", "used": 2_049, "allowed": 2_048}),
        (1, 131_073, {"limit": "kv_value", "used": 131_073, "allowed": 131_072}),
    ],
)
async def test_a_key_or_a_value_beyond_its_limit_throws_in_the_handler(
    host: TestHost, key: int, value: int, metadata: dict[str, Any]
) -> None:
    actor = await host.actor("hostile", f"kv-{key}")
    assert await host.call(actor, "putSizes", 2_048, 131_072) == 1
    error = refused(await host.try_call(actor, "putSizesGuarded", key, value), 400, "user/limit_exceeded")
    assert error["metadata"] == metadata
    assert refused(await host.try_call(actor, "putSizes", key, value), 500, "internal/internal_error")
    assert (await host.snapshot(actor))["kv"]["keys"] == 1


async def test_a_handler_that_never_settles_is_told_to_be_stuck(host: TestHost) -> None:
    actor = await host.actor("hostile", "stuck")
    with anyio.fail_after(5):
        refused(await host.try_call(actor, "waitsForEver"), 500, "guest/stuck")
    assert await host.call(actor, "add", 1) == 1


async def test_a_message_beyond_the_limit_closes_its_socket_alone(host: TestHost) -> None:
    actor = await host.actor("hostile", "long-message")
    with anyio.fail_after(10):
        async with host.socket(actor) as socket, host.socket(actor) as other:
            await socket.send("a")
            assert await socket.recv() == "1 1 a"
            await socket.send("x" * 1_048_576)
            assert await socket.recv() == "2 1 1048576"
            await socket.send("x" * 1_048_577)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason.split("#")[0]) == (
                1009,
                "message.incoming_too_long",
            )
            await other.send("b")
            assert await other.recv() == "1 1 b"


async def test_a_frame_beyond_all_bounds_closes_its_socket_too(host: TestHost) -> None:
    actor = await host.actor("hostile", "longest-message")
    with anyio.fail_after(10):
        async with host.socket(actor) as socket:
            with suppress(ConnectionClosed):  # it may be closed before all is sent
                await socket.send("x" * 3_000_000)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
    assert await host.call(actor, "add", 1) == 1


async def test_a_listener_that_throws_leaves_the_socket_open_and_the_index_moves_on(host: TestHost) -> None:
    actor = await host.actor("hostile", "listener-throws")
    with anyio.fail_after(10):
        async with host.socket(actor) as socket:
            with capture_logs() as lines:
                for text in ("throw", "large", "c"):
                    await socket.send(text)
                assert await socket.recv() == "3 1 c"
            assert any("secret of the listener" in str(line.get("detail")) for line in lines)
            assert any("message" in str(line.get("detail")) for line in lines)
    found = await host.snapshot(actor)
    assert all(row["msg_index"] == 3 for row in found["connections"])
