"""Who may call what: every route of both planes, and sockets, against every kind of caller. Every cell is tried.

All routes are asked about things of the namespace `acme`. A cell says how the host answers:

    .  let in (whatever the handler then says)      U  auth/unauthenticated, 401
    F  auth/forbidden, 403                          N  as if it were not there, 404
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.definitions import DefinitionOptions
from host.model.identity import SCOPES, Bounds, Scope
from tests.gateway.support import NOW, World

pytestmark = pytest.mark.anyio

ADMIN = "admin-token-7d1f"


class Scene:
    """A host with an actor of `acme`, and one caller after another."""

    def __init__(self) -> None:
        self.world = World(AuthPolicy(admin_token=ADMIN))
        self.tokens = self.world.app.tokens

    async def build(self) -> None:
        made = await self.world.service.get_or_create("acme", "room", ("a",), None)
        self.actor_id = made[0].actor_id
        self.module = await self.world.modules.upload("acme", b"code", "text/javascript")
        await self.world.modules.deploy("acme", "room", self.module.digest, DefinitionOptions(), {})
        self.row, _ = await self.tokens.create("acme", ["connect"], "doomed", None, allowed=9)

    async def tenant(self, *scopes: Scope, tenant: str = "acme", expires_at: int | None = None) -> str:
        return (await self.tokens.create(tenant, scopes, "", expires_at, allowed=9))[1]

    def connection(self, *, tenant: str = "acme", expires_at: int = NOW + 1_000, **bounds: Any) -> str:
        return self.tokens.connection(tenant, expires_at, Bounds(**bounds), None)


async def _nobody(scene: Scene) -> str | None:
    return None


async def _garbage(scene: Scene) -> str:
    return "garbage"


async def _forged(scene: Scene) -> str:
    return (await scene.tenant(*SCOPES))[:-1] + "_"


async def _forged_connection(scene: Scene) -> str:
    _, _, signature = scene.connection(tenant="other").partition(".")
    return f"{scene.connection().partition('.')[0]}.{signature}"


async def _elsewhere(scene: Scene) -> str:
    return await scene.tenant(*SCOPES, tenant="other")


async def _expired(scene: Scene) -> str:
    return await scene.tenant(*SCOPES, expires_at=NOW)


async def _revoked(scene: Scene) -> str:
    row, token = await scene.tokens.create("acme", SCOPES, "", None, allowed=9)
    assert await scene.tokens.revoke("acme", row.token_id)
    return token


async def _client(scene: Scene) -> str:
    return scene.connection()


async def _late_client(scene: Scene) -> str:
    return scene.connection(expires_at=NOW)


async def _client_elsewhere(scene: Scene) -> str:
    return scene.connection(tenant="other")


async def _bound_to_it(scene: Scene) -> str:
    return scene.connection(actor_id=scene.actor_id)


async def _bound_to_another(scene: Scene) -> str:
    return scene.connection(actor_id="f" * 32)


async def _bound_to_key(scene: Scene) -> str:
    return scene.connection(name="room", key=("a",))


async def _bound_to_action(scene: Scene) -> str:
    return scene.connection(actions=("x",))


async def _deploy(scene: Scene) -> str:
    return await scene.tenant("deploy")


async def _actors(scene: Scene) -> str:
    return await scene.tenant("actors")


async def _connect(scene: Scene) -> str:
    return await scene.tenant("connect")


async def _tokens(scene: Scene) -> str:
    return await scene.tenant("tokens")


async def _all(scene: Scene) -> str:
    return await scene.tenant(*SCOPES)


async def _admin(scene: Scene) -> str:
    return ADMIN


Caller = Callable[[Scene], Awaitable[str | None]]

# The columns, in this order, in three groups.
STRANGERS: tuple[Caller, ...] = (_nobody, _garbage, _forged, _forged_connection, _expired, _revoked, _late_client)
CLIENTS: tuple[Caller, ...] = (
    _client, _bound_to_it, _bound_to_another, _bound_to_key, _bound_to_action, _client_elsewhere,
)  # fmt: skip
TENANTS: tuple[Caller, ...] = (_deploy, _actors, _connect, _tokens, _all, _elsewhere, _admin)

NOT_LET_IN = "UFFFFFF"
BY_ID = "{ID}"

# method, path, what strangers, clients and tenants get
TABLE: list[tuple[str, str, str, str, str]] = [
    # open
    ("GET", "/health", ".......", "......", "......."),
    # data plane; a bound token finds only what it is bound to
    ("GET", "/metadata", NOT_LET_IN, "......", "FF.F..."),
    ("PUT", "/actors?namespace=acme", NOT_LET_IN, ".FF..F", "FF.F.F."),
    ("POST", "/actors?namespace=acme", NOT_LET_IN, ".FF..F", "FF.F.F."),
    ("PUT", "/actors", NOT_LET_IN, ".FF...", "FF.F..."),
    ("GET", "/actors?namespace=acme&actor_ids={ID}", NOT_LET_IN, "..N..F", "FF.F.F."),
    ("GET", "/actors?namespace=acme&name=room&key=a", NOT_LET_IN, "..N..F", "FF.F.F."),
    ("GET", "/actors?actor_ids={ID}", NOT_LET_IN, "..N..N", "FF.F.NN"),
    ("POST", "/gateway/{ID}/action/x", NOT_LET_IN, "..N..N", "FF.F.N."),
    ("POST", "/gateway/{ID}/action/y", NOT_LET_IN, "..N.FN", "FF.F.N."),
    ("GET", "/gateway/{ID}/request/x", NOT_LET_IN, "..N.FN", "FF.F.N."),
    ("GET", "/gateway/{ID}/metadata", NOT_LET_IN, "..N..N", "FF.F.N."),
    ("GET", "/gateway/{ID}/health", NOT_LET_IN, "..N..N", "FF.F.N."),
    ("GET", "/gateway/{ID}/session", NOT_LET_IN, "..N..N", "FF.F.N."),
    ("POST", "/gateway/room/action/x?rvt-method=get&rvt-key=a&rvt-namespace=acme", NOT_LET_IN, "..N..F", "FF.F.F."),
    ("POST", "/gateway/room/action/x?rvt-method=get&rvt-key=a", NOT_LET_IN, "..N..N", "FF.F.NN"),
    ("POST", "/gateway/room/action/x?rvt-method=getOrCreate&rvt-key=b", NOT_LET_IN, ".FFF..", "FF.F..."),
    ("WEBSOCKET", "/gateway/{ID}/websocket/", NOT_LET_IN, "..N.FN", "FF.F.N."),
    ("WEBSOCKET", "/gateway/room/websocket/?rvt-method=get&rvt-key=a", NOT_LET_IN, "..N.FN", "FF.F.NN"),
    ("WEBSOCKET", "/gateway/{ID}/connect", NOT_LET_IN, "..N..N", "FF.F.N."),
    ("GET", "/request/x", NOT_LET_IN, "..N.FN", "FF.F.N."),
    ("WEBSOCKET", "/websocket/", NOT_LET_IN, "..N.FN", "FF.F.N."),
    # control plane: definitions and modules
    ("POST", "/modules?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("GET", "/modules?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("GET", "/modules/{DIGEST}?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("GET", "/modules/{DIGEST}", NOT_LET_IN, "FFFFFF", ".FFF.NN"),
    ("GET", "/definitions?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("PUT", "/definitions/room?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("GET", "/definitions/room?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("GET", "/definitions/room", NOT_LET_IN, "FFFFFF", ".FFF.NN"),
    ("GET", "/definitions/room/versions?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("POST", "/definitions/room/rollout?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("PATCH", "/definitions/room/rollout?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    ("POST", "/definitions/room/rollback?namespace=acme", NOT_LET_IN, "FFFFFF", ".FFF.F."),
    # control plane: actors
    ("GET", "/actors?namespace=acme", NOT_LET_IN, "FFFFFF", "F.FF.F."),
    ("GET", "/actors/names?namespace=acme", NOT_LET_IN, "FFFFFF", "F.FF.F."),
    ("DELETE", "/actors/{ID}", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    ("POST", "/actors/{ID}/sleep", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    ("GET", "/actors/{ID}/snapshot", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    ("GET", "/actors/{ID}/dead-letters", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    ("POST", "/actors/{ID}/reload", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    ("GET", "/actors/{ID}/status", NOT_LET_IN, "FFFFFF", "F.FF.N."),
    # control plane: tenants and tokens
    ("GET", "/tenants/acme/usage", NOT_LET_IN, "FFFFFF", ".....F."),
    ("PUT", "/tenants/acme/quotas", NOT_LET_IN, "FFFFFF", "FFFFFF."),
    ("POST", "/tenants/acme/tokens", NOT_LET_IN, "FFFFFF", "FFF..F."),
    ("GET", "/tenants/acme/tokens", NOT_LET_IN, "FFFFFF", "FFF..F."),
    ("DELETE", "/tenants/acme/tokens/{TOKEN}", NOT_LET_IN, "FFFFFF", "FFF..F."),
    ("POST", "/tenants/acme/connection-tokens", NOT_LET_IN, "FFFFFF", "FFFF.F."),
    # control plane: the host
    ("GET", "/limits", NOT_LET_IN, "FFFFFF", "......."),
    ("GET", "/metrics", NOT_LET_IN, "FFFFFF", "FFFFFF."),
]  # fmt: skip

BODIES: dict[str, Any] = {
    "PUT /actors": {"name": "room", "key": "a"},
    "POST /actors": {"name": "room", "key": "a"},
    "POST /tenants/acme/tokens": {"scopes": ["tokens"]},
    "POST /tenants/acme/connection-tokens": {},
    "PUT /tenants/acme/quotas": {"quotas": {}},
    "PUT /definitions/room": {"module": "sha256:{DIGEST}"},
}


# Addresses but those that name the actor in headers.
OTHERS = ("/gateway", "/actors", "/modules", "/definitions", "/tenants", "/limits", "/metrics", "/metadata", "/health")


async def cell(method: str, path: str, caller: Caller) -> str:
    scene = Scene()
    await scene.build()
    places = {"{ID}": scene.actor_id, "{DIGEST}": scene.module.digest, "{TOKEN}": scene.row.token_id}
    for place, value in places.items():
        path = path.replace(place, value)
    token = await caller(scene)
    named = {} if path.startswith(OTHERS) else {"x-rivet-target": "actor", "x-rivet-actor": scene.actor_id}
    if method == "WEBSOCKET":
        return _letter(*await upgrade(scene.world, path, token, named))
    body = BODIES.get(f"{method} {path.partition('?')[0]}")
    if body is not None and "module" in body:
        body = {"module": f"sha256:{scene.module.digest}"}
    headers = named if token is None else {"authorization": f"Bearer {token}", **named}
    if path.startswith("/modules") and method == "POST":
        headers["content-type"] = "text/javascript"
    async with scene.world.client(**headers) as client:
        answer = await client.request(method, path, json=body if body is not None else {} if method != "GET" else None)
    if answer.content == b'{"actors":[],"pagination":{}}':
        return "N"
    return _letter(answer.status_code, answer)


async def upgrade(world: World, path: str, token: str | None, more: dict[str, str]) -> tuple[int, Any]:
    """The status of an upgrade: 101, or that of its refusal, with the body."""
    place, _, query = path.partition("?")
    headers = {"host": "localhost", **more} | ({"x-rivet-token": token} if token else {})
    scope = {
        "type": "websocket",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    sent: list[Any] = []
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000, "reason": ""}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    with anyio.fail_after(10):
        await world.app(scope, receive, send)
    if sent[0]["type"] == "websocket.accept":
        return 101, None
    return sent[0]["status"], httpx.Response(sent[0]["status"], content=sent[1]["body"])


def _letter(status: int, answer: httpx.Response | None) -> str:
    name = ""
    if answer is not None and status >= 400:
        body = answer.json()
        name = f"{body['group']}/{body['code']}"
    assert not status >= 500 or name == "limit/exceeded", (status, name)
    if name == "auth/unauthenticated":
        assert status == 401
        return "U"
    if name == "auth/forbidden":
        assert status == 403
        return "F"
    return "N" if name in ("actor/not_found", "module/not_found", "definition/not_found") else "."


@pytest.mark.parametrize(("method", "path", "strangers", "clients", "tenants"), TABLE)
async def test_every_caller_gets_what_the_table_says(
    method: str, path: str, strangers: str, clients: str, tenants: str
) -> None:
    for callers, expected in ((STRANGERS, strangers), (CLIENTS, clients), (TENANTS, tenants)):
        assert len(callers) == len(expected)
        got = {caller.__name__: await cell(method, path, caller) for caller in callers}
        assert got == {caller.__name__: letter for caller, letter in zip(callers, expected, strict=True)}


def test_the_table_covers_every_route() -> None:
    named = {(method, _pattern(path)) for method, path, *_ in TABLE}
    for endpoint in World(AuthPolicy(dev=True)).app.endpoints:
        path = endpoint.route.path.replace("{name}", "room").replace("{namespace}", "acme")
        path = path.replace("{actor_id}", "{ID}").replace("{digest}", "{DIGEST}").replace("{token_id}", "{TOKEN}")
        for method in (endpoint.route.methods or set()) - {"HEAD"}:
            assert (method, path) in named, f"{method} {path} has no row in the matrix"


def _pattern(path: str) -> str:
    return path.partition("?")[0]


async def test_what_is_anothers_and_what_is_not_there_look_the_same() -> None:
    scene = Scene()
    await scene.build()
    unknown = "0" * 32
    async with scene.world.client(authorization=f"Bearer {await _elsewhere(scene)}") as client:
        for path in ("/actors/{}/snapshot", "/actors/{}/status", "/gateway/{}/metadata", "/gateway/{}/request/x"):
            theirs, nobodys = (
                await client.get(path.format(scene.actor_id)),
                await client.get(path.format(unknown)),
            )
            assert theirs.status_code == nobodys.status_code == 404
            assert theirs.content.replace(scene.actor_id.encode(), unknown.encode()) == nobodys.content
            assert [name for name in theirs.headers if name.startswith("x-rivet-actor")] == []
        for namespace in ("acme", "never-used"):
            answer = await client.get(f"/definitions?namespace={namespace}")
            assert answer.json()["message"] == "this token does not allow it"


async def test_every_refusal_of_a_token_looks_the_same() -> None:
    scene = Scene()
    await scene.build()
    bodies = set()
    for caller in (*STRANGERS[1:], _client_elsewhere):
        token = await caller(scene)
        async with scene.world.client(authorization=f"Bearer {token}") as client:
            bodies.add((await client.get("/limits")).content)
    assert len(bodies) == 1
