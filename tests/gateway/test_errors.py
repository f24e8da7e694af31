"""What errors show, what they hide, and what is logged of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from host.gateway.auth import AuthPolicy
from host.gateway.errors import close_reason, cut_reason
from host.model.errors import InternalError, UnavailableError
from tests.gateway.support import World, unexpected

pytestmark = pytest.mark.anyio


def whole(lines: Any) -> str:
    return json.dumps(lines, default=repr)


@pytest.mark.parametrize(
    "error", [RuntimeError("secret detail"), InternalError("secret detail"), unexpected(), KeyError("secret detail")]
)
async def test_an_internal_error_is_masked_and_logged_with_the_ray_of_the_answer(
    world: World, error: Exception
) -> None:
    record = await world.actor()
    world.service.fail = error
    with capture_logs() as lines:
        async with world.client() as http:
            response = await http.post(f"/gateway/{record.actor_id}/action/x")
    assert response.status_code == 500
    body = response.json()
    assert (body["group"], body["code"]) == ("internal", "internal_error")
    assert body["message"] == "An internal error occurred"
    assert "secret" not in response.text
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["ray"] == response.headers["x-rivet-ray-id"]
    assert "secret detail" in line["detail"]
    assert (line["exc_info"] is None) == (not isinstance(error, RuntimeError | KeyError))


async def test_an_unavailable_host_says_when_to_come_back_and_is_no_error_of_ours(world: World) -> None:
    world.service.fail = UnavailableError("storage", "unavailable", "the disk is full", retry_after=0.2)
    with capture_logs() as lines:
        async with world.client() as http:
            response = await http.put("/actors", json={"name": "room"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert lines[-1]["log_level"] == "warning"
    assert world.metrics.counter("errors", "storage/unavailable") == 1


async def test_every_answer_has_a_ray_of_its_own(world: World) -> None:
    async with world.client() as http:
        rays = {
            (await http.get(path)).headers["x-rivet-ray-id"] for path in ("/health", "/nothing", "/limits", "/actors")
        }
    assert len(rays) == 4


async def test_tokens_and_query_strings_are_not_logged() -> None:
    token = "super-secret-token"
    world = World(AuthPolicy(admin_token=token))
    record = await world.actor()
    world.service.fail = RuntimeError("boom")
    with capture_logs() as lines:
        async with world.client() as http:
            for path in (
                f"/gateway/{record.actor_id}@{token}/action/x?password=hunter2",
                f"/gateway/{record.actor_id}@{token}x/action/x?password=hunter2",
                f"/gateway/room/action/x?rvt-method=get&rvt-token={token}&password=hunter2",
            ):
                await http.post(path)
            await http.get("/limits?password=hunter2", headers={"authorization": f"Bearer {token}x"})
            await http.get("/nothing?password=hunter2", headers={"x-rivet-token": token})
    assert len(lines) == 5
    assert token not in whole(lines)
    assert "hunter2" not in whole(lines)


def test_a_close_reason_fits_a_close_frame() -> None:
    assert close_reason("actor", "poison_message", "abc") == "actor.poison_message#abc"
    assert close_reason("ws", "slow_reader") == "ws.slow_reader"
    assert len(close_reason("user", "x" * 200, "abc").encode()) == 123
    assert cut_reason("a" + "é" * 61 + "é") == "a" + "é" * 61
