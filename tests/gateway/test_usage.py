"""What tenants use and may use, on the control plane; and the connections that the gateway refuses and counts."""

from __future__ import annotations

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.errors import DormiceError, limit_error
from host.model.limits import Limits
from tests.gateway.support import NOW, World, error_of
from tests.gateway.test_sockets import Client, holding, opened, settle

pytestmark = pytest.mark.anyio


async def test_usage_tells_quotas_and_what_was_used_and_refused(http: httpx.AsyncClient) -> None:
    response = await http.get("/tenants/acme/usage")
    assert response.status_code == 200
    assert response.json() == {
        "namespace": "acme",
        "quotas": {
            "tenant_actors": {"used": 1, "allowed": 5, "maximum": 9, "unit": "actors", "own": False},
            "tenant_tokens": {"used": 0, "allowed": 3, "maximum": 9, "unit": "tokens", "own": False},
        },
        "modules": 2,
        "cpu_ms": 3,
        "starts": 4,
        "held_up": 5,
        "refusals": {"tenant_starts": 6},
        "since": NOW,
    }


async def test_quotas_are_set_and_answered_with_the_usage(world: World, http: httpx.AsyncClient) -> None:
    response = await http.put("/tenants/acme/quotas", json={"quotas": {"tenant_actors": 7}})
    assert response.status_code == 200
    assert world.service.quotas == {"tenant_actors": 7}
    quota = response.json()["quotas"]["tenant_actors"]
    assert (quota["allowed"], quota["own"]) == (7, True)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/tenants/Not%20One/usage", None),
        ("GET", f"/tenants/{'a' * 65}/usage", None),
        ("PUT", "/tenants/acme/quotas", "{}"),
        ("PUT", "/tenants/acme/quotas", "[]"),
        ("PUT", "/tenants/acme/quotas", '{"quotas":{"tenant_actors":"7"}}'),
        ("PUT", "/tenants/acme/quotas", '{"quotas":{"tenant_actors":true}}'),
        ("PUT", "/tenants/acme/quotas", '{"quotas":{"tenant_actors":7.5}}'),
        ("PUT", "/tenants/acme/quotas", '{"quotas":{"tenant_actors":7,"tenant_actors":8}}'),
        ("PUT", "/tenants/acme/quotas", '{"quotas":{},"more":1}'),
    ],
)
async def test_a_bad_request_about_a_tenant_is_refused(
    world: World, http: httpx.AsyncClient, method: str, path: str, body: str | None
) -> None:
    response = await http.request(method, path, content=body)
    assert (response.status_code, error_of(response)) == (400, "request/invalid")
    assert world.service.quotas == {}


async def test_connections_are_counted_for_their_tenant_while_they_are_held(world: World) -> None:
    client = Client()
    async with holding(world.sockets, client):
        await settle()
        assert sum(world.service.connections.values()) == 1
    assert sum(world.service.connections.values()) == 0


async def test_a_connection_over_the_quota_is_refused_by_name_and_counted_once(world: World) -> None:
    world.service.refusal = limit_error("tenant_connections", 3, 2, "close others")
    with pytest.raises(DormiceError) as refused:
        await world.sockets.admit(opened("c1"))
    assert refused.value.metadata == b'{"limit":"tenant_connections","used":3,"allowed":2}'


async def test_those_that_were_let_in_at_once_are_closed_when_there_are_too_many() -> None:
    world = World(AuthPolicy(dev=True), Limits(connections=1))
    first, second = Client(), Client()
    for name in ("c1", "c2"):
        await world.sockets.admit(opened(name))  # nobody is held yet
    async with holding(world.sockets, first, opened("c1")), holding(world.sockets, second, opened("c2")):
        await settle()
        assert (first.close, second.close) == (None, (1013, "limit.exceeded"))
        assert len(world.sockets) == 1
    assert world.metrics.counter("limits", "connections") == 1
    assert world.metrics.counter("sockets_refused", "limit/exceeded") == 1


async def test_a_definition_may_give_its_actor_more_or_fewer_connections(world: World) -> None:
    world.service.allowed = 1
    async with holding(world.sockets, Client(), opened("c1")):
        with pytest.raises(DormiceError) as refused:
            await world.sockets.admit(opened("c2"))
        assert refused.value.metadata == b'{"limit":"connections","used":2,"allowed":1}'
        world.service.allowed = 2
        await world.sockets.admit(opened("c2"))


async def test_every_answer_that_names_a_limit_is_counted_by_it(world: World, http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/modules", content=b"x", headers={"content-type": "text/javascript", "content-length": str(10**9)}
    )
    assert response.status_code == 413
    assert world.metrics.counter("limits", "module") == 1
    # What a guest says of limits is its own business.
    world.service.fail = DormiceError("user", "mine", "no", metadata=b'{"limit":"module"}')
    await http.post(f"/gateway/{(await world_actor(world))}/action/x", json={"args": []})
    assert world.metrics.counter("limits") == 1


async def world_actor(world: World) -> str:
    world_fail, world.service.fail = world.service.fail, None
    record = await world.actor()
    world.service.fail = world_fail
    return record.actor_id
