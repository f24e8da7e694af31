"""The actors of this node that have something to do, each with its task, by id. Embedded: this node runs them all.

An actor enters at its first cause and leaves when its task ends; nothing is awaited in between looking up and
posting, so no cause falls between an actor that leaves and one that enters.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from host.actor.actor import Actor
from host.actor.services import Services
from host.model.errors import UnavailableError
from host.telemetry.logging import get_logger

__all__ = ["Directory"]

log = get_logger("placement")


class Directory:
    """`room(actor_id)` is called when an actor that was refused may be tried again."""

    def __init__(self, services: Services, tasks: TaskGroup, room: Callable[[str], None]) -> None:
        self._room = room
        # Refused while the node was full: what the gateway holds for them has to be asked for once there is room.
        self._put_off: dict[str, None] = {}
        self._services = services
        self._tasks = tasks
        self._actors: dict[str, Actor] = {}
        self._draining = False
        self._empty = anyio.Event()

    def get(self, actor_id: str) -> Actor | None:
        return self._actors.get(actor_id)

    def ensure(self, actor_id: str) -> Actor:
        """The actor's task, started if it has none; `node/draining`, `node/full` when there is no more room."""
        actor = self._actors.get(actor_id)
        if actor is not None:
            return actor
        if self._draining:
            self._refused(actor_id, "node.draining")
            raise UnavailableError("node", "draining", "the node is shutting down; try again", retry_after=1.0)
        allowed = self._services.limits.actors
        if len(self._actors) >= allowed:
            self._refused(actor_id, "node.full")
            self._put_off[actor_id] = None
            raise UnavailableError("node", "full", f"actors: {allowed} awake, {allowed} allowed", retry_after=5.0)
        actor = Actor(actor_id, self._services, self._forget)
        self._actors[actor_id] = actor
        return actor

    def _refused(self, actor_id: str, reason: str) -> None:
        """D10: a start that is refused is counted and logged."""
        self._services.metrics.count("starts_refused", reason)
        log.warning("start refused", actor_id=actor_id, reason=reason)

    def start(self, actor: Actor) -> None:
        """Begins the task of an actor that `ensure` made, after its cause was posted."""
        if not actor.has_task:
            actor.has_task = True
            self._tasks.start_soon(actor.main, name=f"actor {actor.actor_id}")

    def _forget(self, actor: Actor) -> None:
        self._actors.pop(actor.actor_id, None)
        if self._draining and not self._actors:
            self._empty.set()
        if self._put_off and not self._draining:
            actor_id = next(iter(self._put_off))
            del self._put_off[actor_id]
            self._room(actor_id)

    def counts(self) -> dict[str, int]:
        """How many actors are in each state of the lifecycle."""
        found: dict[str, int] = {}
        for actor in self._actors.values():
            found[actor.state.value] = found.get(actor.state.value, 0) + 1
        return found

    def waiting(self) -> int:
        """Events in all mailboxes."""
        return sum(len(actor.mailbox) for actor in self._actors.values())

    async def drain(self) -> None:
        """Refuses new actors, puts those awake to sleep, and returns when all are."""
        self._draining = True
        for actor in list(self._actors.values()):
            actor.evict()
        if self._actors:
            await self._empty.wait()
