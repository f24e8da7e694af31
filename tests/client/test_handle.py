"""Handles: actors by key and by id, looked up when they are used, and what goes to them over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from host.client import Client
from host.client.gateway import params_header
from host.model.errors import CallerError, DormiceError, ErrorInfo, TenantError
from host.wire.buffers import decode_base64
from host.wire.cbor import cbor_to_value
from host.wire.frames.bodies import decode_action_request, encode_action_result, encode_http_error
from host.wire.frames.encoding import ENCODINGS, Encoding, content_type
from host.wire.values import BigInt, to_python
from tests.client.double import Double

pytestmark = pytest.mark.anyio

ROOM = {"actor_id": "a" * 32, "name": "room", "key": "lobby"}
OTHER = {"actor_id": "b" * 32, "name": "room", "key": "lobby"}
FOUND: tuple[int, Any] = (200, {"actors": [ROOM], "pagination": {}})
MISSING: tuple[int, Any] = (200, {"actors": [], "pagination": {}})
GONE: tuple[int, Any] = (404, {"group": "actor", "code": "not_found", "message": "there is no such actor"})
FINE: tuple[int, Any] = (200, {"output": 7})


def client(double: Double, encoding: Encoding = "json") -> Client:
    return Client("http://host", transport=double, encoding=encoding)


async def test_a_handle_asks_nothing_until_it_is_used_and_looks_up_once() -> None:
    double = Double((200, {"actor": ROOM, "created": True}), FINE, FINE)
    async with client(double) as host:
        room = host.get_or_create("room", "lobby", {"size": 8})
        assert double.requests == []
        assert await room.action("join", "ada") == 7
        assert await room.leave() == 7
    assert [double.line(n) for n in range(3)] == [
        "PUT /actors",
        f"POST /gateway/{ROOM['actor_id']}/action/join",
        f"POST /gateway/{ROOM['actor_id']}/action/leave",
    ]
    assert (double.body()["name"], double.body()["key"]) == ("room", "lobby")
    assert to_python(cbor_to_value(decode_base64(double.body()["input"]))) == {"size": 8}
    assert double.body(1) == {"args": ["ada"]}


async def test_awaiting_a_handle_gives_the_actor() -> None:
    double = Double((200, {"actor": ROOM, "created": True}), FOUND, FOUND)
    async with client(double) as host:
        assert (await host.get_or_create("room", ["lobby"])).actor_id == ROOM["actor_id"]
        assert (await host.get("room", "lobby")).key == "lobby"
        assert await host.get("room", "lobby").resolve() == ROOM["actor_id"]
        assert await host.get_for_id("c" * 32).resolve() == "c" * 32
    assert double.line(1) == "GET /actors?name=room&key=lobby"


async def test_create_makes_the_actor_and_gives_a_handle_by_id() -> None:
    double = Double(
        (200, {"actor": ROOM}), FINE, (400, {"group": "actor", "code": "duplicate_key", "message": "taken"})
    )
    async with client(double) as host:
        room = await host.create("room", "lobby", b"\x01")
        assert await room.action("x") == 7
        with pytest.raises(CallerError) as caught:
            await host.create("room", "lobby")
    assert caught.value.name == "actor/duplicate_key"
    assert double.line(0) == "POST /actors"


async def test_an_actor_that_is_not_there_is_not_found() -> None:
    double = Double(MISSING, MISSING)
    async with client(double) as host:
        for handle in (host.get("room", "lobby"), host.get_for_id("d" * 32)):
            with pytest.raises(CallerError) as caught:
                await handle
            assert caught.value.name == "actor/not_found"


async def test_a_key_is_looked_up_again_when_its_actor_is_gone() -> None:
    made = [(200, {"actor": actor, "created": True}) for actor in (ROOM, OTHER)]
    double = Double(made[0], FINE, GONE, made[1], FINE)
    async with client(double) as host:
        room = host.get_or_create("room", "lobby")
        assert [await room.action("x"), await room.action("x")] == [7, 7]
        assert await room.resolve() == OTHER["actor_id"]
    assert [double.line(n).partition("?")[0] for n in (2, 3, 4)] == [
        f"POST /gateway/{ROOM['actor_id']}/action/x",
        "PUT /actors",
        f"POST /gateway/{OTHER['actor_id']}/action/x",
    ]
    # one that is got and not created is not there then, and one by id never was
    double = Double(FOUND, GONE, MISSING, GONE)
    async with client(double) as host:
        for handle in (host.get("room", "lobby"), host.get_for_id("a" * 32)):
            with pytest.raises(CallerError) as caught:
                await handle.action("x")
            assert caught.value.name == "actor/not_found"
    assert double.answers == []


async def test_other_errors_are_not_tried_again() -> None:
    double = Double(FOUND, (503, {"group": "storage", "code": "unavailable", "message": "no"}))
    async with client(double) as host:
        with pytest.raises(DormiceError) as caught:
            await host.get("room", "lobby").action("x")
    assert (caught.value.name, caught.value.retryable) == ("storage/unavailable", True)


class Encoded(httpx.AsyncBaseTransport):
    """Answers an action with its arguments, or with an error, in the encoding of the request."""

    def __init__(self, error: ErrorInfo | None = None) -> None:
        self.error = error
        self.seen: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        encoding: Encoding = next(name for name in ENCODINGS if name == request.headers["x-rivet-encoding"])
        self.seen.append((encoding, request.headers["content-type"]))
        headers = {"content-type": content_type(encoding), "x-rivet-ray-id": "ray1"}
        if self.error is not None:
            return httpx.Response(400, content=encode_http_error(encoding, self.error), headers=headers)
        args = decode_action_request(encoding, await request.aread())
        return httpx.Response(200, content=encode_action_result(encoding, args), headers=headers)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_actions_and_their_errors_travel_in_the_encoding_of_the_client(encoding: Encoding) -> None:
    args = [1, 2.5, b"\x01\x02", BigInt(5), {"a": [None, "ü"]}]
    transport = Encoded()
    async with Client("http://host", transport=transport, encoding=encoding) as host:
        assert await host.get_for_id("a" * 32).action("echo", *args) == args
    assert transport.seen == [(encoding, content_type(encoding))]
    failing = Encoded(ErrorInfo("user", "full", "The room is full", metadata=b'{"max":8}'))
    async with Client("http://host", transport=failing, encoding=encoding) as host:
        with pytest.raises(TenantError) as caught:
            await host.get_for_id("a" * 32).echo()
    assert (caught.value.name, caught.value.metadata, caught.value.ray) == ("user/full", b'{"max":8}', "ray1")


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_answer_that_is_none_is_an_error_of_the_client(encoding: Encoding) -> None:
    double = Double((200, b"\x00nonsense"), (502, b"<html>a proxy</html>"))
    async with client(double, encoding) as host:
        for _ in range(2):
            with pytest.raises(DormiceError) as caught:
                await host.get_for_id("a" * 32).action("x")
            assert caught.value.name == "client/bad_answer"


async def test_parameters_go_with_actions_and_requests_as_json_in_ascii() -> None:
    double = Double(FINE, (200, b"hello"))
    async with client(double) as host:
        room = host.get_for_id("a" * 32, params={"who": "żółw"})
        await room.action("x")
        answer = await room.fetch("/page?x=1", method="PUT", content=b"body", headers={"x-mine": "1"})
    assert answer.content == b"hello"
    for request in double.requests:
        assert request.headers["x-rivet-conn-params"] == '{"who": "\\u017c\\u00f3\\u0142w"}'
    assert double.line(1) == f"PUT /gateway/{'a' * 32}/request/page?x=1"
    assert (double.requests[1].content, double.requests[1].headers["x-mine"]) == (b"body", "1")
    assert await params_header(None) == {}
    assert await params_header(lambda: [1]) == {"x-rivet-conn-params": "[1]"}


async def test_a_fetch_gives_every_answer_of_the_actor_and_raises_when_there_is_no_actor() -> None:
    double = Double((404, b"the actor's own"))
    double.headers = {"x-rivet-actor": "a" * 32}
    async with client(double) as host:
        answer = await host.get_for_id("a" * 32).fetch()
    assert (answer.status_code, answer.content) == (404, b"the actor's own")
    async with client(Double(GONE)) as host:
        with pytest.raises(CallerError) as caught:
            await host.get_for_id("a" * 32).fetch()
    assert caught.value.name == "actor/not_found"


def test_names_with_an_underscore_are_no_actions() -> None:
    handle = Client("http://host", transport=Double()).get_for_id("a" * 32)
    with pytest.raises(AttributeError):
        _ = handle._private
