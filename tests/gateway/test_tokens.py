"""Tokens over HTTP: shown once, never wider than what made them, gone when revoked, and where a client may put them."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from host.gateway.auth import AuthPolicy
from host.gateway.connection_tokens import BadToken, mint, verify
from host.model.identity import SCOPES, Bounds, Identity, Scope
from host.model.tunnel import ActionRequest, Opened
from tests.gateway.support import NOW, World, error_of

pytestmark = pytest.mark.anyio

ADMIN = "admin-token-7d1f"
KEY = b"k" * 32


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(admin_token=ADMIN))


def admin(world: World) -> httpx.AsyncClient:
    return world.client(authorization=f"Bearer {ADMIN}")


async def make(world: World, *scopes: Scope, **more: Any) -> dict[str, Any]:
    async with admin(world) as http:
        answer = await http.post("/tenants/acme/tokens", json={"scopes": list(scopes), **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_token_is_shown_once_and_stored_as_a_hash(world: World) -> None:
    made = await make(world, "deploy", "connect", label="ci", expires_in=5_000)
    async with admin(world) as http:
        listed = await http.get("/tenants/acme/tokens")
        nothing = (await http.get("/tenants/default/tokens")).json()
    assert listed.json() == {
        "tokens": [
            {
                "id": made["id"],
                "label": "ci",
                "scopes": ["deploy", "connect"],
                "created_at": NOW,
                "expires_at": NOW + 5_000,
            }
        ]
    }
    assert nothing == {"tokens": []}
    assert made["token"] not in listed.text
    (row,) = await world.driver.tokens_of("acme", NOW)
    assert made["token"].encode() not in row.hash
    assert len(row.hash) == 32


async def test_the_answer_with_a_secret_is_not_to_be_kept(world: World) -> None:
    async with admin(world) as http:
        for path, body in (("tokens", {"scopes": ["connect"]}), ("connection-tokens", {})):
            answer = await http.post(f"/tenants/acme/{path}", json=body)
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"scopes": ["connect"], "label": "x" * 129},
        {"scopes": ["connect"], "expires_in": 0},
        {"scopes": ["connect"], "expires_in": 2**63 - 1},
        {"scopes": ["connect"], "more": 1},
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(world: World, body: dict[str, Any]) -> None:
    async with admin(world) as http:
        assert error_of(await http.post("/tenants/acme/tokens", json=body)) == "request/invalid"
    assert list(await world.driver.tokens_of("acme", NOW)) == []


async def test_a_scope_that_there_is_not_is_told_which_there_are(world: World) -> None:
    async with admin(world) as http:
        refused = await http.post("/tenants/acme/tokens", json={"scopes": ["connect", "deply"]})
    assert refused.json()["message"] == "'deply' is no scope; it takes some of deploy, actors, connect, tokens"


@pytest.mark.parametrize(
    "body",
    [
        {"actor_id": "x"},
        {"key": ["a"]},
        {"name": ""},
        {"actions": []},
        {"actions": ["x"] * 33},
        {"claims": [1]},
        {"expires_in": 0},
        {"name": "room", "tenant": "other"},
    ],
)
async def test_a_connection_token_that_makes_no_sense_is_not_made(world: World, body: dict[str, Any]) -> None:
    async with admin(world) as http:
        assert error_of(await http.post("/tenants/acme/connection-tokens", json=body)) == "request/invalid"


async def test_limits_of_tokens_name_what_was_used_and_what_is_allowed(world: World) -> None:
    for _ in range(3):
        await make(world, "connect")
    async with admin(world) as http:
        answers = [
            await http.post("/tenants/acme/tokens", json={"scopes": ["connect"]}),
            await http.post("/tenants/acme/connection-tokens", json={"claims": {"a": "x" * 2_048}}),
            await http.post("/tenants/acme/connection-tokens", json={"expires_in": 86_400_001}),
        ]
    assert [error_of(answer) for answer in answers] == ["limit/exceeded"] * 3
    assert [answer.json()["metadata"] for answer in answers] == [
        {"limit": "tenant_tokens", "used": 4, "allowed": 3},
        {"limit": "token_claims", "used": 2_056, "allowed": 2_048},
        {"limit": "token_lifetime", "used": 86_400_001, "allowed": 86_400_000},
    ]


async def test_nobody_makes_a_token_that_can_do_more_or_lasts_longer(world: World) -> None:
    own = await make(world, "tokens", "actors", expires_in=5_000)
    async with world.client(authorization=f"Bearer {own['token']}") as http:
        wider = await http.post("/tenants/acme/tokens", json={"scopes": ["actors", "deploy"]})
        longer = await http.post("/tenants/acme/tokens", json={"scopes": ["actors"], "expires_in": 5_001})
        client = await http.post("/tenants/acme/connection-tokens", json={})
        same = await http.post("/tenants/acme/tokens", json={"scopes": ["actors"]})
    assert [error_of(answer) for answer in (wider, longer, client)] == ["auth/forbidden"] * 3
    assert same.json()["expires_at"] == own["expires_at"]
    lasting = await make(world, "tokens", "connect", expires_in=5_000)
    async with world.client(authorization=f"Bearer {lasting['token']}") as http:
        assert (await http.post("/tenants/acme/connection-tokens", json={"expires_in": 5_000})).status_code == 201
        late = await http.post("/tenants/acme/connection-tokens", json={"expires_in": 5_001})
    assert error_of(late) == "auth/forbidden"


async def test_a_revoked_token_is_gone_at_once_and_only_its_tenant_revokes_it(world: World) -> None:
    made = await make(world, "connect")
    async with admin(world) as http, world.client(authorization=f"Bearer {made['token']}") as client:
        assert (await client.get("/metadata")).status_code == 200
        for path in (f"/tenants/other/tokens/{made['id']}", "/tenants/acme/tokens/nonsense"):
            assert error_of(await http.delete(path)) == "request/not_found"
        assert (await http.delete(f"/tenants/acme/tokens/{made['id']}")).json() == {"closed": 0}
        assert error_of(await client.get("/metadata")) == "auth/forbidden"
        assert error_of(await http.delete(f"/tenants/acme/tokens/{made['id']}")) == "request/not_found"


async def test_revoking_a_token_closes_the_sockets_that_it_let_in_and_no_others(world: World) -> None:
    record = (await world.service.get_or_create("acme", "room", (), None))[0]
    made, other = await make(world, "connect"), await make(world, "connect")
    async with world.serving() as server:
        url = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/websocket/"

        def dial(token: str) -> Any:
            return connect(url, additional_headers={"x-rivet-token": token}, proxy=None)

        async with dial(made["token"]) as doomed, dial(other["token"]) as stays:
            await world.service.until(lambda: len(world.service.opened) == 2)
            async with admin(world) as http:
                answer = await http.delete(f"/tenants/acme/tokens/{made['id']}")
            assert answer.json() == {"closed": 1}
            with pytest.raises(ConnectionClosed) as closed:
                await doomed.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "auth.revoked")
            assert [event.reason for event in world.service.closed] == ["auth.revoked"]
            await stays.send("still there")
            await world.service.until(lambda: bool(world.service.messages))
            with pytest.raises(InvalidStatus):
                await dial(made["token"])


async def test_a_token_that_is_revoked_while_its_socket_is_on_its_way_in_lets_nobody_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor takes up to 90 s to start: what the token was at the beginning does not count at the end."""
    record = (await world.service.get_or_create("acme", "room", (), None))[0]
    made, other = await make(world, "connect"), await make(world, "connect")

    async def starting(opened: Opened, visitor: Any = None) -> None:
        async with admin(world) as http:
            assert (await http.delete(f"/tenants/acme/tokens/{made['id']}")).json() == {"closed": 0}

    monkeypatch.setattr(world.service, "open_socket", starting)
    async with world.serving() as server:
        url = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/websocket/"
        async with connect(url, additional_headers={"x-rivet-token": made["token"]}, proxy=None) as late:
            with pytest.raises(ConnectionClosed) as closed:
                await late.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "auth.revoked")
        assert world.service.opened == []
        assert world.metrics.counter("sockets_refused", "auth.revoked") == 1
        made = {"id": "0" * 32}
        monkeypatch.undo()
        async with connect(url, additional_headers={"x-rivet-token": other["token"]}, proxy=None):
            await world.service.until(lambda: len(world.service.opened) == 1)


async def test_a_token_may_come_in_the_path_the_query_a_header_or_a_sub_protocol_and_no_actor_sees_it(
    world: World,
) -> None:
    record = (await world.service.get_or_create("acme", "room", ("k",), None))[0]
    token = world.app.tokens.connection("acme", NOW + 1_000, Bounds(), None)
    base = f"/gateway/{record.actor_id}"
    async with world.client() as http:
        answers = [
            await http.get(f"{base}@{token}/request/p?a=1"),
            await http.get(f"/gateway/room/request/p?rvt-method=get&rvt-key=k&rvt-token={token}&a=1"),
            await http.get(f"{base}/request/p?a=1", headers={"x-rivet-token": token}),
            await http.get(
                f"{base}/request/p?a=1",
                headers={
                    "authorization": f"Bearer {token}",
                    "referer": f"https://u:p@a.example{base}@{token}/request/page?rvt-token={token}",
                    "sec-websocket-protocol": f"rivet, rivet_token.{token}",
                    "x-rivet-token": token,
                },
            ),
        ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [call.path for call in world.service.requests] == ["/p?a=1"] * 4
    assert token not in repr(world.service.requests)
    assert ("referer", "https://a.example/") in world.service.requests[3].headers
    async with world.serving() as server:
        url = f"ws://127.0.0.1:{server.port}{base}/websocket/s?rvt=1"
        offered = [Subprotocol("rivet"), Subprotocol(f"rivet_token.{token}")]
        async with connect(url, subprotocols=offered, proxy=None) as socket:
            assert socket.subprotocol == "rivet"
            await world.service.until(lambda: bool(world.service.opened))
    assert token not in repr(world.service.opened)
    assert isinstance(world.service.opened[0], Opened)


async def test_a_connection_does_no_other_action_than_its_token_is_bound_to(world: World) -> None:
    record = (await world.service.get_or_create("acme", "room", (), None))[0]
    token = world.app.tokens.connection("acme", NOW + 1_000, Bounds(actions=("say",)), None)
    frame = '{"body":{"tag":"ActionRequest","val":{"id":["$BigInt","1"],"name":"%s","args":[]}}}'
    subscription = '{"body":{"tag":"SubscriptionRequest","val":{"eventName":"said","subscribe":true}}}'
    async with world.serving() as server:
        for number, refused in enumerate((frame % "shout", subscription), 1):
            url = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}@{token}/connect"
            async with connect(url, subprotocols=[Subprotocol("rivet")], proxy=None) as socket:
                await socket.send(frame % "say")
                await world.service.until(lambda: len(world.service.messages) == number)  # noqa: B023
                await socket.send(refused)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "auth.forbidden")
    asked = [message.data for message in world.service.messages]
    assert [each.name for each in asked if isinstance(each, ActionRequest)] == ["say", "say"]
    assert len(asked) == 2


async def test_a_wrong_token_is_refused_where_none_is_needed(world: World) -> None:
    public = World(AuthPolicy(admin_token=ADMIN, public_actors=True))
    for policy in (public, World(AuthPolicy(dev=True))):
        for token in ("dmt_" + "x" * 43, "dmc_x.y"):
            async with policy.client(authorization=f"Bearer {token}") as http:
                assert error_of(await http.get("/metadata")) == "auth/forbidden"
        async with policy.client(authorization="Bearer of-the-application") as http:
            assert (await http.get("/metadata")).status_code == 200


async def test_a_bound_token_is_bound_where_none_is_needed() -> None:
    world = World(AuthPolicy(dev=True))
    await world.service.get_or_create("acme", "room", (), None)
    token = world.app.tokens.connection("acme", NOW + 1, Bounds(name="hall"), None)
    async with world.client(authorization=f"Bearer {token}") as http:
        assert error_of(await http.put("/actors", json={"name": "room"})) == "auth/forbidden"
        assert (await http.put("/actors", json={"name": "hall"})).json()["actor"]["namespace_id"] == "acme"
        assert error_of(await http.get("/actors")) == "auth/forbidden"


def test_a_connection_token_says_what_it_was_made_with_until_it_expires() -> None:
    bounds = Bounds("room", ("a", "b"), "f" * 32, ("x",))
    token = mint(KEY, "acme", NOW, bounds, b'{"user":7}')
    identity = verify(KEY, token, NOW - 1)
    assert identity == Identity("connection", "acme", ("connect",), b'{"user":7}', "", NOW, bounds)
    with pytest.raises(BadToken, match="expired"):
        verify(KEY, token, NOW)
    with pytest.raises(BadToken, match="signature"):
        verify(b"x" * 32, token, NOW - 1)


def test_a_connection_token_has_one_spelling_and_no_byte_of_it_can_be_changed() -> None:
    token = mint(KEY, "acme", NOW, Bounds(), None)
    assert verify(KEY, token, 0).tenant == "acme"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    forged = [token[:at] + char + token[at + 1 :] for at in range(len(token)) for char in alphabet if char != token[at]]
    forged += [
        token + "=",
        token + "A",
        token[:-1],
        token + ".",
        token.replace(".", ".."),
        token + "\n",
        "dmc_",
        "dmc_.",
    ]
    forged += [token.replace("dmc_", "dmc_ "), "dmc_" + "A" * 20_000, token + "é"]
    for text in forged:
        with pytest.raises(BadToken):
            verify(KEY, text, 0)


def test_a_payload_of_somebody_elses_making_is_not_signed_by_any_key() -> None:
    body = "dmc_" + base64.urlsafe_b64encode(json.dumps({"t": "acme", "e": NOW}).encode()).decode().rstrip("=")
    for signature in ("", "none", body, "A" * 43):
        with pytest.raises(BadToken, match="signature"):
            verify(KEY, f"{body}.{signature}", 0)


async def test_no_token_reaches_the_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    made = await make(world, *SCOPES)
    client = world.app.tokens.connection("acme", NOW, Bounds(), b'{"secret":"inside"}')
    async with admin(world) as http:
        await http.delete(f"/tenants/acme/tokens/{made['id']}")
    with anyio.fail_after(10):
        for token in (made["token"], client, ADMIN + "x"):
            async with world.client(authorization=f"Bearer {token}") as http:
                await http.get("/limits")
                await http.get(f"/gateway/{'0' * 32}@{token}/request/x?rvt-token={token}&rvt-method=get")
    told = "".join(capsys.readouterr())
    assert "credential made" in told
    for secret in (made["token"], client, ADMIN, "inside"):
        assert secret not in told
