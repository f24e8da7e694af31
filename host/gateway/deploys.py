"""The control plane of deploys, and of what operators do about starts: versions, rollout, rollback, reload, status."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from host.gateway.bodies import read_body
from host.gateway.exchange import Deps, Endpoint, Exchange, json_response
from host.gateway.snapshots import error_document
from host.model.definitions import Definition
from host.model.deploys import ROLLED_BACK, is_alone, rolls_back_to
from host.model.errors import CallerError
from host.model.status import ActorStatus
from host.telemetry.logging import get_logger
from host.wire.strict_json import decode_strict

__all__ = ["DeployApi", "Rollout", "definition_document"]

MAX_BODY = 64 * 1_024
MAX_RATE = 1_000
SHOWN_FAILURES = 100

log = get_logger("deploys")


class Rollout(Struct, frozen=True, forbid_unknown_fields=True):
    """How a version gets to actors: to so many percent of them, and with `now` to those awake at once, `rate` a
    second. Without `now` each takes it up at its next wake."""

    percent: int | None = None
    now: bool = False
    rate: int = 20

    def check(self) -> Rollout:
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise CallerError("definition", "invalid_options", f"percent is {self.percent}; allowed: 0 to 100")
        if not 1 <= self.rate <= MAX_RATE:
            raise CallerError("definition", "invalid_options", f"rate is {self.rate}; allowed: 1 to {MAX_RATE}")
        return self


class DeployApi:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def endpoints(self) -> list[Endpoint]:
        row = Endpoint.row
        return [
            row("GET", "/definitions/{name}/versions", "control", self.versions, "deploy"),
            row("POST", "/definitions/{name}/rollout", "control", self.rollout, "deploy"),
            row("PATCH", "/definitions/{name}/rollout", "control", self.rollout, "deploy"),
            row("POST", "/definitions/{name}/rollback", "control", self.rollback, "deploy"),
            row("POST", "/actors/{actor_id}/reload", "control", self.reload, "actors"),
            row("GET", "/actors/{actor_id}/status", "control", self.status, "actors"),
        ]

    # deploys -----------------------------------------------------------------------------------------------------

    async def versions(self, exchange: Exchange) -> Response:
        """How its deploys go: the newest versions first, and the latest starts on them that failed."""
        storage, tenant, name = self._deps.storage, exchange.namespace, _name(exchange)
        found = await storage.definition_versions(tenant, name)
        if not found:
            raise _not_found(tenant, name)
        failures = await storage.deploy_failures(tenant, name, SHOWN_FAILURES)
        return json_response({"versions": [definition_document(each) for each in found], "failures": failures})

    async def rollout(self, exchange: Exchange) -> Response:
        """Gives the newest version to more actors, or to those awake now."""
        deps, tenant, name = self._deps, exchange.namespace, _name(exchange)
        deps.refuse_when_draining()
        wanted = await self._body(exchange)
        newest = await deps.storage.get_definition(tenant, name)
        if newest is None:
            raise _not_found(tenant, name)
        if newest.status != "live":
            raise CallerError(
                "definition",
                "deploy_failed",
                f"version {newest.version} of {name!r} has failed ({newest.reason}); deploy another, or roll back",
            )
        if wanted.percent is not None:
            newest = await deps.storage.set_deploy(tenant, name, newest.version, percent=wanted.percent) or newest
        return await self.answer(newest, wanted)

    async def rollback(self, exchange: Exchange) -> Response:
        """A new version with what the newest live one below the newest had; the newest has failed then."""
        deps, tenant, name = self._deps, exchange.namespace, _name(exchange)
        deps.refuse_when_draining()
        wanted = await self._body(exchange)
        versions = await deps.storage.definition_versions(tenant, name)
        if not versions:
            raise _not_found(tenant, name)
        found = rolls_back_to(versions)
        if found is None:
            raise CallerError(
                "definition", "no_older_version", f"{name!r} has no older version that is live and different"
            )
        newest, older = found
        # In this order: whatever is cut short between the two, no actor begins on what is rolled back.
        percent = 100 if wanted.percent is None else wanted.percent
        made = await deps.modules.deploy(tenant, name, older.module, older.options, dict(older.limits), percent=percent)
        if newest.status == "live":
            await deps.storage.set_deploy(tenant, name, newest.version, status="failed", reason=ROLLED_BACK)
        deps.metrics.count("deploys_failed", "rolled_back")
        log.warning("deploy rolled back", tenant=tenant, name=name, version=newest.version, to=older.version)
        return await self.answer(made, wanted, {"from_version": newest.version, "to_version": older.version})

    async def answer(self, made: Definition, wanted: Rollout, more: dict[str, Any] | None = None) -> Response:
        """What was deployed; with `now` the rollout begins, and the answer says how many actors are awake, and how many
        of them it moves. `alone` tells that a share means nothing to actors that are new."""
        deps = self._deps
        shown: dict[str, Any] = {
            "name": made.name,
            "version": made.version,
            "module": f"sha256:{made.module}",
            "percent": made.percent,
            **(more or {}),
        }
        if made.percent < 100 and is_alone(made, await deps.storage.definition_versions(made.tenant, made.name)):
            shown["alone"] = True
        if wanted.now:
            shown["moves"] = await deps.service.behind(made.tenant, made.name)
            shown["awake"] = deps.service.roll_out(made.tenant, made.name, wanted.rate)
        return json_response(shown)

    async def _body(self, exchange: Exchange) -> Rollout:
        data = await read_body(exchange.request, self._deps.clock, limit="json_body", allowed=MAX_BODY)
        return Rollout() if not data else decode_strict(data, Rollout).check()

    # actors ------------------------------------------------------------------------------------------------------

    async def reload(self, exchange: Exchange) -> Response:
        """Answers when the actor is as it will be: running, asleep as before, or failed again."""
        self._deps.refuse_when_draining()
        actor_id = await self._guarded(exchange)
        return json_response(_status(await self._deps.service.reload(actor_id)))

    async def status(self, exchange: Exchange) -> Response:
        actor_id = await self._guarded(exchange)
        return json_response(_status(await self._deps.service.status(actor_id)))

    async def _guarded(self, exchange: Exchange) -> str:
        record = await self._deps.service.record(exchange.path_id())
        exchange.guard_namespace(record)
        exchange.record = record
        return record.actor_id


def definition_document(found: Definition) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "module": f"sha256:{found.module}",
        "created_at": found.created_at,
        "options": found.options,
        "limits": found.limits,
        "status": found.status,
        "percent": found.percent,
        "reason": found.reason,
    }


def _status(status: ActorStatus) -> dict[str, Any]:
    return msgspec.structs.asdict(status) | {"last_error": error_document(status.last_error)}


def _name(exchange: Exchange) -> str:
    name: str = exchange.request.path_params["name"]
    return name


def _not_found(tenant: str, name: str) -> CallerError:
    return CallerError("definition", "not_found", f"namespace {tenant!r} has no definition {name[:64]!r}")
