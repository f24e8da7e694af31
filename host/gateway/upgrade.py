"""WebSocket upgrades: `websocket/{rest}` and `connect` behind a gateway address become sockets that the gateway holds.

An upgrade that is refused is answered before the handshake, with the status and the body that HTTP gets. The handshake
is accepted once the actor runs; a session's client that comes back is let in without waking it, and so is one whose
session is not there: it is closed after the handshake, for a browser sees no status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers

from host.gateway.actors import ActorRoutes, not_found
from host.gateway.auth import guard_action, subprotocol_token
from host.gateway.errors import Refusal, refuse
from host.gateway.exchange import Deps, actor_headers
from host.gateway.headers import request_headers, socket_headers
from host.gateway.pumps import ABORT_EXTENSION, Receive, Send
from host.gateway.sessions import Comeback, comeback_of
from host.gateway.targets import Target
from host.gateway.values import conn_params
from host.model.identity import Identity
from host.model.ids import new_id
from host.model.records import ActorRecord
from host.model.tunnel import Opened, SocketProtocol, Visitor
from host.telemetry.logging import get_logger
from host.wire.frames.encoding import DEFAULT_ENCODING, parse_encoding

__all__ = ["Upgrades"]

PROTOCOL = "rivet"
# The encoding in which a /connect socket speaks; json if its client does not say.
ENCODING_PROTOCOL = "rivet_encoding."
ROUTE = "gateway.websocket"

log = get_logger("gateway")


class Upgrades:
    def __init__(self, deps: Deps, routes: ActorRoutes) -> None:
        self._deps = deps
        self._routes = routes

    async def serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        # In two steps, so that a socket which stays for days does not keep what its opening needed.
        sockets = self._deps.sockets
        with sockets.arrival() as revoked:
            accepted = await self._open(scope, receive, send)
        if accepted is None:
            return
        opened, comeback, admitted = accepted
        if opened.token_id in revoked:
            await sockets.turn_away(opened, send)
        elif comeback is None:
            await sockets.hold(opened, receive, send, _abort_of(scope))
        else:
            await sockets.hold_session(opened, comeback, receive, send, _abort_of(scope), admitted=admitted)

    async def _open(
        self, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> tuple[Opened, Comeback | None, bool] | None:
        """Up to and with the handshake; None if there is none, or nobody to have it with."""
        deps, ray = self._deps, self._deps.new_ray()
        if (await receive())["type"] != "websocket.connect":
            return None
        record: ActorRecord | None = None
        try:
            target, identity, offered = await self._authorised(scope)
            protocol = _protocol_of(target, offered)
            comeback = comeback_of(target.session, deps.sockets.session_key)
            params = conn_params(Headers(raw=list(scope["headers"])), offered, deps.limits.conn_params)
            visitor = Visitor(
                identity.role,
                request_headers(scope["headers"], keep_bearer=deps.auth.for_the_actor),
                params,
                identity.claims,
            )

            async def admit(found: ActorRecord) -> tuple[ActorRecord, Opened, bool]:
                nonlocal record
                record = found
                opened = Opened(
                    actor_id=found.actor_id,
                    conn_id=new_id(deps.random),
                    gateway_id=deps.sockets.gateway_id,
                    request_id=ray,
                    path=target.url,
                    headers=socket_headers(scope["headers"]),
                    params=params,
                    at=deps.clock.now_ms(),
                    session=None if comeback is None else comeback.session,
                    tenant=found.tenant,
                    token_id=identity.token_id,
                    protocol=protocol,
                    actions=identity.bounds.actions,
                )
                admitted = comeback is None or await self._opens(found.actor_id, comeback)
                if admitted:
                    opened = await deps.sockets.admit(opened, visitor)
                    # again: the actor may have taken its time to start
                    admitted = comeback is None or await self._opens(found.actor_id, comeback)
                return found, opened, admitted

            reached, opened, admitted = await self._routes.reach(target, identity, admit)
        except Exception as error:  # noqa: BLE001 - `refuse` logs it, and the client gets its masked form
            refusal = refuse(error, ray=ray, route=ROUTE, metrics=deps.metrics, actor=record)
            await _refuse(scope, send, refusal, ray)
            return None
        headers = [*actor_headers(reached), ("x-rivet-ray-id", ray)]
        try:
            await send(
                {
                    "type": "websocket.accept",
                    "subprotocol": PROTOCOL if PROTOCOL in offered else None,
                    "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
                }
            )
        except OSError:
            deps.metrics.count("connections_closed", "before_open")
            return None
        log.debug("socket opened", conn_id=opened.conn_id, actor_id=opened.actor_id, ray=ray)
        return opened, comeback, admitted

    async def _opens(self, actor_id: str, comeback: Comeback) -> bool:
        """Whether a client opens a session. A secret that had one does not open another: what the client sends may be
        what it sent before. The rows on disk know sessions that the gateway holds no more."""
        deps = self._deps
        if not comeback.may_be_new or deps.sockets.sessions.knows(actor_id, comeback.session):
            return False
        return not await deps.storage.session_known(actor_id, comeback.session)

    async def _authorised(self, scope: Mapping[str, Any]) -> tuple[Target, Identity, list[str]]:
        """The address, and the sub-protocols offered, of someone who may use the data plane."""
        deps = self._deps
        headers = Headers(raw=list(scope["headers"]))
        offered: list[str] = list(scope.get("subprotocols", []))
        deps.auth.guard_host(headers)
        target = self._routes.target_of(scope)
        identity = await deps.auth.identify(scope, deps.tokens, [*target.tokens, subprotocol_token(offered)])
        deps.auth.require(identity, "connect")
        deps.refuse_when_draining()
        if target.kind != "websocket" and (target.kind != "connect" or target.rest.strip("/")):
            raise not_found(target.kind)
        if target.kind != "connect":  # on a /connect socket each action is looked at
            guard_action(identity, None)
        return target, identity, offered


def _protocol_of(target: Target, offered: list[str]) -> SocketProtocol:
    if target.kind != "connect":
        return ""
    for name in offered:
        if name.startswith(ENCODING_PROTOCOL):
            return parse_encoding(name[len(ENCODING_PROTOCOL) :])
    return DEFAULT_ENCODING


def _abort_of(scope: Mapping[str, Any]) -> Callable[[], None] | None:
    abort: Callable[[], None] | None = (scope.get("extensions") or {}).get(ABORT_EXTENSION)
    return abort


async def _refuse(scope: Mapping[str, Any], send: Send, refusal: Refusal, ray: str) -> None:
    try:
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # becomes a bare 403
            return
        headers = [("content-type", "application/json"), ("x-rivet-ray-id", ray), *refusal.headers]
        await send(
            {
                "type": "websocket.http.response.start",
                "status": refusal.status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            }
        )
        await send({"type": "websocket.http.response.body", "body": refusal.body})
    except OSError:
        return  # the client did not wait for its answer
