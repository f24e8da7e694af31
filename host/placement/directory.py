"""The actors of this node that have something to do, each with its task, by id. Embedded: this node runs them all.

An actor enters at its first cause and leaves when its task ends; nothing is awaited in between looking up and
posting, so no cause falls between an actor that leaves and one that enters. They are kept in the order in which they
were last used: when the node is full, the one that has done nothing for longest goes to sleep for the one that comes.
One that waits for a quota of its tenant has no isolate and takes no room; it asks for room when its turn has come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

import anyio
from anyio.abc import TaskGroup

from host.actor.actor import Actor
from host.actor.services import Services
from host.model.errors import UnavailableError
from host.telemetry.logging import get_logger

__all__ = ["Directory"]

log = get_logger("placement")

# So many may be on their way to sleep in favour of others; until they are there, the node has that many more.
LEAVING_AT_ONCE = 64
# How many of the least recently used are looked at for one that does nothing, when somebody waits for room.
LOOKED_AT = 1_000


class Directory:
    """`room(actor_id)` is called when an actor that was put off may be tried again."""

    def __init__(self, services: Services, tasks: TaskGroup, room: Callable[[str], None]) -> None:
        self._room = room
        # What they were to wake for waits, and nobody asks again for it: they are told once there is room. Those of
        # them that are parked are in memory, and are given the room itself.
        self._put_off: dict[str, None] = {}
        self._services = services
        self._tasks = tasks
        # The least recently used first.
        self._actors: OrderedDict[str, Actor] = OrderedDict()
        self._leaving: set[str] = set()
        self._parked: set[str] = set()
        self._draining = False
        self._empty = anyio.Event()

    def get(self, actor_id: str) -> Actor | None:
        return self._actors.get(actor_id)

    def ensure(self, actor_id: str) -> Actor:
        """The actor's task, started if it has none; `node/draining`, `node/full` when there is no more room."""
        actor = self._actors.get(actor_id)
        if actor is not None:
            self._actors.move_to_end(actor_id)
            if self._leaving:
                self._leaving.discard(actor_id)
            return actor
        if self._draining:
            self._refused(actor_id, "node.draining")
            raise UnavailableError("node", "draining", "the node is shutting down; try again", retry_after=1.0)
        if not self._has_room() and not self._make_room():
            raise self._full(actor_id)
        actor = Actor(actor_id, self._services, self._forget, self)
        self._actors[actor_id] = actor
        self._put_off.pop(actor_id, None)
        return actor

    def put_off(self, actor_id: str) -> None:
        """It found no room, and what it was to wake for waits somewhere: `room` is called for it when there is some.
        Not for a caller that was told of the refusal, for then it would start for nobody."""
        self._put_off[actor_id] = None

    # --- room ----------------------------------------------------------------------------------------------------

    def park(self, actor_id: str) -> None:
        """Rooms: it waits for a quota of its tenant, without an isolate."""
        self._leaving.discard(actor_id)
        self._parked.add(actor_id)
        self._freed()

    def take_room(self, actor_id: str) -> None:
        """Rooms: whoever is not parked has some, and keeps it if it was on its way to sleep."""
        self._leaving.discard(actor_id)
        if actor_id not in self._parked:
            return
        waits = actor_id in self._put_off
        if waits or not (self._has_room() or self._make_room()):
            self._put_off[actor_id] = None
            raise self._full(actor_id, told=waits)
        self._parked.discard(actor_id)

    def _has_room(self) -> bool:
        return len(self._actors) - len(self._parked) - len(self._leaving) < self._services.limits.actors

    def _freed(self) -> None:
        """Those who wait for room are told, in order, until there is none left: who is told may have no use for it."""
        while self._put_off and not self._draining and self._has_room():
            actor_id = next(iter(self._put_off))
            del self._put_off[actor_id]
            actor = self._actors.get(actor_id)
            if actor is None:
                self._room(actor_id)
            else:
                self._parked.discard(actor_id)
                actor.look_again()

    def _full(self, actor_id: str, *, told: bool = False) -> UnavailableError:
        if not told:
            self._refused(actor_id, "node.full")
        allowed = self._services.limits.actors
        return UnavailableError(
            "node",
            "full",
            f"actors: {allowed} awake, {allowed} allowed; try again later, or at another node",
            metadata=b'{"limit":"actors","used":%d,"allowed":%d}' % (allowed, allowed),
            retry_after=5.0,
        )

    def _make_room(self) -> bool:
        """Whoever leaves may be called back before it has gone, so those on their way do not count without end."""
        if len(self._actors) - len(self._parked) >= self._services.limits.actors + LEAVING_AT_ONCE:
            return False
        return self._evict_idle(1, "node.full", LOOKED_AT) == 1

    def evict_idle(self, count: int, reason: str) -> int:
        """Puts up to `count` actors to sleep that do nothing, the least recently used first; how many."""
        return self._evict_idle(count, reason, len(self._actors))

    def _evict_idle(self, count: int, reason: str, looked_at: int) -> int:
        evicted = 0
        for actor_id, actor in islice(self._actors.items(), looked_at):
            if evicted == count:
                break
            if actor_id not in self._leaving and actor.idle:
                actor.evict_idle(reason)
                self._leaving.add(actor_id)
                evicted += 1
        return evicted

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
        self._leaving.discard(actor.actor_id)
        self._parked.discard(actor.actor_id)
        self._put_off.pop(actor.actor_id, None)
        if self._draining and not self._actors:
            self._empty.set()
        self._freed()

    def __len__(self) -> int:
        return len(self._actors)

    def actors(self) -> list[Actor]:
        """Those in memory, the least recently used first."""
        return list(self._actors.values())

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
