"""The start of an instance: its code, its isolate, its start event, and the row that says that it settled.

A start that throws, faults or takes too long is rolled back whole. Whatever woke the actor, the
way is this one.
"""

from __future__ import annotations

from functools import partial

import anyio
from msgspec import UNSET, Raw
from msgspec.structs import replace

from host.actor.definitions import ActorDefinition, Loaded
from host.actor.entries import Entry, Kind
from host.actor.guest import Guest, Place
from host.actor.services import Services
from host.actor.turns import HopResult
from host.bridge.envelopes import StartEvent, StartReason, StartReply
from host.capabilities.random import RandomStream, actor_seed
from host.model.effects import ActorChange
from host.model.errors import DormiceError, ErrorInfo
from host.model.limits import Limits
from host.model.records import ActorImage

__all__ = ["Start", "StartFailed"]

LOAD_TOO_LONG = ErrorInfo("actor", "start_failed", "loading the module took too long")
TOO_LONG = ErrorInfo("actor", "start_failed", "the start did not settle in time")


class StartFailed(Exception):
    """`detail` is for the log only."""

    def __init__(self, error: ErrorInfo, detail: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.detail = detail


class Start:
    """`settled` is true, and `reply` there, once the start has settled with a result."""

    def __init__(
        self, services: Services, image: ActorImage, definition: ActorDefinition, limits: Limits, reason: StartReason
    ) -> None:
        self._services = services
        self._image = image
        self._record = image.record
        self._definition = definition
        self._limits = limits
        self._reason: StartReason = reason
        self.started_at = image.record.started_at
        self.module = definition.module
        self.entry = Entry(Kind.START)
        self.settled = False
        self.reply = StartReply()
        self.deadline = services.clock.monotonic() + limits.start_timeout / 1_000

    async def load(self) -> Loaded:
        self.deadline = self._services.clock.monotonic() + self._limits.start_timeout / 1_000
        try:
            with self._services.clock.fail_after(self._limits.start_timeout / 1_000):
                code = await self._definition.load(self._image)
        except TimeoutError:
            raise StartFailed(self._too_late(LOAD_TOO_LONG)) from None
        except DormiceError as error:
            raise StartFailed(error.info, error.detail) from error
        self.module = code.module
        return code

    async def wake(self, code: Loaded, epoch: int) -> Guest:
        """A guest is never left behind: a job on a thread cannot be called off."""
        services, actor_id = self._services, self._record.actor_id
        random = RandomStream(actor_seed(services.data_key, actor_id, epoch))
        place = Place(self._image, self._limits, services.storage.reader(actor_id), random, services.failpoints)
        try:
            with anyio.CancelScope(shield=True):
                guest = await services.executor.run(self._record.tenant, partial(code.make, place))
        except DormiceError as error:
            raise StartFailed(error.info, error.detail) from error
        return guest

    def forget_held(self) -> None:
        """Its row says meanwhile that it is held back from nothing."""
        self._record = replace(self._record, held_version=None)

    def check_time(self) -> None:
        """D8: what an attempt comes to after its deadline (a guest that was made, a start that settled) counts for
        nothing; that attempt is over, and the next one has to come to it by itself."""
        if self._services.clock.monotonic() >= self.deadline:
            raise StartFailed(self._too_late(TOO_LONG))

    def _too_late(self, error: ErrorInfo) -> ErrorInfo:
        allowed = self._limits.start_timeout
        return replace(error, metadata=b'{"limit":"start_timeout","used":%d,"allowed":%d}' % (allowed, allowed))

    def event(self, event_id: int, connections: int) -> StartEvent:
        record = self._record
        upgrade = record.started_once and self._definition.version != record.version
        if not record.started_once:
            reason: StartReason = "create"
        else:
            reason = "upgrade" if upgrade else self._reason
        return StartEvent(
            id=event_id,
            reason=reason,
            actor=record.actor_id,
            generation=record.generation,
            name=record.name,
            key=list(record.key),
            connection_count=connections,
            from_version=record.version if upgrade else UNSET,
            input=UNSET if record.started_once or record.input is None else Raw(record.input),
        )

    def note(self, result: HopResult) -> bool:
        """True if the start settled with a result in this hop; an error of it is a failed start."""
        for turn in result.turns:
            for settlement in turn.settled:
                if settlement.entry is not self.entry:
                    continue
                if settlement.error is not None:
                    raise StartFailed(settlement.error, settlement.detail)
                self.check_time()
                self.settled = True
                self.started_at = self._services.clock.now_ms()
                self.reply = settlement.start or StartReply()
                return True
        return False

    def row(self, *, slept_at: int | None = None, error: ErrorInfo | None = None) -> ActorChange:
        """The actor's own row, in the commit in which its start settles and in the one with which it falls asleep. Its
        lifecycle on disk is what is true if this process is gone: it sleeps."""
        return ActorChange(
            lifecycle="asleep",
            attempt=0,
            retry_at=None,
            last_error=error,
            started_once=True,
            version=self._definition.version,
            module=self.module,
            started_at=self.started_at,
            slept_at=self._record.slept_at if slept_at is None else slept_at,
            drop_input=True,
            held_version=self._held_version(),
        )

    def _held_version(self) -> int | None:
        """What it is held back from is forgotten once it runs something newer."""
        held = self._record.held_version
        return held if held is not None and held > self._definition.version else None
