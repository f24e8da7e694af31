"""What the handlers of both planes work with: the parts of the host they may call, and one request on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from host.gateway.auth import AuthPolicy, Need, tenant_of
from host.gateway.tokens import Tokens
from host.model.clock import Clock
from host.model.errors import CallerError, UnavailableError, no_such_actor
from host.model.identity import NOBODY, Identity
from host.model.ids import RandomBytes, is_id
from host.model.limits import Limits
from host.model.ports import Metrics
from host.model.records import ActorRecord
from host.placement.api import ActorService
from host.storage.driver import Driver
from host.wire.frames.encoding import DEFAULT_ENCODING, Encoding
from host.wire.keys import encode_key

if TYPE_CHECKING:
    from host.gateway.sockets import SocketGateway
    from host.modules.api import ModuleService

__all__ = ["Deps", "Endpoint", "Exchange", "Handler", "Plane", "actor_headers", "json_response"]

Plane = Literal["data", "control", "open"]


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything below and beside the gateway, as `create_app` was given it."""

    service: ActorService
    modules: ModuleService
    storage: Driver
    sockets: SocketGateway
    auth: AuthPolicy
    tokens: Tokens
    limits: Limits
    metrics: Metrics
    render_metrics: Callable[[], str]
    random: RandomBytes
    clock: Clock
    health: Callable[[], str]

    def new_ray(self) -> str:
        return self.random(8).hex()

    def refuse_when_draining(self) -> None:
        if self.health() != "up":
            raise UnavailableError("node", "draining", "this host is about to stop; try again", retry_after=1.0)


@dataclass(slots=True)
class Exchange:
    """One HTTP request. `identity` is who asks; `record` is set once the actor is known, and that it is there for who
    asks: from then on answers and errors name it."""

    request: Request
    ray: str
    route: str = "unknown"
    identity: Identity = NOBODY
    record: ActorRecord | None = None
    errors_in: Encoding = DEFAULT_ENCODING

    @property
    def namespace(self) -> str:
        """`?namespace=`, or the caller's own; a namespace is created by its first use."""
        return tenant_of(self.identity, self.request.query_params.get("namespace"))

    def guard_namespace(self, record: ActorRecord) -> None:
        """D9: what belongs to another namespace is not found, and looks like what is not there. A caller that speaks
        for no namespace knows the id, a secret of its tenant, so only a namespace that it gives has to match."""
        given = "namespace" in self.request.query_params
        if not self.identity.reaches(record) or (given and record.tenant != self.namespace):
            raise no_such_actor(record.actor_id)

    def path_tenant(self) -> str:
        """The namespace in the path."""
        return tenant_of(self.identity, self.request.path_params["namespace"])

    def path_id(self) -> str:
        actor_id: str = self.request.path_params["actor_id"]
        if not is_id(actor_id):
            raise CallerError("actor", "not_found", "there is no such actor")
        return actor_id


Handler = Callable[[Exchange], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of the route table. A function as `plane` decides by the request. `need` is what a caller needs on the
    control plane: what nobody else was allowed is the admin's alone."""

    route: Route
    plane: Plane | Callable[[Request], Plane]
    handler: Handler
    need: Need = "admin"

    @classmethod
    def row(
        cls,
        method: str,
        path: str,
        plane: Plane | Callable[[Request], Plane],
        handler: Handler,
        need: Need = "admin",
    ) -> Endpoint:
        return cls(Route(path, handler, methods=[method]), plane, handler, need)

    def plane_of(self, request: Request) -> Plane:
        return self.plane(request) if callable(self.plane) else self.plane


def json_response(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def actor_headers(record: ActorRecord) -> list[tuple[str, str]]:
    """Response headers that name the actor. Keys may be any text, so what a header cannot hold is percent-encoded."""
    return [
        ("x-rivet-actor", record.actor_id),
        ("x-rivet-actor-generation", str(record.generation)),
        ("x-rivet-actor-key", quote(encode_key(record.key), safe="/\\!#$&'()*+,:;=?@[]~")),
    ]
