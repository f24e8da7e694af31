"""Destroys under way: each is recorded first, and always completes, whatever its actor's code does.

1. It is on disk that the actor is destroyed. From then on nobody finds it, and its key makes another one.
2. Its sockets are closed, and its guest hears of it, within the time of a start and of a stop.
3. Every row of it goes.

Who asks for the same destroy meanwhile waits for the same end. What a host that died left at 1 or 2 is finished when
the next one starts (`finish_all`); whether the guest had heard of it is not known then, and it is not told again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from anyio.abc import TaskGroup

from host.actor.actor import Actor, not_found
from host.actor.destroying import GRACE_OVER
from host.actor.lifecycle import State
from host.actor.services import Services
from host.model.errors import DormiceError, InternalError, UnavailableError, counted_error
from host.model.records import ActorRecord
from host.placement.answer import Answer
from host.placement.directory import Directory
from host.storage.driver import CommitUnknown
from host.telemetry.logging import get_logger

__all__ = ["Destroys"]

log = get_logger("placement")

By = Literal["api", "actor"]

CLOSED = "actor.destroyed"
LEFT_AT_ONCE = 1_000
RETRY_MS = 1_000
MAX_RETRY_MS = 30_000


@dataclass(slots=True, eq=False)
class _Destroy:
    """`record` is the actor as it was, once the destroy is on disk."""

    actor_id: str
    by: By
    record: ActorRecord | None = None
    recorded: list[Answer[bool]] = field(default_factory=list)
    waiting: list[Answer[Exception | bool]] = field(default_factory=list)

    def tell(self, outcome: Exception | bool) -> None:
        """Those who wait for the end; and those who wait for the record, that there is one or that there is none."""
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer.set(outcome)
        self.tell_recorded()

    def tell_recorded(self) -> None:
        recorded, self.recorded = self.recorded, []
        for answer in recorded:
            answer.set(True)


class Destroys:
    """`forget_alarm(actor_id)` takes the actor off the alarm clock."""

    def __init__(
        self, services: Services, tasks: TaskGroup, directory: Directory, forget_alarm: Callable[[str], None]
    ) -> None:
        self._services = services
        self._storage = services.storage
        self._clock = services.clock
        self._metrics = services.metrics
        self._tasks = tasks
        self._directory = directory
        self._forget_alarm = forget_alarm
        self._under_way: dict[str, _Destroy] = {}
        self._draining = False
        self._empty: list[Answer[bool]] = []

    def __contains__(self, actor_id: str) -> bool:
        """It is on disk that the actor is destroyed, and some of it is still there."""
        found = self._under_way.get(actor_id)
        return found is not None and found.record is not None

    async def record_of(self, actor_id: str) -> ActorRecord | None:
        """Of an actor whose destroy is under way: what it was. One that is about to be recorded is waited for."""
        found = self._under_way.get(actor_id)
        if found is None:
            return None
        if found.record is None:
            recorded = Answer[bool]()
            found.recorded.append(recorded)
            await recorded.wait()
        return found.record

    async def destroy(self, actor_id: str) -> None:
        """Returns when nothing of the actor is left but its tombstone; `actor/not_found`, `storage/unavailable`. After
        the latter the destroy still completes, if it was recorded."""
        answer = Answer[Exception | bool]()
        self._begin(actor_id, "api").waiting.append(answer)
        outcome = await answer.wait()
        if isinstance(outcome, CommitUnknown):
            raise CommitUnknown(*outcome.args)
        if isinstance(outcome, DormiceError):
            raise counted_error(outcome.info)

    def ask(self, actor_id: str) -> None:
        """The actor itself wants it; storage that fails is asked again until it is so."""
        self._begin(actor_id, "actor")

    async def finish_all(self) -> None:
        """What an earlier start of the host left half done. Before any actor is awake."""
        while left := await self._storage.destroying(LEFT_AT_ONCE):
            for actor_id in left:
                await self._storage.finish_destroy(actor_id)
                self._metrics.count("actors_destroyed", "restart")
                log.info("actor destroyed", actor_id=actor_id, by="restart")

    async def drain(self) -> None:
        """Returns when those that are recorded have completed."""
        self._draining = True
        if self._under_way:
            answer = Answer[bool]()
            self._empty.append(answer)
            await answer.wait()

    # --- one destroy ---------------------------------------------------------------------------------------------

    def _begin(self, actor_id: str, by: By) -> _Destroy:
        found = self._under_way.get(actor_id)
        if found is None:
            found = self._under_way[actor_id] = _Destroy(actor_id, by)
            self._tasks.start_soon(self._carry_out, found, name=f"destroy {actor_id}")
        return found

    async def _carry_out(self, destroy: _Destroy) -> None:
        """An error of the host itself ends this task, not the node's task group; the rest is for the next start."""
        outcome: Exception | bool = UnavailableError(
            "node", "draining", "the host stopped before the actor was destroyed; see whether it is"
        )
        try:
            if await self._recorded(destroy):
                await self._ended(destroy)
                await self._finished(destroy)
                outcome = True
            else:
                outcome = not_found(destroy.actor_id)
        except DormiceError as error:
            outcome = error
        except CommitUnknown as error:
            self._services.fatal(error)
            outcome = error
        except Exception:
            # the log has it whole, and who waits gets the masked form
            self._metrics.count("actor_tasks_failed", "internal")
            log.exception("destroy failed", actor_id=destroy.actor_id)
            outcome = InternalError("the destroy failed")
        finally:
            del self._under_way[destroy.actor_id]
            destroy.tell(outcome)
            if not self._under_way:
                for answer in self._empty:
                    answer.set(True)
                self._empty.clear()

    async def _recorded(self, destroy: _Destroy) -> bool:
        """False if there is no such actor."""
        failures = 0
        while True:
            try:
                destroy.record = await self._storage.begin_destroy(destroy.actor_id)
            except DormiceError as error:
                if destroy.by == "api" or self._draining:
                    raise
                failures += 1
                await self._put_off(destroy, error, failures)
            else:
                destroy.tell_recorded()
                return destroy.record is not None

    async def _finished(self, destroy: _Destroy) -> None:
        failures = 0
        while True:
            try:
                await self._storage.finish_destroy(destroy.actor_id)
            except DormiceError as error:
                if self._draining:
                    raise
                failures += 1
                await self._put_off(destroy, error, failures)
            else:
                self._metrics.count("actors_destroyed", destroy.by)
                log.info("actor destroyed", actor_id=destroy.actor_id, by=destroy.by)
                return

    async def _put_off(self, destroy: _Destroy, error: DormiceError, failures: int) -> None:
        """Who waits is told, the destroy goes on later, ever more rarely."""
        self._metrics.count("destroys_put_off", error.name)
        log.warning("destroy put off", actor_id=destroy.actor_id, error=error.name)
        destroy.tell(error)
        delay = min(MAX_RETRY_MS, RETRY_MS << min(failures - 1, 5))
        await self._clock.sleep_until(self._clock.monotonic() + delay / 1_000)

    # --- the actor -----------------------------------------------------------------------------------------------

    async def _ended(self, destroy: _Destroy) -> None:
        """Nothing of the actor runs any more, or it does for nobody."""
        actor_id, record = destroy.actor_id, destroy.record
        assert record is not None
        self._forget_alarm(actor_id)
        self._close_sockets(actor_id)
        # Its code has been there, and can be started.
        hears = record.started_once and record.lifecycle != "failed"
        actor = self._directory.get(actor_id)
        if not hears:
            if actor is not None:
                actor.destroyed()
            return
        try:
            actor = self._directory.ensure(actor_id)
        except DormiceError as error:
            self._missed(actor_id, error.name)
            return
        await self._told(actor)

    async def _told(self, actor: Actor) -> None:
        limits = actor.limits or self._services.limits
        allowed = limits.evict_grace + (0 if actor.state is State.RUNNING else limits.start_timeout)
        destroying = actor.destroy()
        self._directory.start(actor)
        try:
            with self._clock.fail_after(allowed / 1_000):
                await destroying.wait()
        except TimeoutError:
            destroying.missed = GRACE_OVER
            actor.destroyed()
        if destroying.missed is not None:
            self._missed(actor.actor_id, destroying.missed)

    def _missed(self, actor_id: str, reason: str) -> None:
        """D10: a guest that did not hear of its end, or not to the end."""
        self._metrics.count("destroys_cut", reason)
        log.warning("actor destroyed without its onDestroy", actor_id=actor_id, reason=reason)

    def _close_sockets(self, actor_id: str) -> None:
        gateway = self._services.gateway
        for opened in gateway.connections_of(actor_id):
            self._metrics.count("socket_closes", CLOSED)
            gateway.close(opened.conn_id, 1000, CLOSED)
