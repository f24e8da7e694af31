"""The control plane: modules, definitions, snapshots, and what operators look at. JSON is read strictly here."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import Response

from host.gateway.bodies import read_body
from host.gateway.deploys import DeployApi, Rollout, definition_document
from host.gateway.exchange import Deps, Endpoint, Exchange, json_response
from host.gateway.letters import letters_page
from host.gateway.snapshots import snapshot_as_cbor, snapshot_as_json
from host.model.definitions import DefinitionOptions, ModuleRecord
from host.model.errors import CallerError
from host.model.limits import LIMITS, limits_with
from host.modules.hashes import parse_digest
from host.outbound.egress_rules import check_egress
from host.wire.strict_json import decode_strict

__all__ = ["ControlApi"]

MAX_BODY = 64 * 1_024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_DURATIONS = {limit.name: limit.maximum for limit in LIMITS if limit.name in ("handler_timeout", "sleep_timeout")}


class _UrlBody(Struct, forbid_unknown_fields=True):
    url: str
    sha256: str


class _DefinitionBody(Struct, forbid_unknown_fields=True):
    module: str | None = None
    url: str | None = None
    sha256: str | None = None
    options: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    rollout: Rollout = Rollout()


class _QuotasBody(Struct, forbid_unknown_fields=True):
    quotas: dict[str, Any]


class ControlApi:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._deploys = DeployApi(deps)

    def endpoints(self) -> list[Endpoint]:
        row = Endpoint.row
        return [
            row("POST", "/modules", "control", self.post_module, "deploy"),
            row("GET", "/modules", "control", self.list_modules, "deploy"),
            row("GET", "/modules/{digest}", "control", self.get_module, "deploy"),
            row("GET", "/definitions", "control", self.list_definitions, "deploy"),
            row("PUT", "/definitions/{name}", "control", self.put_definition, "deploy"),
            row("GET", "/definitions/{name}", "control", self.get_definition, "deploy"),
            *self._deploys.endpoints(),
            row("GET", "/actors/{actor_id}/snapshot", "control", self.snapshot, "actors"),
            row("GET", "/actors/{actor_id}/dead-letters", "control", self.dead_letters, "actors"),
            row("GET", "/tenants/{namespace}/usage", "control", self.usage, "tenant"),
            row("PUT", "/tenants/{namespace}/quotas", "control", self.put_quotas),
            row("GET", "/limits", "control", self.limits, "tenant"),
            row("GET", "/metrics", "control", self.metrics),
            row("GET", "/health", "open", self.health),
        ]

    # modules -----------------------------------------------------------------------------------------------------

    async def post_module(self, exchange: Exchange) -> Response:
        deps, request = self._deps, exchange.request
        deps.refuse_when_draining()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            body = decode_strict(await self._json(exchange), _UrlBody)
            record = await deps.modules.load_url(exchange.namespace, body.url, parse_digest(body.sha256))
        else:
            data = await read_body(
                request,
                deps.clock,
                limit="module",
                allowed=deps.limits.module,
                error="module/too_large",
                advice="upload a smaller module",
            )
            record = await deps.modules.upload(exchange.namespace, data, kind)
        return json_response(_module(record), 201)

    async def list_modules(self, exchange: Exchange) -> Response:
        records = await self._deps.storage.list_modules(exchange.namespace)
        return json_response({"modules": [_module(record) for record in records]})

    async def get_module(self, exchange: Exchange) -> Response:
        """As in the list, with what admission found in it; null for a module that was stored before there was that."""
        digest = parse_digest(exchange.request.path_params["digest"])
        record = await self._module(exchange.namespace, digest)
        report = await self._deps.storage.module_report(exchange.namespace, digest)
        shown = None if report is None else replace(report, digest=f"sha256:{report.digest}")
        return json_response(_module(record) | {"report": shown})

    async def _module(self, tenant: str, digest: str) -> ModuleRecord:
        record = await self._deps.storage.get_module(tenant, digest)
        if record is None:
            raise CallerError("module", "not_found", f"namespace {tenant!r} has no module sha256:{digest}")
        return record

    # definitions -------------------------------------------------------------------------------------------------

    async def put_definition(self, exchange: Exchange) -> Response:
        deps, tenant = self._deps, exchange.namespace
        deps.refuse_when_draining()
        name = exchange.request.path_params["name"]
        if not _NAME.match(name):
            raise CallerError("definition", "invalid_name", "a name is 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'")
        body = decode_strict(await self._json(exchange), _DefinitionBody)
        options, limits, rollout = _options(body.options), _limits(body.limits), body.rollout.check()
        if body.module is not None and body.url is None and body.sha256 is None:
            record = await self._module(tenant, parse_digest(body.module))
        elif body.module is None and body.url is not None and body.sha256 is not None:
            record = await deps.modules.load_url(tenant, body.url, parse_digest(body.sha256))
        else:
            raise CallerError("request", "invalid", "give either `module`, or `url` together with `sha256`")
        percent = 100 if rollout.percent is None else rollout.percent
        made = await deps.modules.deploy(tenant, name, record.digest, options, limits, percent=percent)
        return await self._deploys.answer(made, rollout)

    async def list_definitions(self, exchange: Exchange) -> Response:
        found = await self._deps.storage.list_definitions(exchange.namespace)
        return json_response({"definitions": [definition_document(each) for each in found]})

    async def get_definition(self, exchange: Exchange) -> Response:
        name, tenant = exchange.request.path_params["name"], exchange.namespace
        found = await self._deps.storage.get_definition(tenant, name)
        if found is None:
            raise CallerError("definition", "not_found", f"namespace {tenant!r} has no definition {name[:64]!r}")
        return json_response(definition_document(found))

    # operators ---------------------------------------------------------------------------------------------------

    async def snapshot(self, exchange: Exchange) -> Response:
        record = await self._deps.service.record(exchange.path_id())
        exchange.guard_namespace(record)
        snapshot = await self._deps.service.snapshot(record.actor_id)
        if "application/cbor" in exchange.request.headers.get("accept", ""):
            return Response(snapshot_as_cbor(snapshot), media_type="application/cbor", headers={"vary": "Accept"})
        return Response(snapshot_as_json(snapshot), media_type="application/json", headers={"vary": "Accept"})

    async def dead_letters(self, exchange: Exchange) -> Response:
        """What was given up, the oldest first. Does not wake the actor."""
        record = await self._deps.service.record(exchange.path_id())
        exchange.guard_namespace(record)
        exchange.record = record
        query = exchange.request.query_params
        letters = await self._deps.storage.dead_letters(record.actor_id)
        return json_response(letters_page(letters, query.get("limit"), query.get("cursor")))

    async def usage(self, exchange: Exchange) -> Response:
        """What the tenant uses, and its quotas."""
        return json_response(await self._deps.service.usage(exchange.path_tenant()))

    async def put_quotas(self, exchange: Exchange) -> Response:
        """In place of those that were set before; answers as `usage` does."""
        tenant = exchange.path_tenant()
        body = decode_strict(await self._json(exchange), _QuotasBody)
        for name, value in body.quotas.items():
            if type(value) is not int:
                raise CallerError("request", "invalid", f"quota {name[:64]!r} is not a whole number")
        await self._deps.service.set_quotas(tenant, body.quotas)
        return json_response(await self._deps.service.usage(tenant))

    async def limits(self, exchange: Exchange) -> Response:
        in_force = self._deps.limits.as_dict()
        rows = [msgspec.structs.asdict(limit) | {"value": in_force[limit.name]} for limit in LIMITS]
        return json_response({"limits": rows})

    async def metrics(self, exchange: Exchange) -> Response:
        return Response(self._deps.render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, exchange: Exchange) -> Response:
        status = self._deps.health()
        return json_response({"status": status}, 200 if status == "up" else 503)

    async def _json(self, exchange: Exchange) -> bytes:
        return await read_body(exchange.request, self._deps.clock, limit="json_body", allowed=MAX_BODY)


def _options(given: dict[str, Any]) -> DefinitionOptions:
    try:
        options = msgspec.convert(given, DefinitionOptions)
    except msgspec.ValidationError as error:
        raise CallerError("definition", "invalid_options", f"options: {error}") from None
    for name, value, maximum in (
        ("sleep_timeout", options.sleep_timeout, _DURATIONS["sleep_timeout"]),
        ("action_timeout", options.action_timeout, _DURATIONS["handler_timeout"]),
    ):
        if value is not None and not 1 <= value <= maximum:
            raise CallerError("definition", "invalid_options", f"{name} is {value}; allowed: 1 to {maximum} ms")
    if options.egress is not None:
        check_egress(options.egress)
    return options


def _limits(given: dict[str, Any]) -> dict[str, int]:
    for name, value in given.items():
        if type(value) is not int:
            raise CallerError("definition", "invalid_options", f"limit {name[:64]!r} is not a whole number")
    limits_with(given)
    return given


def _module(record: ModuleRecord) -> dict[str, Any]:
    return {
        "digest": f"sha256:{record.digest}",
        "kind": record.kind,
        "size": record.size,
        "manifest": record.manifest,
        "stored_at": record.stored_at,
        "source_url": record.source_url,
    }
