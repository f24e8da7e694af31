"""Upgrades now: a rollout asks the actors of a name that are awake to go over to the version that they are to run.

Those that sleep go over at their next wake, without anybody asking. A rollout looks at the versions again and again,
so it ends by itself when its deploy fails or is rolled back; a second one of the same name takes its place, and one
that is cut short by the end of the host has nothing left to do, for then every actor sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from host.actor.actor import Actor
from host.actor.lifecycle import State
from host.actor.services import Services
from host.model.definitions import Definition
from host.model.deploys import wanted
from host.model.errors import DormiceError
from host.placement.directory import Directory
from host.telemetry.logging import get_logger

__all__ = ["Rollouts"]

log = get_logger("deploys")

# A deploy may fail while it is rolled out: so old may be what is known of it.
LOOK_AGAIN = 0.25
# Until those that were starting when they were looked at may have started.
PAUSE = 1.0


class Rollouts:
    def __init__(self, services: Services, directory: Directory, tasks: TaskGroup) -> None:
        self._storage = services.storage
        self._clock = services.clock
        self._metrics = services.metrics
        self._directory = directory
        self._tasks = tasks
        self._under_way: dict[tuple[str, str], anyio.CancelScope] = {}

    def begin(self, tenant: str, name: str, rate: int) -> int:
        """Asks `rate` actors a second, in the background; how many are awake."""
        former = self._under_way.get((tenant, name))
        if former is not None:
            former.cancel()
        scope = self._under_way[tenant, name] = anyio.CancelScope()
        self._tasks.start_soon(self._run, tenant, name, rate, scope, name=f"rollout {name}")
        return len(self._awake(tenant, name))

    async def behind(self, tenant: str, name: str) -> int:
        """How many of those that are awake a rollout would move."""
        versions = await self._storage.definition_versions(tenant, name)
        return sum(_behind(actor, versions) for actor in self._awake(tenant, name))

    def _awake(self, tenant: str, name: str) -> list[Actor]:
        return [
            actor
            for actor in self._directory.actors()
            if (runs := actor.runs) is not None and (runs[0].tenant, runs[0].name) == (tenant, name)
        ]

    async def _run(self, tenant: str, name: str, rate: int, scope: anyio.CancelScope) -> None:
        asked: set[str] = set()
        log.info("rollout begins", tenant=tenant, name=name, rate=rate)
        with scope:
            while not await self._pass(tenant, name, rate, asked):
                await self._clock.sleep_until(self._clock.monotonic() + PAUSE)
            if self._under_way[tenant, name] is scope:
                del self._under_way[tenant, name]
            log.info("rollout over", tenant=tenant, name=name, asked=len(asked))

    async def _pass(self, tenant: str, name: str, rate: int, asked: set[str]) -> bool:
        """Once over all that are awake; True when nobody is left."""
        left = False
        versions: Sequence[Definition] = ()
        read_at = -LOOK_AGAIN
        for actor in self._awake(tenant, name):
            if self._clock.monotonic() - read_at >= LOOK_AGAIN:
                try:
                    versions = await self._storage.definition_versions(tenant, name)
                except DormiceError as error:
                    log.warning("versions not read", name=name, error=error.name)
                    return False
                read_at = self._clock.monotonic()
            if actor.actor_id in asked or not _behind(actor, versions):
                continue
            if actor.state is not State.RUNNING:
                left = True
                continue
            actor.upgrade()
            asked.add(actor.actor_id)
            self._metrics.count("upgrades_asked", "rollout")
            await self._clock.sleep_until(self._clock.monotonic() + 1 / rate)
        return not left


def _behind(actor: Actor, versions: Sequence[Definition]) -> bool:
    runs = actor.runs
    if runs is None:
        return False
    record, version = runs
    found = wanted(actor.actor_id, version, record.held_version, versions)
    return found is not None and found.version != version
