"""The control plane of deploys: versions, rollouts and rollbacks, and the status and reload of an actor."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from tests.gateway.support import NOW, World, error_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(dev=True))


@pytest.fixture
async def http(world: World) -> AsyncGenerator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


async def deploy(http: httpx.AsyncClient, source: bytes, **more: Any) -> dict[str, Any]:
    module = await http.post("/modules", content=source, headers={"content-type": "text/javascript"})
    made = await http.put("/definitions/room", json={"module": module.json()["digest"], **more})
    assert made.status_code == 200, made.text
    return dict(made.json())


async def versions(http: httpx.AsyncClient) -> list[tuple[int, str, int, str | None]]:
    found = (await http.get("/definitions/room/versions")).json()["versions"]
    return [(each["version"], each["status"], each["percent"], each["reason"]) for each in found]


async def test_a_deploy_may_begin_with_some_actors_and_move_those_awake(world: World, http: httpx.AsyncClient) -> None:
    assert "awake" not in await deploy(http, b"one")
    assert world.service.rollouts == []
    made = await deploy(http, b"two", rollout={"percent": 10, "now": True, "rate": 5})
    assert (made["version"], made["percent"], made["awake"], made["moves"]) == (2, 10, 7, 3)
    assert "alone" not in made
    assert world.service.rollouts == [("default", "room", 5)]
    assert (await deploy(http, b"three", rollout={"now": True}))["percent"] == 100
    assert world.service.rollouts[1:] == [("default", "room", 20)]
    assert await versions(http) == [(3, "live", 100, None), (2, "live", 10, None), (1, "live", 100, None)]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_canary_is_raised_later(world: World, http: httpx.AsyncClient, method: str) -> None:
    assert (await deploy(http, b"one", rollout={"percent": 10}))["alone"] is True
    raised = await http.request(method, "/definitions/room/rollout", json={"percent": 100, "now": True})
    assert raised.json()["percent"] == 100
    assert "alone" not in raised.json()
    assert (await http.get("/definitions/room")).json()["percent"] == 100
    assert world.service.rollouts == [("default", "room", 20)]
    again = await http.request(method, "/definitions/room/rollout")
    assert (again.status_code, again.json()["percent"]) == (200, 100)


@pytest.mark.parametrize(
    ("rollout", "error"),
    [
        ({"percent": -1}, "definition/invalid_options"),
        ({"percent": 101}, "definition/invalid_options"),
        ({"rate": 0}, "definition/invalid_options"),
        ({"rate": 1_001}, "definition/invalid_options"),
        ({"percent": "10"}, "request/invalid"),
        ({"percent": True}, "request/invalid"),
        ({"percent": 1.5}, "request/invalid"),
        ({"now": 1}, "request/invalid"),
        ({"often": 1}, "request/invalid"),
    ],
)
async def test_a_bad_rollout_is_refused_and_deploys_nothing(
    world: World, http: httpx.AsyncClient, rollout: dict[str, Any], error: str
) -> None:
    made = await deploy(http, b"one")
    put = await http.put("/definitions/room", json={"module": made["module"], "rollout": rollout})
    assert error_of(put) == error
    assert error_of(await http.post("/definitions/room/rollout", json=rollout)) == error
    assert error_of(await http.post("/definitions/room/rollback", json=rollout)) == error
    assert await versions(http) == [(1, "live", 100, None)]
    assert world.service.rollouts == []


async def test_a_failed_deploy_cannot_be_given_to_more_actors(world: World, http: httpx.AsyncClient) -> None:
    await deploy(http, b"one")
    await world.driver.set_deploy("default", "room", 1, status="failed", reason="it broke")
    refused = await http.post("/definitions/room/rollout", json={"percent": 100})
    assert (refused.status_code, error_of(refused)) == (409, "definition/deploy_failed")
    assert "it broke" in refused.json()["message"]


async def test_a_rollback_deploys_what_was_live_before_with_its_options_and_limits(
    world: World, http: httpx.AsyncClient
) -> None:
    one = await deploy(http, b"one", options={"sleep_timeout": 500}, limits={"memory": 1_000_000})
    await deploy(http, b"two", rollout={"percent": 10})
    made = await http.post("/definitions/room/rollback", json={"now": True, "rate": 3})
    assert made.json() == {
        "name": "room",
        "version": 3,
        "module": one["module"],
        "percent": 100,
        "from_version": 2,
        "to_version": 1,
        "awake": 7,
        "moves": 3,
    }
    shown = (await http.get("/definitions/room")).json()
    assert (shown["options"], shown["limits"]) == ({"sleep_timeout": 500}, {"memory": 1_000_000})
    assert await versions(http) == [(3, "live", 100, None), (2, "failed", 10, "rolled back"), (1, "live", 100, None)]
    assert world.service.rollouts == [("default", "room", 3)]


async def test_a_rollback_of_a_failed_deploy_keeps_its_reason(world: World, http: httpx.AsyncClient) -> None:
    await deploy(http, b"one")
    await deploy(http, b"two")
    await world.driver.set_deploy("default", "room", 2, status="failed", reason="it broke")
    assert (await http.post("/definitions/room/rollback")).status_code == 200
    assert (await versions(http))[1] == (2, "failed", 100, "it broke")


async def test_a_rollback_goes_past_failed_versions_and_copies_of_what_runs(http: httpx.AsyncClient) -> None:
    for source in (b"one", b"two", b"three", b"four"):
        await deploy(http, source)
    back = [(await http.post("/definitions/room/rollback")).json().get("to_version") for _ in range(4)]
    assert back == [3, 2, 1, None]


async def test_there_is_nothing_to_go_back_to(http: httpx.AsyncClient) -> None:
    await deploy(http, b"one")
    refused = await http.post("/definitions/room/rollback")
    assert (refused.status_code, error_of(refused)) == (409, "definition/no_older_version")
    assert await versions(http) == [(1, "live", 100, None)]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "versions"), ("POST", "rollout"), ("PATCH", "rollout"), ("POST", "rollback")]
)
async def test_an_unknown_definition_and_one_of_another_namespace_are_not_found(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    await deploy(http, b"one")
    assert error_of(await http.request(method, f"/definitions/none/{path}")) == "definition/not_found"
    other = await http.request(method, f"/definitions/room/{path}?namespace=other")
    assert error_of(other) == "definition/not_found"


async def test_starts_that_failed_are_shown_with_the_versions(world: World, http: httpx.AsyncClient) -> None:
    await deploy(http, b"one")
    actor_id = (await world.actor("room", "a")).actor_id
    await world.driver.note_deploy_failure("default", "room", 1, actor_id, NOW, "user/no: not today")
    shown = (await http.get("/definitions/room/versions")).json()["failures"]
    assert shown == [{"version": 1, "actor_id": actor_id, "at": NOW, "reason": "user/no: not today"}]


async def test_status_and_reload_answer_how_the_actor_is(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "a")
    world.service.lifecycle = "failed"
    status = await http.get(f"/actors/{record.actor_id}/status")
    assert status.json() == {
        "actor_id": record.actor_id,
        "namespace": "default",
        "name": "room",
        "key": ["a"],
        "generation": 1,
        "state": "failed",
        "version": 1,
        "module": "sha256:" + "0" * 64,
        "attempt": 2,
        "retry_at": NOW,
        "last_error": {"group": "actor", "code": "start_failed", "message": "no", "metadata": {"limit": "x"}},
        "held_version": 3,
        "started_at": None,
        "slept_at": None,
    }
    assert (await http.post(f"/actors/{record.actor_id}/reload")).json() == status.json()
    assert world.service.reloaded == [record.actor_id]


async def test_status_and_reload_of_an_actor_of_another_namespace_are_not_found(
    world: World, http: httpx.AsyncClient
) -> None:
    record = await world.actor("room", "a")
    for method, what in (("GET", "status"), ("POST", "reload")):
        path = f"/actors/{record.actor_id}/{what}"
        assert error_of(await http.request(method, path + "?namespace=other")) == "actor/not_found"
        assert error_of(await http.request(method, f"/actors/{'f' * 32}/{what}")) == "actor/not_found"
        assert error_of(await http.request(method, f"/actors/junk/{what}")) == "actor/not_found"
    assert world.service.reloaded == []


async def test_nothing_is_rolled_out_or_reloaded_while_the_host_drains(world: World, http: httpx.AsyncClient) -> None:
    record = await world.actor("room", "a")
    await deploy(http, b"one")
    world.status = "draining"
    for path in ("/definitions/room/rollout", "/definitions/room/rollback", f"/actors/{record.actor_id}/reload"):
        assert error_of(await http.post(path)) == "node/draining"
