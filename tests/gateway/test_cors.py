"""CORS belongs to the data plane, errors and preflights included, and to nothing else."""

from __future__ import annotations

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from tests.gateway.support import World

pytestmark = pytest.mark.anyio

ORIGIN = {"origin": "https://app.example"}
POLICY = AuthPolicy(admin_token="adm", public_actors=True)


@pytest.mark.parametrize(
    "path", ["/gateway/x/action/y", "/gateway/room/request/?rvt-method=get", "/actors", "/metadata"]
)
async def test_a_preflight_is_answered_without_a_token(path: str) -> None:
    asked = ORIGIN | {
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-custom, x-rivet-token",
    }
    async with World(AuthPolicy(admin_token="adm")).client() as http:
        response = await http.options(path, headers=asked)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert response.headers["access-control-allow-headers"] == "x-custom, x-rivet-token"
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert response.headers["vary"] == "Origin"


async def test_answers_and_errors_of_the_data_plane_may_be_read_by_pages() -> None:
    async with World(POLICY).client() as http:
        for response in (
            await http.put("/actors", json={"name": "room"}, headers=ORIGIN),
            await http.post("/gateway/junk/action/x", headers=ORIGIN),
            await http.get("/actors?actor_ids=junk", headers=ORIGIN),
        ):
            assert response.headers["access-control-allow-origin"] == "https://app.example"
            assert "x-rivet-ray-id" in response.headers["access-control-expose-headers"]


async def test_a_missing_token_on_the_data_plane_can_be_read_as_an_error() -> None:
    async with World(AuthPolicy(admin_token="adm")).client() as http:
        response = await http.put("/actors", json={"name": "room"}, headers=ORIGIN)
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example"


def of_cors(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


async def test_the_control_plane_has_none() -> None:
    token = {"authorization": "Bearer adm"}
    async with World(POLICY).client() as http:
        for method, path in (("GET", "/limits"), ("GET", "/actors"), ("DELETE", "/actors/x"), ("GET", "/nothing")):
            assert of_cors(await http.request(method, path, headers=ORIGIN | token)) == set()
        preflight = await http.options("/definitions/room", headers=ORIGIN)
    assert (preflight.status_code, of_cors(preflight)) == (405, set())


async def test_without_an_origin_there_are_no_cors_headers() -> None:
    async with World(POLICY).client() as http:
        assert of_cors(await http.put("/actors", json={"name": "room"})) == set()
