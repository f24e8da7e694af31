"""Behind an actor's address: actions, requests, and the small questions about one actor, over HTTP.

    POST action/{name}   ANY request/{rest}   GET metadata   GET health   GET session

Addresses are resolved here for HTTP and WebSockets alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.responses import Response

from host import __version__
from host.gateway.apart import apart
from host.gateway.auth import guard_action, guard_key, tenant_of
from host.gateway.bodies import read_body
from host.gateway.exchange import Deps, Exchange, json_response
from host.gateway.headers import SANDBOX, reply_headers, request_headers
from host.gateway.sessions import SECRET_HEADER, session_hash
from host.gateway.targets import (
    PREFIX,
    DirectTarget,
    Target,
    is_named_path,
    named_actor,
    parse_named_target,
    parse_target,
)
from host.gateway.values import action_args, conn_params, encoding_of
from host.model.errors import CallerError, DormiceError, GuestFault, counted_error, no_such_actor
from host.model.identity import Identity
from host.model.ids import is_id
from host.model.records import ActorRecord
from host.model.tunnel import ActionCall, ActionReply, HttpCall, HttpReply, Visitor
from host.wire.frames.bodies import encode_action_result
from host.wire.frames.encoding import content_type

__all__ = ["ActorRoutes", "is_for_actor", "not_found", "raw_route_path"]

T = TypeVar("T")

# Room for {"args": } and blanks around the arguments.
ENVELOPE = 1_024
# So often a key is resolved anew whose actor was destroyed in between.
LOOKS_AGAIN = 3


class ActorRoutes:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def target_of(self, scope: Mapping[str, Any]) -> Target:
        path = raw_route_path(scope)
        query = bytes(scope.get("query_string", b"")).decode("latin-1")
        if path.startswith(PREFIX):
            return parse_target(path, query, max_input=self._deps.limits.input)
        actor_id = _named_actor(scope) if is_named_path(path) else None
        if actor_id is None:
            raise CallerError("request", "not_found", "there is nothing at this path")
        return parse_named_target(path, query, actor_id)

    async def resolve(self, target: Target, identity: Identity) -> ActorRecord:
        """The actor that an address names, if it is there for who asks; a query may create it. No guest code runs."""
        service, actor = self._deps.service, target.actor
        if isinstance(actor, DirectTarget):
            if not is_id(actor.actor_id):
                shown = actor.actor_id[:64]
                by_name = "an address by name has ?rvt-method=get or getOrCreate, and rvt-key"
                raise CallerError("actor", "not_found", f"there is no such actor: {shown!r} is no id; {by_name}")
            record = await service.record(actor.actor_id)
            if not identity.reaches(record):
                raise no_such_actor(actor.actor_id)
            return record
        tenant = tenant_of(identity, actor.namespace)
        guard_key(identity, actor.name, actor.key, creates=actor.method == "getOrCreate")
        if actor.method == "getOrCreate":
            return (await service.get_or_create(tenant, actor.name, actor.key, actor.input))[0]
        found = await service.find(tenant, actor.name, actor.key)
        if found is None or not identity.reaches(found):
            raise CallerError("actor", "not_found", "there is no actor of this name and key")
        return found

    async def reach(self, target: Target, identity: Identity, use: Callable[[ActorRecord], Awaitable[T]]) -> T:
        """What `use` makes of the actor that the address names. One that came by its key does not hear that the actor
        is gone which had it a moment ago: the key is resolved again. An actor that is not there has carried nothing
        out, and a guest cannot say that it is not there."""
        for _ in range(LOOKS_AGAIN):
            record = await self.resolve(target, identity)
            try:
                return await use(record)
            except DormiceError as error:
                if error.name != "actor/not_found" or isinstance(target.actor, DirectTarget):
                    raise
        return await use(await self.resolve(target, identity))

    async def answer(self, exchange: Exchange, target: Target) -> Response:
        """The caller has been authorised."""
        kind, method = target.kind, exchange.request.method
        if kind == "action" and len(target.rest) > 1:
            exchange.route = "gateway.action"
            if method != "POST":
                raise _wrong_method("POST")
            return await self._action(exchange, target)
        if kind == "request":
            exchange.route = "gateway.request"
            return await self._request(exchange, target)
        if kind in ("metadata", "health") and not target.rest:
            exchange.route = f"gateway.{kind}"
            if method not in ("GET", "HEAD"):
                raise _wrong_method("GET")
            record = exchange.record = await self.resolve(target, exchange.identity)
            return self._health(record) if kind == "health" else self._metadata(record)
        if kind == "session" and not target.rest:
            exchange.route = "gateway.session"
            if method not in ("GET", "HEAD"):
                raise _wrong_method("GET")
            record = exchange.record = await self.resolve(target, exchange.identity)
            return await self._session(exchange, record)
        raise not_found(kind)

    async def _session(self, exchange: Exchange, record: ActorRecord) -> Response:
        """What a session's client has to know to go on. Does not wake the actor."""
        secret = exchange.request.headers.get(SECRET_HEADER)
        if secret is None:
            raise CallerError("request", "invalid", f"the header {SECRET_HEADER} is missing: the secret of the session")
        sockets = self._deps.sockets
        found = await sockets.sessions.state(record.actor_id, session_hash(sockets.session_key, secret))
        if found is None:
            raise CallerError("session", "not_found", "there is no such session of this actor (any more)")
        received, sent, expires_at = found
        response = json_response({"received": received, "sent": sent, "expires_at": expires_at})
        response.headers["cache-control"] = "no-store"
        return response

    async def _action(self, exchange: Exchange, target: Target) -> Response:
        deps, request = self._deps, exchange.request
        name = unquote(target.rest[1:])
        guard_action(exchange.identity, name)
        encoding = encoding_of(request.headers)
        visitor = self._visitor(exchange)
        allowed = deps.limits.action
        body = await read_body(request, deps.clock, limit="action", allowed=allowed + ENVELOPE)
        args = await apart(len(body), action_args, encoding, body, allowed)

        async def call(record: ActorRecord) -> ActionReply:
            exchange.record = record
            sent = ActionCall(record.actor_id, name, args, exchange.ray, params=visitor.params)
            reply = await deps.service.action(sent, visitor)
            if reply.error is not None:
                raise counted_error(reply.error)
            return reply

        reply = await self.reach(target, exchange.identity, call)
        answer = await apart(len(reply.output), encode_action_result, encoding, reply.output)
        return Response(answer, media_type=content_type(encoding))

    async def _request(self, exchange: Exchange, target: Target) -> Response:
        deps, request = self._deps, exchange.request
        guard_action(exchange.identity, None)
        visitor = self._visitor(exchange)
        body = await read_body(request, deps.clock, limit="body", allowed=deps.limits.body)

        async def call(record: ActorRecord) -> HttpReply:
            exchange.record = record
            headers, params = visitor.headers, visitor.params
            sent = HttpCall(record.actor_id, request.method, target.url, headers, body, exchange.ray, params)
            reply = await deps.service.request(sent, visitor)
            if reply.error is not None:
                raise counted_error(reply.error)
            return reply

        reply = await self.reach(target, exchange.identity, call)
        if not 200 <= reply.status <= 599:
            raise GuestFault("bad_reply", "the actor answered with a status that is none", detail=str(reply.status))
        bodiless = reply.status in (204, 304)
        response = Response(b"" if bodiless else reply.body, reply.status)
        told = reply_headers(reply.headers)
        if deps.auth.resolver is not None:
            told.append(SANDBOX)
        passed = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
        own = [] if bodiless else [(b"content-length", str(len(reply.body)).encode())]
        response.raw_headers = [*passed, *own]
        return response

    def _visitor(self, exchange: Exchange) -> Visitor:
        """Who asks, as the actor may get to know it."""
        deps, headers = self._deps, exchange.request.headers
        return Visitor(
            exchange.identity.role,
            request_headers(headers.raw, keep_bearer=deps.auth.for_the_actor),
            conn_params(headers, [], deps.limits.conn_params),
            exchange.identity.claims,
        )

    def _metadata(self, record: ActorRecord) -> Response:
        actor = {"id": record.actor_id, "name": record.name, "key": list(record.key), "generation": record.generation}
        body = {"runtime": "dormice", "version": __version__, "actor": actor}
        return json_response(body)

    def _health(self, record: ActorRecord) -> Response:
        """Does not wake the actor."""
        body = {"status": "ok", "lifecycle": self._deps.service.live_state(record)}
        return json_response(body)


def not_found(kind: str) -> CallerError:
    known = {
        "connect": "connect takes a WebSocket upgrade",
        "queue": "queues are not available on this host",
        "websocket": "websocket/ takes a WebSocket upgrade",
    }
    return CallerError("request", "not_found", known.get(kind, "there is nothing at this path of an actor"))


def is_for_actor(scope: Mapping[str, Any]) -> bool:
    """Whether an HTTP request is for an actor: by its path, or by its headers, which a preflight does not show."""
    path = raw_route_path(scope)
    if path.startswith(PREFIX):
        return True
    return is_named_path(path) and (scope["method"] == "OPTIONS" or _named_actor(scope) is not None)


def _named_actor(scope: Mapping[str, Any]) -> str | None:
    return named_actor(Headers(raw=list(scope["headers"])), scope.get("subprotocols", ()))


def raw_route_path(scope: Mapping[str, Any]) -> str:
    """The escaped path below the mount point. Servers that keep no raw path get their decoded one escaped again."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    raw = scope.get("raw_path")
    text = raw.decode("latin-1") if isinstance(raw, bytes) else quote(path)
    for prefix in (root, quote(root)):
        if prefix and text.startswith(prefix + "/"):
            return text[len(prefix) :]
    return text


def _wrong_method(allowed: str) -> CallerError:
    return CallerError("actor", "method_not_allowed", f"use {allowed} here")
