"""The ASGI application: one table of routes over both planes, the gateway addresses, and WebSocket upgrades.

Guarantees for every answer: it carries `x-rivet-ray-id`; an error has a stable group and code; nothing of an
unexpected exception gets out; the plane's rules (auth.py, cors.py) were applied before a handler ran. The application
may be served at the root or be mounted below a prefix of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from host.gateway.actors import ActorRoutes, is_for_actor
from host.gateway.auth import AuthPolicy, Resolver
from host.gateway.control import ControlApi
from host.gateway.cors import cors_headers, preflight
from host.gateway.errors import refuse
from host.gateway.exchange import Deps, Endpoint, Exchange, actor_headers
from host.gateway.manager import ManagerApi
from host.gateway.pumps import Receive, Send
from host.gateway.sockets import SocketGateway
from host.gateway.token_api import TokenApi
from host.gateway.tokens import Tokens
from host.gateway.upgrade import Upgrades
from host.gateway.values import error_encoding
from host.model.clock import Clock
from host.model.errors import CallerError
from host.model.ids import RandomBytes
from host.model.limits import Limits
from host.model.ports import Metrics
from host.placement.api import ActorService
from host.storage.driver import Driver

if TYPE_CHECKING:  # what a module service hands out is code, whose types load the Wasm runtime
    from host.modules.api import ModuleService

__all__ = ["GatewayApp", "create_app"]


def create_app(
    *,
    service: ActorService,
    modules: ModuleService,
    storage: Driver,
    sockets: SocketGateway,
    auth: AuthPolicy,
    limits: Limits,
    metrics: Metrics,
    render_metrics: Callable[[], str],
    random: RandomBytes,
    clock: Clock,
    health: Callable[[], str],
) -> GatewayApp:
    """`health` says `up`, or `draining` once nothing new is to be taken in."""
    deps = Deps(
        service=service,
        modules=modules,
        storage=storage,
        sockets=sockets,
        auth=auth,
        tokens=Tokens(storage, sockets.session_key, clock, random),
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        random=random,
        clock=clock,
        health=health,
    )
    sockets.attach(service)
    return GatewayApp(deps)


class GatewayApp:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.tokens = deps.tokens
        self._routes = ActorRoutes(deps)
        self._upgrades = Upgrades(deps, self._routes)
        self.endpoints: list[Endpoint] = [
            *ManagerApi(deps).endpoints(),
            *ControlApi(deps).endpoints(),
            *TokenApi(deps).endpoints(),
        ]

    def resolving(self, resolver: Resolver, origins: Iterable[str] = ()) -> GatewayApp:
        """The same application, in which the program around it says who a caller is."""
        auth = replace(self._deps.auth, resolver=resolver, origins=frozenset(origins))
        return GatewayApp(replace(self._deps, auth=auth))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._upgrades.serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            raise RuntimeError(f"unknown ASGI scope {scope['type']!r}")

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        deps = self._deps
        request = Request(scope, receive)
        exchange = Exchange(request, deps.new_ray())
        cors: list[tuple[str, str]] = []
        try:
            response = await self._answer(exchange, cors)
        except ClientDisconnect:
            deps.metrics.count("requests_abandoned")
            return
        except Exception as error:  # noqa: BLE001 - `refuse` logs it, and the client gets its masked form
            response = refuse(
                error,
                ray=exchange.ray,
                route=exchange.route,
                metrics=deps.metrics,
                actor=exchange.record,
                encoding=exchange.errors_in,
            ).response()
        more = [*cors, ("x-rivet-ray-id", exchange.ray)]
        if exchange.record is not None:
            more += actor_headers(exchange.record)
        response.raw_headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in more]
        await response(scope, receive, send)

    async def _answer(self, exchange: Exchange, cors: list[tuple[str, str]]) -> Response:
        """Fills `cors` as soon as it is clear that the request is for the data plane."""
        deps, request = self._deps, exchange.request
        if is_for_actor(request.scope):
            exchange.route = "gateway"
            exchange.errors_in = error_encoding(request.headers)
            cors += cors_headers(request.headers)
            deps.auth.guard_host(request.headers)
            if request.method == "OPTIONS":
                return preflight(request.headers)
            target = self._routes.target_of(request.scope)
            exchange.identity = await deps.auth.identify(request.scope, deps.tokens, target.tokens)
            deps.auth.require(exchange.identity, "connect")
            deps.refuse_when_draining()
            return await self._routes.answer(exchange, target)

        deps.auth.guard_host(request.headers)
        endpoint = self._match(exchange, cors)
        if endpoint is None:
            return preflight(request.headers)
        plane = endpoint.plane_of(request)
        if plane == "open":
            return await endpoint.handler(exchange)
        if plane == "data":
            cors += cors_headers(request.headers)
        else:
            deps.auth.guard_control(request.headers)
        exchange.identity = await deps.auth.identify(request.scope, deps.tokens)
        deps.auth.require(exchange.identity, "connect" if plane == "data" else endpoint.need)
        return await endpoint.handler(exchange)

    def _match(self, exchange: Exchange, cors: list[tuple[str, str]]) -> Endpoint | None:
        """The row of the table; None for OPTIONS at a path that the data plane has a part in."""
        request = exchange.request
        others: list[Endpoint] = []
        for endpoint in self.endpoints:
            match, found = endpoint.route.matches(request.scope)
            if match is Match.FULL:
                exchange.route = f"{request.method} {endpoint.route.path}"
                request.scope.update(found)
                return endpoint
            if match is Match.PARTIAL:
                others.append(endpoint)
        if not others:
            raise CallerError("request", "not_found", "there is nothing at this path")
        if request.method == "OPTIONS" and any(endpoint.plane != "control" for endpoint in others):
            cors += cors_headers(request.headers)
            return None
        allowed = ", ".join(sorted({method for endpoint in others for method in endpoint.route.methods or ()}))
        raise CallerError("request", "method_not_allowed", f"use one of {allowed} here")


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to do: the node starts and stops the host, around the server or the application it is mounted in."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
