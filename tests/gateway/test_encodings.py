"""The encodings of the data plane over HTTP: actions, their answers and errors; and headers that name the actor."""

from __future__ import annotations

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.errors import ErrorInfo
from host.model.limits import Limits
from host.model.tunnel import ActionReply, HttpReply, Opened
from host.wire.frames.bodies import decode_action_result, decode_http_error, encode_action_request
from host.wire.frames.encoding import ENCODINGS, Encoding, content_type
from host.wire.frames.errors import ActorSpecifier
from tests.gateway.support import World, error_of
from tests.gateway.test_server import dial, refused

pytestmark = pytest.mark.anyio

ARGS = b'[1,["$BigInt","12345678901234567890"],["$Uint8Array","AQI="],{"a":["$Undefined",0]}]'


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_action_is_answered_in_its_encoding(world: World, http: httpx.AsyncClient, encoding: Encoding) -> None:
    record = await world.actor("room", "a")
    response = await http.post(
        f"/gateway/{record.actor_id}/action/echo",
        content=encode_action_request(encoding, ARGS),
        headers={"x-rivet-encoding": encoding, "content-type": content_type(encoding)},
    )
    assert (response.status_code, response.headers["content-type"]) == (200, content_type(encoding))
    assert decode_action_result(encoding, response.content) == ARGS
    assert world.service.calls[0].args == ARGS
    assert response.headers["x-rivet-actor"] == record.actor_id


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_error_comes_in_the_encoding_of_the_request(
    world: World, http: httpx.AsyncClient, encoding: Encoding
) -> None:
    record = await world.actor("room", "a", "b")
    failure = ErrorInfo("user", "full", "The room is full", metadata=b'{"max":8}')
    world.service.on_action = lambda call: ActionReply(error=failure)
    response = await http.post(
        f"/gateway/{record.actor_id}/action/x",
        content=encode_action_request(encoding, b"[]"),
        headers={"x-rivet-encoding": encoding},
    )
    assert (response.status_code, response.headers["content-type"]) == (400, content_type(encoding))
    assert decode_http_error(encoding, response.content) == (failure, ActorSpecifier(record.actor_id, 1, "a/b"))


@pytest.mark.parametrize("encoding", ["cbor", "bare"])
async def test_an_error_is_json_for_a_request_that_is_json(
    world: World, http: httpx.AsyncClient, encoding: Encoding
) -> None:
    record = await world.actor()
    response = await http.post(
        f"/gateway/{record.actor_id}/action/x",
        content=b"{}",
        headers={"x-rivet-encoding": encoding, "content-type": "application/json; charset=utf-8"},
    )
    assert (error_of(response), response.headers["content-type"]) == ("request/invalid", "application/json")


@pytest.mark.parametrize("encoding", ["cbor", "bare"])
async def test_errors_from_before_the_actor_is_known_come_in_the_encoding_too(
    http: httpx.AsyncClient, encoding: Encoding
) -> None:
    missing = await http.post(f"/gateway/{'0' * 32}/action/x", headers={"x-rivet-encoding": encoding})
    error, actor = decode_http_error(encoding, missing.content)
    assert (missing.status_code, error.name, actor) == (404, "actor/not_found", None)
    twice = await http.post(
        "/gateway/room/action/x?rvt-method=get&rvt-method=get", headers={"x-rivet-encoding": encoding}
    )
    assert decode_http_error(encoding, twice.content)[0].name == "guard/query_duplicate_param"


async def test_an_encoding_that_there_is_not_is_refused(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    response = await http.post(f"/gateway/{record.actor_id}/action/x", headers={"x-rivet-encoding": "xml"})
    assert (response.status_code, error_of(response)) == (400, "request/invalid")
    assert world.service.calls == []


@pytest.mark.parametrize("encoding", ["cbor", "bare"])
async def test_the_size_of_arguments_counts_as_json(encoding: Encoding) -> None:
    world = World(AuthPolicy(dev=True), Limits(action=1_000))
    record = await world.actor()
    async with world.client() as http:
        answers = [
            await http.post(
                f"/gateway/{record.actor_id}/action/x",
                content=encode_action_request(encoding, b"[" + b",".join([b"7"] * count) + b"]"),
                headers={"x-rivet-encoding": encoding},
            )
            for count in (499, 500)
        ]
    assert [answer.status_code for answer in answers] == [200, 413]
    assert decode_http_error(encoding, answers[1].content)[0].name == "request/too_large"
    assert len(world.service.calls) == 1


# an actor that headers name ------------------------------------------------------------------------------------------


async def test_a_request_can_be_sent_to_an_actor_by_header(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "a")
    world.service.on_request = lambda call: HttpReply(body=b"hello")
    named = {"x-rivet-target": "actor", "x-rivet-actor": record.actor_id, "x-rivet-skip-ready-wait": "1"}
    response = await http.get("/request/some/path?x=1&rvt-token=t", headers=named)
    assert (response.status_code, response.content) == (200, b"hello")
    assert response.headers["x-rivet-actor"] == record.actor_id
    (sent,) = world.service.requests
    assert (sent.actor_id, sent.path) == (record.actor_id, "/some/path?x=1")
    assert not [name for name, _ in sent.headers if name.startswith("x-rivet-")]
    assert (await http.get("/request", headers=named)).status_code == 200
    assert world.service.requests[1].path == "/"


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 404, "request/not_found"),
        ({"x-rivet-actor": "a" * 32}, 404, "request/not_found"),
        ({"x-rivet-target": "runner", "x-rivet-actor": "a" * 32}, 404, "request/not_found"),
        ({"x-rivet-target": "actor"}, 400, "request/invalid"),
        ({"x-rivet-target": "actor", "x-rivet-actor": "nonsense"}, 404, "actor/not_found"),
        ({"x-rivet-target": "actor", "x-rivet-actor": "a" * 32}, 404, "actor/not_found"),
    ],
)
async def test_headers_that_name_no_actor_are_refused(
    http: httpx.AsyncClient, headers: dict[str, str], status: int, error: str
) -> None:
    response = await http.get("/request/x", headers=headers)
    assert (response.status_code, error_of(response)) == (status, error)


async def test_headers_do_not_turn_other_paths_into_an_actors(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    named = {"x-rivet-target": "actor", "x-rivet-actor": record.actor_id}
    assert (await http.get("/metadata", headers=named)).json()["runtime"] == "dormice"
    assert error_of(await http.get("/requests", headers=named)) == "request/not_found"
    other = await world.actor("room", "other")
    answer = await http.post(f"/gateway/{other.actor_id}/action/x", headers=named)
    assert answer.headers["x-rivet-actor"] == other.actor_id


async def test_a_token_is_needed_there_as_everywhere() -> None:
    world = World(AuthPolicy(admin_token="secret-of-the-admin"))
    record = await world.actor()
    named = {"x-rivet-target": "actor", "x-rivet-actor": record.actor_id}
    async with world.client() as http:
        assert error_of(await http.get("/request/x", headers=named)) == "auth/unauthenticated"
        fine = await http.get("/request/x", headers={**named, "x-rivet-token": "secret-of-the-admin"})
    assert fine.status_code == 200
    assert "secret" not in repr(world.service.requests[0])


async def test_a_page_may_ask_whether_it_may_send_such_a_header(http: httpx.AsyncClient) -> None:
    asked = {"origin": "http://page.example", "access-control-request-headers": "x-rivet-target, x-rivet-actor"}
    response = await http.options("/request/x", headers=asked)
    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == "x-rivet-target, x-rivet-actor"
    assert response.headers["access-control-allow-origin"] == "http://page.example"


@pytest.mark.parametrize("how", ["protocols", "headers"])
async def test_a_socket_can_be_sent_to_an_actor_by_sub_protocols_or_headers(world: World, how: str) -> None:
    record = await world.actor("room", "a")
    world.service.on_event = lambda event: world.sockets.opened(event.conn_id) if isinstance(event, Opened) else None
    offered, headers = ["rivet", "rivet_encoding.bare", "rivet_skip_ready_wait"], {}
    if how == "protocols":
        offered += ["rivet_target.actor", f"rivet_actor.{record.actor_id}", "rivet_token.some-token"]
    else:
        headers = {"x-rivet-target": "actor", "x-rivet-actor": record.actor_id}
    async with (
        world.serving() as server,
        dial(server, "/websocket/a?x=1", subprotocols=offered, additional_headers=headers) as client,
    ):
        assert client.subprotocol == "rivet"
        await world.service.until(lambda: bool(world.service.opened))
    opened = world.service.opened[0]
    assert (opened.actor_id, opened.path) == (record.actor_id, "/a?x=1")


async def test_a_socket_for_nobody_is_refused_before_its_handshake(world: World) -> None:
    async with world.serving() as server:
        status, body, _ = await refused(server, "/websocket/a")
    assert (status, body["group"], body["code"]) == (404, "request", "not_found")


async def test_failures_of_the_host_are_masked_in_every_encoding(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    world.service.on_action = lambda call: (_ for _ in ()).throw(ZeroDivisionError("a secret"))
    for encoding in ENCODINGS:
        answer = await http.post(
            f"/gateway/{record.actor_id}/action/x",
            content=encode_action_request(encoding, b"[]"),
            headers={"x-rivet-encoding": encoding},
        )
        error, _ = decode_http_error(encoding, answer.content)
        assert (answer.status_code, error.name) == (500, "internal/internal_error")
        assert b"secret" not in answer.content
