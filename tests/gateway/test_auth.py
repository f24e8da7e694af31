"""Who may do what: every row of the route table under every policy, and what `dev` refuses."""

from __future__ import annotations

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.errors import DormiceError
from tests.gateway.support import World, error_of

pytestmark = pytest.mark.anyio

TOKEN = "admin-token-7d1f"
ID = "0" * 32

DATA = [
    ("GET", "/metadata"),
    ("PUT", "/actors"),
    ("POST", "/actors"),
    ("GET", "/actors?actor_ids=" + ID),
    ("GET", "/actors?name=room&key=a"),
    ("POST", f"/gateway/{ID}/action/x"),
    ("GET", f"/gateway/{ID}/request/x"),
    ("GET", f"/gateway/{ID}/metadata"),
    ("POST", "/gateway/room/action/x?rvt-method=get"),
]
CONTROL = [
    ("GET", "/actors"),
    ("GET", "/actors?name=room"),
    ("GET", "/actors/names"),
    ("DELETE", f"/actors/{ID}"),
    ("POST", f"/actors/{ID}/sleep"),
    ("GET", f"/actors/{ID}/snapshot"),
    ("GET", f"/actors/{ID}/dead-letters"),
    ("POST", "/modules"),
    ("GET", "/modules"),
    ("GET", "/modules/" + ID),
    ("GET", "/definitions"),
    ("PUT", "/definitions/room"),
    ("GET", "/definitions/room"),
    ("GET", "/definitions/room/versions"),
    ("POST", "/definitions/room/rollout"),
    ("PATCH", "/definitions/room/rollout"),
    ("POST", "/definitions/room/rollback"),
    ("POST", f"/actors/{ID}/reload"),
    ("GET", f"/actors/{ID}/status"),
    ("GET", f"/tenants/{ID}/usage"),
    ("PUT", f"/tenants/{ID}/quotas"),
    ("POST", f"/tenants/{ID}/tokens"),
    ("GET", f"/tenants/{ID}/tokens"),
    ("DELETE", f"/tenants/{ID}/tokens/{ID}"),
    ("POST", f"/tenants/{ID}/connection-tokens"),
    ("GET", "/limits"),
    ("GET", "/metrics"),
]


def refused(response: httpx.Response) -> str | None:
    return error_of(response) if response.status_code in (401, 403) else None


async def ask(policy: AuthPolicy, method: str, path: str, **headers: str) -> str | None:
    async with World(policy).client() as client:
        return refused(await client.request(method, path, headers=headers))


def test_without_dev_a_token_is_needed_to_serve_at_all() -> None:
    with pytest.raises(DormiceError, match="DORMICE_ADMIN_TOKEN"):
        AuthPolicy()
    with pytest.raises(DormiceError, match="DORMICE_ADMIN_TOKEN"):
        AuthPolicy(admin_token="", public_actors=True)


def test_a_policy_does_not_show_its_token() -> None:
    assert TOKEN not in repr(AuthPolicy(admin_token=TOKEN))


def test_the_table_of_this_file_covers_every_route() -> None:
    app = World(AuthPolicy(dev=True)).app
    named = {(method, path.replace(ID, "{}").partition("?")[0]) for method, path in DATA + CONTROL}
    for endpoint in app.endpoints:
        path = endpoint.route.path
        for parameter in ("{actor_id}", "{digest}", "{namespace}", "{token_id}"):
            path = path.replace(parameter, "{}")
        method = next(iter((endpoint.route.methods or set()) - {"HEAD"}))
        if path != "/health":
            assert (method, path.replace("{name}", "room")) in named


@pytest.mark.parametrize(("method", "path"), DATA + CONTROL)
async def test_with_a_token_set_both_planes_want_it(method: str, path: str) -> None:
    policy = AuthPolicy(admin_token=TOKEN)
    assert await ask(policy, method, path) == "auth/unauthenticated"
    assert await ask(policy, method, path, authorization="Bearer wrong") == "auth/forbidden"
    assert await ask(policy, method, path, authorization=f"Basic {TOKEN}") == "auth/unauthenticated"
    assert await ask(policy, method, path, authorization=f"bearer {TOKEN}") is None
    assert await ask(policy, method, path, **{"x-rivet-token": TOKEN}) is None


@pytest.mark.parametrize(("method", "path"), DATA)
async def test_public_actors_open_the_data_plane(method: str, path: str) -> None:
    assert await ask(AuthPolicy(admin_token=TOKEN, public_actors=True), method, path) is None


@pytest.mark.parametrize(("method", "path"), CONTROL)
async def test_public_actors_do_not_open_the_control_plane(method: str, path: str) -> None:
    policy = AuthPolicy(admin_token=TOKEN, public_actors=True)
    assert await ask(policy, method, path) == "auth/unauthenticated"


@pytest.mark.parametrize(("method", "path"), DATA + CONTROL)
async def test_dev_needs_no_token_on_a_loopback_host(method: str, path: str) -> None:
    assert await ask(AuthPolicy(dev=True), method, path) is None


@pytest.mark.parametrize(("method", "path"), [*DATA, *CONTROL, ("GET", "/health"), ("OPTIONS", "/actors")])
async def test_dev_refuses_a_host_that_is_not_loopback_on_everything(method: str, path: str) -> None:
    assert await ask(AuthPolicy(dev=True), method, path, host="evil.example") == "auth/forbidden"


@pytest.mark.parametrize(("method", "path"), CONTROL)
async def test_dev_refuses_web_pages_on_the_control_plane(method: str, path: str) -> None:
    assert await ask(AuthPolicy(dev=True), method, path, origin="http://localhost:3000") == "auth/forbidden"
    assert await ask(AuthPolicy(dev=True), method, path, origin="null") == "auth/forbidden"


@pytest.mark.parametrize(("method", "path"), DATA)
async def test_dev_lets_web_pages_use_the_data_plane(method: str, path: str) -> None:
    assert await ask(AuthPolicy(dev=True), method, path, origin="http://localhost:3000") is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:6420", "LOCALHOST.", "127.0.0.1:1", "127.9.9.9", "[::1]:6420", "[::1]", "a.localhost"],
)
async def test_loopback_hosts_are_recognised(host: str) -> None:
    assert await ask(AuthPolicy(dev=True), "GET", "/limits", host=host) is None


@pytest.mark.parametrize(
    "host",
    ["", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "127.0.0.1@evil.example", "::"],
)
async def test_other_hosts_are_not(host: str) -> None:
    assert await ask(AuthPolicy(dev=True), "GET", "/limits", host=host) == "auth/forbidden"


async def test_the_path_and_the_query_of_a_gateway_address_may_carry_the_token() -> None:
    policy = AuthPolicy(admin_token=TOKEN)
    assert await ask(policy, "GET", f"/gateway/{ID}@{TOKEN}/metadata") is None
    assert await ask(policy, "GET", f"/gateway/{ID}@wrong/metadata") == "auth/forbidden"
    assert await ask(policy, "GET", f"/gateway/room/metadata?rvt-method=get&rvt-token={TOKEN}") is None


async def test_health_is_open_and_says_only_up_or_draining() -> None:
    world = World(AuthPolicy(admin_token=TOKEN))
    async with world.client() as client:
        up = await client.get("/health")
        world.status = "draining"
        draining = await client.get("/health")
    assert (up.status_code, up.json()) == (200, {"status": "up"})
    assert (draining.status_code, draining.json()) == (503, {"status": "draining"})


async def test_a_missing_token_is_asked_for_in_the_way_of_http() -> None:
    async with World(AuthPolicy(admin_token=TOKEN)).client() as client:
        response = await client.get("/limits")
    assert response.headers["www-authenticate"] == "Bearer"
