"""When a version cannot be started: what its deploy learns from that, and what the actor goes back to.

Only starts count, and only those that the code is to blame for: an actor's first, and its first on another version
than it ran before. A failure is recorded on the deploy; when as many actors as `host.model.deploys` says could not
start, the deploy has failed, with the reason, and takes nobody in any more. It never fails while there is nothing else
to run.
"""

from __future__ import annotations

from host.model.clock import Clock
from host.model.definitions import Definition
from host.model.deploys import deploy_fails, goes_back_to, is_settled
from host.model.errors import ErrorInfo
from host.model.ports import Metrics
from host.model.records import ActorRecord
from host.storage.driver import Driver
from host.telemetry.logging import get_logger

__all__ = ["Upgrades"]

log = get_logger("deploys")

# So much of what a start failed with is kept.
MAX_REASON = 500


class Upgrades:
    def __init__(self, storage: Driver, clock: Clock, metrics: Metrics) -> None:
        self._storage = storage
        self._clock = clock
        self._metrics = metrics

    async def failed(
        self, record: ActorRecord, version: int, error: ErrorInfo, detail: str | None
    ) -> Definition | None:
        """The actor could not start on `version`: the one that it is to run instead, None if there is none."""
        runs = record.version if record.started_once else None
        if error.retryable or version == runs:
            # The host was short of something, or the code has started before: nothing is learnt about a deploy.
            return None
        tenant, name, now = record.tenant, record.name, self._clock.now_ms()
        versions = await self._storage.definition_versions(tenant, name, runs)
        tried = next((each for each in versions if each.version == version), None)
        if tried is None or (runs is None and is_settled(tried, now)):
            return None
        reason = _reason(error, detail)
        times = await self._storage.note_deploy_failure(tenant, name, version, record.actor_id, now, reason)
        self._metrics.count("upgrade_failures", error.name if error.group != "user" else "user")
        log.warning(
            "actor could not start on a version", actor_id=record.actor_id, name=name, version=version, reason=reason
        )
        others = any(each.status == "live" and each.version < version for each in versions)
        if tried.status == "live" and others:
            actors = await self._storage.count_actors(tenant, name, 2)
            if deploy_fails(times, actors, now):
                await self._fail(tried, reason)
        return goes_back_to(record.actor_id, runs, record.held_version, version, versions)

    async def _fail(self, deploy: Definition, reason: str) -> None:
        await self._storage.set_deploy(deploy.tenant, deploy.name, deploy.version, status="failed", reason=reason)
        self._metrics.count("deploys_failed", "start_failures")
        log.error("deploy failed", tenant=deploy.tenant, name=deploy.name, version=deploy.version, reason=reason)


def _reason(error: ErrorInfo, detail: str | None) -> str:
    """What operators read: of an error that is masked for clients, the first line of what is behind it."""
    shown = f"{error.name}: {error.message}"
    if detail is not None and error.name == "internal/internal_error":
        shown = detail.partition("\n")[0]
    return shown[:MAX_REASON]
