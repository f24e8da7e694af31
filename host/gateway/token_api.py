"""Tokens over HTTP, under `/tenants/{namespace}`: those of the tenant, and those that it gives to its clients.

Nobody makes a token that can do more, or lasts longer, than the one that it is made with. The answer that holds a token
is the only place where it is ever shown.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from host.gateway.bodies import read_body
from host.gateway.exchange import Deps, Endpoint, Exchange, json_response
from host.model.errors import CallerError, limit_error
from host.model.identity import SCOPES, Bounds, Identity, Scope, TokenRow
from host.model.ids import is_id
from host.model.limits import Limits
from host.storage.creation import check_key
from host.wire.strict_json import decode_strict
from host.wire.values import check_value

__all__ = ["TokenApi"]

MAX_BODY = 64 * 1_024
MAX_LABEL = 128
MAX_NAME = 128
MAX_ACTIONS = 32
DEFAULT_LIFETIME = 600_000
# What is longer is left out. Together with the time it is still a number that every JSON reader keeps.
MAX_LIFETIME = 2**52


class _TokenBody(Struct, forbid_unknown_fields=True):
    scopes: list[str]
    label: str = ""
    expires_in: int | None = None


class _ConnectionBody(Struct, forbid_unknown_fields=True):
    name: str | None = None
    key: list[str] | None = None
    actor_id: str | None = None
    actions: list[str] | None = None
    claims: dict[str, Any] | None = None
    expires_in: int = DEFAULT_LIFETIME


class TokenApi:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def endpoints(self) -> list[Endpoint]:
        row = Endpoint.row
        return [
            row("POST", "/tenants/{namespace}/tokens", "control", self.create, "tokens"),
            row("GET", "/tenants/{namespace}/tokens", "control", self.list, "tokens"),
            row("DELETE", "/tenants/{namespace}/tokens/{token_id}", "control", self.revoke, "tokens"),
            row("POST", "/tenants/{namespace}/connection-tokens", "control", self.connection, "tokens"),
        ]

    async def create(self, exchange: Exchange) -> Response:
        deps, tenant = self._deps, exchange.path_tenant()
        body = decode_strict(await self._body(exchange), _TokenBody)
        scopes = _scopes(body.scopes)
        if len(body.label.encode()) > MAX_LABEL:
            raise CallerError("request", "invalid", f"the label is longer than {MAX_LABEL} bytes")
        if body.expires_in is not None and not 1 <= body.expires_in <= MAX_LIFETIME:
            raise CallerError("request", "invalid", f"expires_in is a number of milliseconds, 1 to {MAX_LIFETIME}")
        expires_at = None if body.expires_in is None else deps.clock.now_ms() + body.expires_in
        if expires_at is None:
            expires_at = exchange.identity.expires_at
        _guard_grant(exchange.identity, scopes, expires_at)
        allowed = (await deps.service.usage(tenant)).quotas["tenant_tokens"].allowed
        row, token = await deps.tokens.create(tenant, scopes, body.label, expires_at, allowed=allowed)
        return _once(_shown(row) | {"token": token})

    async def list(self, exchange: Exchange) -> Response:
        rows = await self._deps.tokens.list(exchange.path_tenant())
        return json_response({"tokens": [_shown(row) for row in rows]})

    async def revoke(self, exchange: Exchange) -> Response:
        """Its sockets are closed with it."""
        tenant, token_id = exchange.path_tenant(), exchange.request.path_params["token_id"]
        if not is_id(token_id) or not await self._deps.tokens.revoke(tenant, token_id):
            raise CallerError("request", "not_found", "the namespace has no such token")
        return json_response({"closed": self._deps.sockets.revoke(token_id)})

    async def connection(self, exchange: Exchange) -> Response:
        deps, tenant = self._deps, exchange.path_tenant()
        body = decode_strict(await self._body(exchange), _ConnectionBody)
        limits = deps.limits
        if body.expires_in < 1:
            raise CallerError("request", "invalid", "expires_in is a number of milliseconds from 1")
        if body.expires_in > limits.token_lifetime:
            advice = "let it expire sooner, and make another then"
            raise limit_error("token_lifetime", body.expires_in, limits.token_lifetime, advice)
        claims = None if body.claims is None else _claims(body.claims, limits.token_claims)
        expires_at = deps.clock.now_ms() + body.expires_in
        _guard_grant(exchange.identity, ["connect"], expires_at)
        token = deps.tokens.connection(tenant, expires_at, _bounds(body, limits), claims)
        return _once({"token": token, "expires_at": expires_at})

    async def _body(self, exchange: Exchange) -> bytes:
        self._deps.refuse_when_draining()
        return await read_body(exchange.request, self._deps.clock, limit="json_body", allowed=MAX_BODY)


def _scopes(given: list[str]) -> list[Scope]:
    known = [scope for scope in given if scope in SCOPES]
    if not given or len(known) < len(given):
        odd = [scope for scope in given if scope not in SCOPES]
        wrong = f"{odd[0][:32]!r} is no scope" if odd else "scopes is empty"
        raise CallerError("request", "invalid", f"{wrong}; it takes some of {', '.join(SCOPES)}")
    return known


def _guard_grant(identity: Identity, scopes: list[Scope], expires_at: int | None) -> None:
    """What the caller has itself it can give; one that is bound to no namespace has everything."""
    if identity.tenant is None:
        return
    over = [scope for scope in scopes if scope not in identity.scopes]
    until = identity.expires_at
    if over or (until is not None and (expires_at is None or expires_at > until)):
        raise CallerError("auth", "forbidden", "a token gives no more than it has: no other scopes, and no longer")


def _claims(given: dict[str, Any], allowed: int) -> bytes:
    claims = msgspec.json.encode(given)
    if len(claims) > allowed:
        advice = "keep what is large in the actor, and claim a name for it"
        raise limit_error("token_claims", len(claims), allowed, advice)
    check_value(claims)
    return claims


def _bounds(body: _ConnectionBody, limits: Limits) -> Bounds:
    if body.actor_id is not None and not is_id(body.actor_id):
        raise CallerError("request", "invalid", "actor_id is no id of an actor")
    if body.key is not None and body.name is None:
        raise CallerError("request", "invalid", "a key goes with a name")
    for name in (body.name, *(body.actions or ())):
        if name is not None and not 1 <= len(name.encode()) <= MAX_NAME:
            raise CallerError("request", "invalid", f"a name has 1 to {MAX_NAME} bytes")
    if body.actions is not None and not 1 <= len(body.actions) <= MAX_ACTIONS:
        raise CallerError("request", "invalid", f"actions names 1 to {MAX_ACTIONS} of them, or is left out for all")
    key = None if body.key is None else tuple(body.key)
    if key is not None:
        check_key(key)
    return Bounds(body.name, key, body.actor_id, None if body.actions is None else tuple(body.actions))


def _shown(row: TokenRow) -> dict[str, Any]:
    return {
        "id": row.token_id,
        "label": row.label,
        "scopes": row.scopes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }


def _once(body: dict[str, Any]) -> Response:
    """An answer with a secret in it, which nobody between here and the client is to keep."""
    response = json_response(body, 201)
    response.headers["cache-control"] = "no-store"
    return response
