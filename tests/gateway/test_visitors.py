"""What an actor gets to know of a client before it lets it in, and how it says no: the same on HTTP and on upgrades."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from host.gateway.auth import AuthPolicy
from host.model.errors import ErrorInfo, refusal
from host.model.identity import Bounds
from tests.gateway.support import NOW, World

pytestmark = pytest.mark.anyio

ADMIN = "admin-token-7d1f"


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(admin_token=ADMIN, public_actors=True))


async def test_an_actor_gets_to_know_role_claims_parameters_and_what_is_not_for_the_host(world: World) -> None:
    record = await world.actor()
    token = world.app.tokens.connection("default", NOW + 1_000, Bounds(), b'{"user":7}')
    path = f"/gateway/{record.actor_id}"
    headers = {"authorization": "Bearer of-the-app", "x-rivet-conn-params": '{"a":1}', "cookie": "session=1"}
    async with world.client(**headers) as http:
        await http.post(f"{path}@{token}/action/x")
        await http.post(f"{path}/action/x")
        await http.post(f"{path}/request/x", headers={"authorization": f"Bearer {ADMIN}"})
    async with world.serving() as server:
        url = f"ws://127.0.0.1:{server.port}{path}@{token}/websocket/"
        async with connect(url, additional_headers=headers, proxy=None):
            await world.service.until(lambda: bool(world.service.opened))
    first, second, third, socket = world.service.visitors
    assert first is not None
    assert second is not None
    assert third is not None
    assert socket is not None
    assert (first.role, first.claims, first.params) == ("connection", b'{"user":7}', b'{"a":1}')
    assert (second.role, second.claims) == ("anonymous", None)
    assert (third.role, third.claims) == ("admin", None)
    assert (socket.role, socket.claims, socket.params) == ("connection", b'{"user":7}', b'{"a":1}')
    for visitor in (first, second, socket):
        assert ("authorization", "Bearer of-the-app") in visitor.headers
    for visitor in (first, second, third, socket):
        told = repr(visitor)
        assert token not in told
        assert ADMIN not in told
        assert "session=1" not in told
        assert not [name for name, _ in visitor.headers if name.startswith(("x-rivet", "cookie", "sec-websocket"))]


async def test_what_the_actor_made_of_a_client_is_on_its_way_with_the_open_event(world: World) -> None:
    record = await world.actor()
    world.service.asked = b'{"user":7}'
    async with world.serving() as server:
        url = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/websocket/"
        async with connect(url, proxy=None):
            await world.service.until(lambda: bool(world.service.opened))
    assert [opened.auth for opened in world.service.opened] == [b'{"user":7}']


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        (None, 403),
        (b'{"status":401}', 401),
        (b'{"status":429,"more":1}', 429),
        (b'{"status":200}', 403),
        (b'{"status":"401"}', 403),
        (b"[1]", 403),
    ],
)
async def test_a_refusal_is_the_same_on_http_and_on_an_upgrade(
    world: World, metadata: bytes | None, status: int
) -> None:
    record = await world.actor()
    error = ErrorInfo("user", "stranger", "not you", metadata=metadata)
    world.service.fail = world.service.refuse_open = refusal(error)
    path = f"/gateway/{record.actor_id}"
    bodies: list[Any] = []
    async with world.client() as http:
        answer = await http.post(f"{path}/action/x")
        assert answer.status_code == status
        bodies.append(_body(answer))
    async with world.serving() as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{server.port}{path}/websocket/", proxy=None)
        assert refused.value.response.status_code == status
        bodies.append(json.loads(refused.value.response.body or b""))
    assert bodies[0] == bodies[1]
    assert (bodies[0]["group"], bodies[0]["code"], bodies[0]["message"]) == ("user", "stranger", "not you")
    assert world.service.opened == []


def _body(answer: httpx.Response) -> Any:
    return answer.json()
