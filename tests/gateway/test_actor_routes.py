"""Behind the gateway address, over HTTP: actions, requests, and what they answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from host.gateway.auth import AuthPolicy
from host.model.errors import ErrorInfo
from host.model.limits import Limits
from host.model.tunnel import ActionCall, ActionReply, HttpCall, HttpReply, Visitor
from tests.gateway.support import World, error_of

pytestmark = pytest.mark.anyio


async def test_an_action_takes_raw_arguments_and_answers_raw_output(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "a", "b")
    args = b'[1, {"x": ["$BigInt", "12345678901234567890"]}, 1.50]'
    response = await http.post(f"/gateway/{record.actor_id}/action/add%2Fone", content=b'{"args": ' + args + b"}")
    assert (response.status_code, response.content) == (200, b'{"output":' + args + b"}")
    (call,) = world.service.calls
    assert (call.actor_id, call.name, call.args) == (record.actor_id, "add/one", args)
    assert call.ray == response.headers["x-rivet-ray-id"]
    assert response.headers["x-rivet-actor"] == record.actor_id
    assert response.headers["x-rivet-actor-generation"] == "1"
    assert response.headers["x-rivet-actor-key"] == "a/b"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"args":[]}'])
async def test_arguments_may_be_left_out(world: World, http: httpx.AsyncClient, body: bytes) -> None:
    record = await world.actor()
    await http.post(f"/gateway/{record.actor_id}/action/x", content=body)
    assert world.service.calls[0].args == b"[]"


async def test_an_action_on_a_query_address_creates_the_actor_once(world: World, http: httpx.AsyncClient) -> None:
    path = "/gateway/room/action/x?rvt-method=getOrCreate&rvt-key=a,b&rvt-namespace=acme"
    one, two = await http.post(path), await http.post(path)
    assert one.headers["x-rivet-actor"] == two.headers["x-rivet-actor"]
    assert await world.service.find("acme", "room", ("a", "b")) is not None
    missing = await http.post("/gateway/room/action/x?rvt-method=get&rvt-key=none")
    assert (missing.status_code, error_of(missing)) == (404, "actor/not_found")
    nobody = await http.post("/gateway/nobody/action/x?rvt-method=getOrCreate")
    assert (nobody.status_code, error_of(nobody)) == (404, "definition/not_found")


@pytest.mark.parametrize("kind", ["action/x", "request/x"])
async def test_a_key_is_resolved_again_when_its_actor_is_gone_in_between(
    world: World, http: httpx.AsyncClient, kind: str
) -> None:
    gone: list[str] = []
    lost = 3

    async def going(actor_id: str) -> ErrorInfo | None:
        if len(gone) >= lost:
            return None
        gone.append(actor_id)
        await world.driver.finish_destroy(actor_id)
        return ErrorInfo("actor", "not_found", "gone")

    async def action(call: ActionCall, visitor: Visitor | None = None) -> ActionReply:
        return ActionReply(call.args, error=await going(call.actor_id))

    async def request(call: HttpCall, visitor: Visitor | None = None) -> HttpReply:
        return HttpReply(error=await going(call.actor_id))

    world.service.action = action  # type: ignore[method-assign]
    world.service.request = request  # type: ignore[method-assign]
    path = f"/gateway/room/{kind}?rvt-method=getOrCreate&rvt-key=a"
    answer = await http.post(path)
    assert (answer.status_code, len(set(gone))) == (200, 3)
    assert answer.headers["x-rivet-actor"] not in gone
    # not for ever, and not for those that name an actor
    lost = 100
    answer = await http.post(path)
    assert (answer.status_code, error_of(answer), len(gone)) == (404, "actor/not_found", 7)
    record = await world.actor("room", "b")
    assert error_of(await http.post(f"/gateway/{record.actor_id}/{kind}")) == "actor/not_found"
    assert len(gone) == 8
    # one that is looked for and not created is not there
    await world.actor("room", "c")
    answer = await http.post(f"/gateway/room/{kind}?rvt-method=get&rvt-key=c")
    assert (error_of(answer), len(gone)) == ("actor/not_found", 9)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"nonsense", "request/invalid"),
        (b"[1]", "request/invalid"),
        (b'{"args":{}}', "request/invalid"),
        (b'{"args":"[]"}', "request/invalid"),
        (b'{"args":[1,]}', "request/invalid"),
        (b'{"args":["\xff"]}', "request/invalid"),
        (b'{"args":' + b"[" * 40 + b"]" * 40 + b"}", "request/invalid"),
        (b'{"args":[["$Nope",1]]}', "request/invalid"),
        (b'{"args":["' + b"x" * 1_100 + b'"]}', "request/too_large"),
        (b'{"args":["' + b"x" * 9_000 + b'"]}', "request/too_large"),
    ],
)
async def test_bad_arguments_are_refused_before_the_actor_hears_of_them(body: bytes, error: str) -> None:
    world = World(AuthPolicy(dev=True), Limits(action=1_000))
    record = await world.actor()
    async with world.client() as http:
        response = await http.post(f"/gateway/{record.actor_id}/action/x", content=body)
    assert error_of(response) == error
    assert world.service.calls == []
    if error == "request/too_large":
        assert (response.json()["metadata"]["limit"], response.status_code) == ("action", 413)


@pytest.mark.parametrize(
    ("params", "error"), [("{", "request/invalid"), ('"' + "x" * 4_096 + '"', "request/too_large")]
)
async def test_connection_parameters_are_checked(
    world: World, http: httpx.AsyncClient, params: str, error: str
) -> None:
    record = await world.actor()
    headers = {"x-rivet-conn-params": params}
    assert error_of(await http.post(f"/gateway/{record.actor_id}/action/x", headers=headers)) == error


@pytest.mark.parametrize(
    ("method", "rest", "status", "error"),
    [
        ("GET", "action/x", 405, "actor/method_not_allowed"),
        ("POST", "metadata", 405, "actor/method_not_allowed"),
        ("POST", "action/", 404, "request/not_found"),
        ("POST", "action", 404, "request/not_found"),
        ("POST", "queue/jobs", 404, "request/not_found"),
        ("GET", "connect", 404, "request/not_found"),
        ("GET", "session", 400, "request/invalid"),
        ("POST", "session", 405, "actor/method_not_allowed"),
        ("GET", "session/x", 404, "request/not_found"),
        ("GET", "websocket/x", 404, "request/not_found"),
        ("GET", "nothing", 404, "request/not_found"),
        ("GET", "", 404, "request/not_found"),
    ],
)
async def test_other_paths_of_an_actor(
    world: World, http: httpx.AsyncClient, method: str, rest: str, status: int, error: str
) -> None:
    record = await world.actor()
    response = await http.request(method, f"/gateway/{record.actor_id}/{rest}")
    assert (response.status_code, error_of(response)) == (status, error)


async def test_an_unknown_id_is_not_found(http: httpx.AsyncClient) -> None:
    for actor_id in ("f" * 32, "junk", "F" * 32):
        response = await http.post(f"/gateway/{actor_id}/action/x")
        assert (response.status_code, error_of(response)) == (404, "actor/not_found")
        # what cannot be an id is most often a name, whose address lacks the rest
        assert ("rvt-method" in response.json()["message"]) == (actor_id != "f" * 32)


async def test_a_body_without_arguments_is_told_what_it_should_be(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    response = await http.post(f"/gateway/{record.actor_id}/action/x", content=b'["ada"]')
    assert '{"args": […]}' in response.json()["message"]


async def test_a_key_that_no_header_can_hold_is_percent_encoded(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", " ü\r\nx: y", "b%")
    response = await http.get(f"/gateway/{record.actor_id}/health")
    assert response.headers["x-rivet-actor-key"] == "%20%C3%BC%0D%0Ax:%20y/b%25"


async def test_metadata_and_health_do_not_wake(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "k")
    world.service.lifecycle = "asleep"
    metadata = (await http.get(f"/gateway/{record.actor_id}/metadata")).json()
    assert metadata["actor"] == {"id": record.actor_id, "name": "room", "key": ["k"], "generation": 1}
    assert (await http.get(f"/gateway/{record.actor_id}/health")).json() == {"status": "ok", "lifecycle": "asleep"}


async def test_a_request_reaches_the_actor_as_it_was_sent(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    world.service.on_request = lambda call: HttpReply(201, (("X-A", "1"), ("x-a", "2")), b"made")
    response = await http.patch(
        f"/gateway/{record.actor_id}/request/a%2Fb/c?x=%26&y",
        content=b"\x00body",
        headers={"x-custom": "1", "cookie": "c=1", "x-rivet-token": "t", "te": "trailers", "connection": "keep-alive"},
    )
    (call,) = world.service.requests
    assert (call.method, call.path, call.body) == ("PATCH", "/a%2Fb/c?x=%26&y", b"\x00body")
    names = {name for name, _ in call.headers}
    assert {"x-custom", "host"} <= names
    assert "cookie" not in names
    assert not names & {"x-rivet-token", "te", "connection"}
    assert (response.status_code, response.content) == (201, b"made")
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert response.headers["content-length"] == "4"


async def test_the_query_route_hides_its_parameters_from_the_actor(world: World, http: httpx.AsyncClient) -> None:
    await http.get("/gateway/room/request/p?a=1&rvt-method=getOrCreate&rvt-key=k&b=2&dm-session=s")
    assert world.service.requests[0].path == "/p?a=1&b=2"


async def test_an_applications_own_authorization_passes_and_the_hosts_does_not(world: World) -> None:
    async def seen(policy: AuthPolicy, token: str) -> bool:
        other = World(policy)
        record = await other.actor()
        async with other.client(authorization=f"Bearer {token}") as http:
            assert (await http.get(f"/gateway/{record.actor_id}/request/")).status_code == 200
        return "authorization" in dict(other.service.requests[0].headers)

    assert await seen(AuthPolicy(dev=True), "app")
    assert await seen(AuthPolicy(admin_token="adm", public_actors=True), "app")
    assert not await seen(AuthPolicy(admin_token="adm", public_actors=True), "adm")
    assert not await seen(AuthPolicy(admin_token="adm"), "adm")


@pytest.mark.parametrize(
    "headers",
    [
        (("content-length", "999"),),
        (("Access-Control-Allow-Origin", "*"),),
        (("x-rivet-actor", "forged"),),
        (("Connection", "x"),),
    ],
)
async def test_headers_that_are_the_gateways_are_not_the_actors_to_set(
    world: World, http: httpx.AsyncClient, headers: tuple[tuple[str, str], ...]
) -> None:
    record = await world.actor()
    world.service.on_request = lambda call: HttpReply(200, headers, b"ok")
    response = await http.get(f"/gateway/{record.actor_id}/request/")
    assert response.content == b"ok"
    assert response.headers["x-rivet-actor"] == record.actor_id
    assert response.headers["content-length"] == "2"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply(200, (("bad name", "x"),)),
        HttpReply(200, (("x", "a\r\nset-cookie: b"),)),
        HttpReply(200, (("x", "€"),)),
        HttpReply(101),
        HttpReply(600),
    ],
)
async def test_an_answer_that_http_cannot_carry_is_a_fault_of_the_guests(
    world: World, http: httpx.AsyncClient, reply: HttpReply
) -> None:
    record = await world.actor()
    world.service.on_request = lambda call: reply
    response = await http.get(f"/gateway/{record.actor_id}/request/")
    assert (response.status_code, error_of(response)) == (500, "guest/bad_reply")


async def test_a_body_that_is_too_large_is_refused() -> None:
    world = World(AuthPolicy(dev=True), Limits(body=10))
    record = await world.actor()
    async with world.client() as http:
        response = await http.post(f"/gateway/{record.actor_id}/request/", content=b"x" * 11)
    assert (response.status_code, error_of(response)) == (413, "request/too_large")
    assert response.json()["metadata"] == {"limit": "body", "used": 11, "allowed": 10}


async def test_answers_without_a_body_have_none(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor()
    world.service.on_request = lambda call: HttpReply(204, (), b"ignored")
    response = await http.get(f"/gateway/{record.actor_id}/request/")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers


@pytest.mark.parametrize(
    ("info", "status", "shown"),
    [
        (
            ErrorInfo("user", "no_funds", "too little", metadata=b'{"left":1}'),
            400,
            {"group": "user", "code": "no_funds", "message": "too little", "metadata": {"left": 1}},
        ),
        (
            ErrorInfo("guest", "deadline", "too slow"),
            500,
            {"group": "guest", "code": "deadline", "message": "too slow"},
        ),
        (
            ErrorInfo("internal", "internal_error", "TypeError: x is undefined", metadata=b'{"stack":"at y"}'),
            500,
            {"group": "internal", "code": "internal_error", "message": "An internal error occurred"},
        ),
        (
            ErrorInfo("actor", "start_failed", "it does not start", retryable=True, retry_after=2.2),
            503,
            {"group": "actor", "code": "start_failed", "message": "it does not start"},
        ),
    ],
)
async def test_errors_of_actors_keep_their_code_or_are_masked(
    world: World, http: httpx.AsyncClient, info: ErrorInfo, status: int, shown: dict[str, Any]
) -> None:
    record = await world.actor("room", "k")
    world.service.on_action = lambda call: ActionReply(error=info)
    world.service.on_request = lambda call: HttpReply(error=info)
    for response in (
        await http.post(f"/gateway/{record.actor_id}/action/x"),
        await http.get(f"/gateway/{record.actor_id}/request/x"),
    ):
        assert response.status_code == status
        actor = {"actorId": record.actor_id, "generation": 1, "key": "k"}
        assert response.json() == shown | {"actor": actor}
        assert response.headers.get("retry-after") == ("3" if info.retry_after else None)


async def test_the_application_can_be_mounted_below_a_prefix(world: World) -> None:
    record = await world.actor()
    seen: list[HttpCall] = []

    def on_request(call: HttpCall) -> HttpReply:
        seen.append(call)
        return HttpReply()

    world.service.on_request = on_request
    parent = Starlette(routes=[Mount("/actors-host", app=world.app)])
    async with world.client(parent) as http:
        assert (await http.get("/actors-host/health")).json() == {"status": "up"}
        assert (await http.get("/actors-host/limits")).status_code == 200
        assert (await http.get(f"/actors-host/gateway/{record.actor_id}/request/a%2Fb")).status_code == 200
        made = await http.put("/actors-host/actors", json={"name": "x"})
        assert made.status_code == 200
        assert (await http.delete(f"/actors-host/actors/{made.json()['actor']['actor_id']}")).status_code == 200
        assert (await http.get("/limits")).status_code == 404
    assert seen[0].path == "/a%2Fb"
