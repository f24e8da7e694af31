"""The client: one object per host, an async context manager.

    async with Client("http://127.0.0.1:6420") as host:
        await host.deploy("counter", source, "text/javascript")
        counter = host.get_or_create("counter", ["room-1"])
        print(await counter.action("increment", 1))

Arguments and results are Python objects as `host.wire.values` maps them (bytes are a Uint8Array, big integers a
BigInt). Every method raises `host.model.errors.DormiceError`s: the host's own, or group `client` when no host answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Raw, Struct

from host.client.answers import decode_answer, decode_snapshot, decode_status, error_of, unreachable
from host.client.gateway import Gateway, Params
from host.client.handle import ActorHandle
from host.client.records import (
    ActorInfo,
    ActorPage,
    ConnectionToken,
    CreatedToken,
    DeadLetterInfo,
    DeadLetterPage,
    DefinitionInfo,
    DeployHistory,
    HealthInfo,
    ModuleDetails,
    ModuleInfo,
    RollbackInfo,
    TokenInfo,
)
from host.client.session import SessionSocket
from host.client.socket import ActorSocket, Opening, Way
from host.model.errors import CallerError
from host.model.snapshot import ActorSnapshot
from host.model.status import ActorStatus
from host.model.usage import TenantUsage
from host.wire.cbor import value_to_cbor
from host.wire.frames.encoding import DEFAULT_ENCODING, Encoding
from host.wire.keys import encode_key
from host.wire.values import from_python

__all__ = ["DEFAULT_ENDPOINT", "Client"]

T = TypeVar("T")
# The parts of a key; a str is a key of one part.
Key = str | Sequence[str]
DEFAULT_ENDPOINT = "http://127.0.0.1:6420"
# Longer than the host's own time-out of a handler, so that the host's answer comes first.
TIMEOUT = httpx.Timeout(75.0, connect=5.0)


class _Created(Struct, frozen=True):
    actor: ActorInfo
    created: bool = True


class _Pagination(Struct, frozen=True):
    cursor: str | None = None


class _Listed(Struct, frozen=True):
    actors: list[ActorInfo]
    pagination: _Pagination = _Pagination()


class _Letters(Struct, frozen=True):
    dead_letters: list[DeadLetterInfo]
    pagination: _Pagination = _Pagination()


class _Tokens(Struct, frozen=True):
    tokens: list[TokenInfo]


class _Revoked(Struct, frozen=True):
    closed: int


class Client:
    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        token: str | None = None,
        namespace: str = "default",
        encoding: Encoding = DEFAULT_ENCODING,
        transport: httpx.AsyncBaseTransport | None = None,
        way: Way | None = None,
    ) -> None:
        """`transport` and `way` are how requests and sockets get to a host that is not to be reached by its address."""
        self.endpoint = endpoint.rstrip("/")
        self._token = token
        self._namespace = namespace
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False, transport=transport)
        self._gateway = Gateway(self.endpoint, self._http, token, encoding, way)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # modules and definitions -------------------------------------------------------------------------------------

    async def upload(self, data: bytes, content_type: str) -> ModuleInfo:
        """`content_type` is `application/wasm` or `text/javascript`."""
        return await self._ask("POST", "/modules", ModuleInfo, content=data, content_type=content_type)

    async def module(self, digest: str) -> ModuleDetails:
        """A stored module, with the report of its admission; `digest` with or without `sha256:`."""
        return decode_answer(await self.module_json(digest), ModuleDetails)

    async def module_json(self, digest: str) -> bytes:
        """The same as the host sends it."""
        return bytes(await self._ask("GET", f"/modules/{_part(digest)}", Raw))

    async def define(self, name: str, module: str, **more: Any) -> DefinitionInfo:
        """A new version of a definition; `options` and `limits` as the control plane takes them."""
        return await self._put_definition(name, {"module": module, **more})

    async def deploy(self, name: str, data: bytes, content_type: str, **more: Any) -> DefinitionInfo:
        """`more` is as for `define`; `rollout={"percent": 10}` begins with some of the actors, `{"now": True}` with
        those that are awake, without waiting for their next wake."""
        module = await self.upload(data, content_type)
        return await self.define(name, module.digest, **more)

    async def deploy_named(self, data: bytes, content_type: str, **more: Any) -> list[DefinitionInfo]:
        """Deploys a module under every name that its own actors have, in alphabetical order. `request/invalid` if it
        names none: such a module serves whatever name it is deployed under."""
        module = await self.upload(data, content_type)
        report = (await self.module(module.digest)).report
        names = () if report is None else report.names
        if not names:
            raise CallerError("request", "invalid", "the module does not name its actor: deploy it under a name")
        return [await self.define(name, module.digest, **more) for name in sorted(names)]

    async def deploy_url(self, name: str, url: str, sha256: str, **more: Any) -> DefinitionInfo:
        """The host loads the module itself."""
        return await self._put_definition(name, {"url": url, "sha256": sha256, **more})

    async def roll_out(
        self, name: str, *, percent: int | None = None, now: bool = False, rate: int | None = None
    ) -> DefinitionInfo:
        """Gives the newest version to so many percent of the actors, or to those awake now, `rate` a second."""
        return await self._rollout(name, "rollout", DefinitionInfo, percent, now, rate)

    async def roll_back(self, name: str, *, now: bool = False, rate: int | None = None) -> RollbackInfo:
        """Makes a new version of what the one before the newest was; the newest has failed then."""
        return await self._rollout(name, "rollback", RollbackInfo, None, now, rate)

    async def deploys(self, name: str) -> DeployHistory:
        """The versions of a definition and how they go, the newest first."""
        return await self._ask("GET", f"/definitions/{_part(name)}/versions", DeployHistory)

    # actors ------------------------------------------------------------------------------------------------------

    def get(self, name: str, key: Key = (), *, params: Params = None) -> ActorHandle:
        """A handle of the actor with this name and key, which has to be there; nothing is asked of the host yet. A key
        that is a str has one part."""
        parts = _parts(key)

        async def find() -> ActorInfo:
            query = {"name": name, "key": encode_key(parts)}
            listed = await self._ask("GET", "/actors", _Listed, query=query)
            if not listed.actors:
                raise CallerError("actor", "not_found", "there is no actor of this name and key")
            return listed.actors[0]

        return ActorHandle(self._gateway, find, params=params)

    def get_or_create(self, name: str, key: Key = (), input: Any = None, *, params: Params = None) -> ActorHandle:
        """The same; its first use creates the actor if need be, with `input`. Awaiting the handle does no more."""
        parts = _parts(key)
        return ActorHandle(self._gateway, lambda: self._create("PUT", name, parts, input), params=params)

    async def create(self, name: str, key: Key = (), input: Any = None, *, params: Params = None) -> ActorHandle:
        """A new actor; raises `actor/duplicate_key` if there is one. No guest code runs."""
        made = await self._create("POST", name, _parts(key), input)
        return self.get_for_id(made.actor_id, params=params)

    def get_for_id(self, actor_id: str, *, params: Params = None) -> ActorHandle:
        async def find() -> ActorInfo:
            listed = await self._ask("GET", "/actors", _Listed, query={"actor_ids": actor_id})
            if not listed.actors:
                raise CallerError("actor", "not_found", "there is no such actor")
            return listed.actors[0]

        return ActorHandle(self._gateway, find, actor_id=actor_id, params=params)

    async def _create(self, method: str, name: str, key: Sequence[str], input: Any) -> ActorInfo:
        body: dict[str, Any] = {"name": name, "key": encode_key(key)}
        if input is not None:
            body["input"] = value_to_cbor(from_python(input))  # bytes become base64 in JSON
        return (await self._ask(method, "/actors", _Created, content=msgspec.json.encode(body))).actor

    async def actors(
        self, name: str | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> ActorPage:
        query = {"name": name, "limit": limit, "cursor": cursor}
        listed = await self._ask(
            "GET", "/actors", _Listed, query={k: str(v) for k, v in query.items() if v is not None}
        )
        return ActorPage(listed.actors, listed.pagination.cursor)

    async def snapshot(self, actor_id: str) -> ActorSnapshot:
        """The host's record of the actor, which is not woken for it."""
        return decode_snapshot(await self.snapshot_json(actor_id))

    async def snapshot_json(self, actor_id: str) -> bytes:
        """The same as the host sends it."""
        return bytes(await self._ask("GET", f"/actors/{_part(actor_id)}/snapshot", Raw))

    async def dead_letters(
        self, actor_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> DeadLetterPage:
        """What the host gave up for the actor, the oldest first."""
        query = {"limit": limit, "cursor": cursor}
        listed = await self._ask(
            "GET",
            f"/actors/{_part(actor_id)}/dead-letters",
            _Letters,
            query={k: str(v) for k, v in query.items() if v is not None},
        )
        return DeadLetterPage(listed.dead_letters, listed.pagination.cursor)

    async def status(self, actor_id: str) -> ActorStatus:
        """How the actor is; it is not woken for it."""
        return decode_status(await self._ask("GET", f"/actors/{_part(actor_id)}/status", Raw))

    async def reload(self, actor_id: str) -> ActorStatus:
        """Starts a running actor anew, or tries a failed one now; how it is then."""
        return decode_status(await self._ask("POST", f"/actors/{_part(actor_id)}/reload", Raw))

    async def sleep(self, actor_id: str) -> None:
        """Returns once the actor sleeps."""
        await self._ask("POST", f"/actors/{_part(actor_id)}/sleep", Raw)

    async def destroy(self, actor_id: str) -> None:
        """Returns once nothing is left of the actor; its code may take some seconds for its end."""
        await self._ask("DELETE", f"/actors/{_part(actor_id)}", Raw)

    async def call(self, actor_id: str, action: str, *args: Any) -> Any:
        """Carries an action out, waking the actor if it sleeps."""
        return await self._gateway.action(actor_id, action, args, {})

    def connect(self, actor_id: str, path: str = "") -> Opening[ActorSocket]:
        """A raw WebSocket, to be awaited or entered; `path` is what the actor sees, with its query string."""
        return self.get_for_id(actor_id).websocket(path)

    def session(self, actor_id: str, path: str = "") -> SessionSocket:
        """A raw WebSocket that comes back by itself after a break; an async context manager, as `connect` gives."""
        return self._gateway.session(actor_id, f"websocket/{path.lstrip('/')}")

    async def usage(self, tenant: str) -> TenantUsage:
        """What a tenant uses, and its quotas."""
        return await self._ask("GET", f"/tenants/{_part(tenant)}/usage", TenantUsage)

    async def set_quotas(self, tenant: str, quotas: Mapping[str, int]) -> TenantUsage:
        """In place of the quotas that the tenant had of its own."""
        body = msgspec.json.encode({"quotas": dict(quotas)})
        return await self._ask("PUT", f"/tenants/{_part(tenant)}/quotas", TenantUsage, content=body)

    # tokens ------------------------------------------------------------------------------------------------------

    async def create_token(
        self, scopes: Sequence[str], *, label: str = "", expires_in: int | None = None
    ) -> CreatedToken:
        """A token of this client's namespace; `expires_in` in ms, None for never. Its secret is in this answer only."""
        body: dict[str, Any] = {"scopes": list(scopes), "label": label}
        if expires_in is not None:
            body["expires_in"] = expires_in
        return await self._ask("POST", f"{self._tenant}/tokens", CreatedToken, content=msgspec.json.encode(body))

    async def tokens(self) -> list[TokenInfo]:
        """Those of this client's namespace that have not expired, the oldest first."""
        return (await self._ask("GET", f"{self._tenant}/tokens", _Tokens)).tokens

    async def revoke_token(self, token_id: str) -> int:
        """At once; how many sockets were closed that it had let in."""
        return (await self._ask("DELETE", f"{self._tenant}/tokens/{_part(token_id)}", _Revoked)).closed

    async def connection_token(
        self,
        *,
        name: str | None = None,
        key: Sequence[str] | None = None,
        actor_id: str | None = None,
        actions: Sequence[str] | None = None,
        claims: Mapping[str, Any] | None = None,
        expires_in: int | None = None,
    ) -> ConnectionToken:
        """For one client, for a short time (`expires_in` in ms): what it may reach, and what the actor is to know."""
        given = {"name": name, "key": key, "actor_id": actor_id, "actions": actions, "claims": claims}
        body = {field: value for field, value in (given | {"expires_in": expires_in}).items() if value is not None}
        path = f"{self._tenant}/connection-tokens"
        return await self._ask("POST", path, ConnectionToken, content=msgspec.json.encode(body))

    @property
    def _tenant(self) -> str:
        return f"/tenants/{_part(self._namespace)}"

    async def health(self) -> HealthInfo:
        """`up` or `draining`."""
        return await self._ask("GET", "/health", HealthInfo, also=503)

    async def _rollout(
        self, name: str, what: str, kind: type[T], percent: int | None, now: bool, rate: int | None
    ) -> T:
        given = {"percent": percent, "now": now or None, "rate": rate}
        body = msgspec.json.encode({key: value for key, value in given.items() if value is not None})
        return await self._ask("POST", f"/definitions/{_part(name)}/{what}", kind, content=body)

    async def _put_definition(self, name: str, body: dict[str, Any]) -> DefinitionInfo:
        return await self._ask("PUT", f"/definitions/{_part(name)}", DefinitionInfo, content=msgspec.json.encode(body))

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        also: int | None = None,
    ) -> T:
        """`also` is a status besides 2xx that carries an answer."""
        params = dict(query or {})
        if self._namespace != "default":
            params["namespace"] = self._namespace
        headers = {"content-type": content_type} if content is not None else {}
        try:
            answer = await self._http.request(
                method, self.endpoint + path, params=params, content=content, headers=headers
            )
        except httpx.InvalidURL as error:
            raise unreachable(self.endpoint, "not a URL") from error
        except httpx.HTTPError as error:
            raise unreachable(self.endpoint, type(error).__name__) from error
        if not answer.is_success and answer.status_code != also:
            raise error_of(answer.status_code, answer.content, answer.headers)
        return decode_answer(answer.content, kind)


def _parts(key: Key) -> Sequence[str]:
    return [key] if isinstance(key, str) else key


def _part(text: str) -> str:
    return quote(text, safe="")
