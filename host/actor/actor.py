"""An actor on this node: what stays when its isolate goes. The mailbox, the lines, the lifecycle, and one task.

The task sleeps without existing: an actor with nothing to deliver ends its task and is forgotten (`on_idle`); its
truth is in storage, its sockets are the gateway's. Any cause brings it back through the one start path of `main`.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from host.actor.backoff import next_attempt, start_delay_ms
from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED
from host.actor.instance import DynamicInstance, Ended
from host.actor.lifecycle import State, Step, step
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.recent_faults import RecentFaults
from host.actor.services import Services
from host.actor.waiters import Sleepers, Waiters
from host.actor.wake_timeout import WakeTimeout
from host.bridge.envelopes import StartReason, StartReply
from host.model.effects import ActorChange, CommitUnit
from host.model.errors import CallerError, DormiceError, ErrorInfo, InternalError, UnavailableError
from host.model.limits import limits_with
from host.model.records import ActorImage, ActorRecord
from host.storage.driver import CommitUnknown, Fenced
from host.telemetry.logging import get_logger

__all__ = ["Actor", "not_found"]

DRAINING = ErrorInfo("node", "draining", "the node is shutting down; try again", retryable=True, retry_after=1.0)
STORAGE_DELAY_MS = 1_000


def not_found(actor_id: str) -> CallerError:
    return CallerError("actor", "not_found", f"there is no actor {actor_id}; it never was, or it was destroyed")


class Actor:
    def __init__(self, actor_id: str, services: Services, on_idle: Callable[[Actor], None]) -> None:
        self.actor_id = actor_id
        self.mailbox = Mailbox()
        self.lines = Lines()
        self.state = State.ABSENT
        self.has_task = False
        self.reply: StartReply | None = None
        self._services = services
        self._clock = services.clock
        self._on_idle = on_idle
        self._wake_timeout = WakeTimeout(actor_id, services, self.mailbox, self.lines)
        self._instance: DynamicInstance | None = None
        self._record: ActorRecord | None = None
        self._epoch = 0
        self._signal = anyio.Event()
        self._poked = False
        self._evicted = False
        self._sleep_asked = False
        self._reason: StartReason = "wake"
        self._not_before: float | None = None
        self._error: ErrorInfo | None = None
        self._storage_failures = 0
        self._faults = RecentFaults()
        self._waiters = Waiters()
        self._sleepers = Sleepers()
        self._log = get_logger("actor").bind(actor_id=actor_id)

    # --- causes (event loop, never blocking) ---------------------------------------------------------------------

    def post(self, entry: Entry) -> None:
        self.mailbox.post(entry)
        self._notify()

    def poke(self) -> None:
        """A cause without an event of its own: an alarm is due, or a connection has gone stale."""
        if self.state is not State.RUNNING:
            self._poked = True
        if self._instance is not None:
            self._instance.wake_for_alarms()
        self._notify()

    def _notify(self) -> None:
        self._signal.set()
        if self._instance is not None:
            self._instance.signal()

    async def wait_running(self) -> StartReply:
        """Returns once the actor runs; raises with the error of the start, the same for all who wait for it."""
        if self.state is State.RUNNING and self.reply is not None:
            return self.reply
        waiter = self._waiters.add()
        self._notify()
        return await self._waiters.wait(waiter)

    async def sleep(self) -> None:
        """Returns when it sleeps; at once if it does not run. Refused while a connection that cannot hibernate is
        open: it would keep the caller waiting for as long as it pleases."""
        if self.state not in (State.RUNNING, State.STOPPING, State.STARTING):
            return
        if self._instance is not None:
            if not self._instance.hibernates:
                raise CallerError(
                    "actor", "invalid_request", "a connection that cannot hibernate keeps it awake; close it first"
                )
            self._instance.request_stop("sleep")
        self._sleep_asked = True
        await self._sleepers.wait()

    def evict(self) -> None:
        """Puts it to sleep for good: the node is shutting down."""
        self._evicted = True
        self._services.metrics.count("evictions", "draining")
        self._log.info("actor evicted", reason="draining")
        if self._instance is not None:
            self._instance.request_stop("evict")
        self._notify()

    def destroyed(self) -> None:
        """It is gone from storage: nothing is delivered, committed or sent any more."""
        self._take(Step.DESTROY)
        if self._instance is not None:
            self._instance.kill()
        self._notify()

    # --- the task ------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        try:
            while self._has_cause():
                self._wake_timeout.begin()
                if not await self._sit_out():
                    break
                await self._guarded_life()
        finally:
            self._end()

    async def _guarded_life(self) -> None:
        """An error of the host itself ends this life, not the node's task group: what waits is tried again, later."""
        try:
            await self._life()
        except Exception:  # noqa: BLE001 - the log has it whole, and whoever waits for an answer gets the masked form
            self._services.metrics.count("actor_tasks_failed", "internal")
            self._log.exception("actor task failed")
            if self.state in (State.STARTING, State.RUNNING, State.STOPPING):
                self._take(Step.LOST)
            self._wake_stopped()
            self._storage_failed(InternalError("the actor's task failed").info)

    def _end(self) -> None:
        self._wake_timeout.done()
        gone = ABORTED
        if self.state is State.DESTROYED:
            gone = not_found(self.actor_id).info
        elif self._evicted:
            gone = DRAINING
        for entry in self.mailbox.remove_all():
            entry.fail(gone)
        self._waiters.fail(gone)
        self._wake_stopped()
        self._on_idle(self)

    def _has_cause(self) -> bool:
        if self._evicted or self.state is State.DESTROYED:
            return False
        return bool(self._poked or self._waiters or not self.mailbox.empty)

    async def _sit_out(self) -> bool:
        """Waits until `retry_at` if the last start failed: requests get the stored error at once, what can wait makes
        one attempt together at that time. False when nothing waits any more."""
        while self._not_before is not None:
            left = self._not_before - self._clock.monotonic()
            if left <= 0:
                self._not_before = None
                break
            self._refuse(self._stored_error(left))
            if not self._has_cause():
                return False
            self._signal = anyio.Event()
            timer = self._clock.timer(self._not_before, self._signal.set)
            try:
                await self._signal.wait()
            finally:
                timer.cancel()
        return self._has_cause()

    def _stored_error(self, left: float) -> ErrorInfo:
        error = self._error or ErrorInfo("actor", "start_failed", "the actor could not be started")
        return ErrorInfo(error.group, error.code, error.message, True, error.metadata, retry_after=max(1.0, left))

    def _refuse(self, error: ErrorInfo) -> None:
        for entry in self.mailbox.remove_answered():
            entry.fail(error)
        self._waiters.fail(error)

    async def _life(self) -> None:
        """One start and what comes of it."""
        began = self._clock.monotonic()
        try:
            image = await self._services.storage.hydrate(self.actor_id)
        except DormiceError as error:
            self._storage_failed(error.info)
            return
        if self._is_destroyed():
            return
        if image is None:
            self._gone()
            return
        record = self._record = image.record
        if self.state is State.ABSENT and self._failed_before(record):
            return
        self._poked = False
        alarms = self.mailbox.remove_alarms()
        if self.state is not State.STARTING:
            self._take(Step.CAUSE)
        self._epoch = max(record.epoch, self._epoch) + 1
        try:
            instance = await self._make_instance(image, began)
        except DormiceError as error:
            await self._start_failed(error.info, image.record.hop_seq, claims=True, wake_at=record.wake_at)
            return
        if self._is_destroyed():
            return
        self._instance = instance
        instance.ledger.recall((*alarms, *self.mailbox.waiting()))
        if self._evicted or self._sleep_asked:
            instance.request_stop("evict" if self._evicted else "sleep")
        try:
            ended = await instance.run()
        finally:
            self._instance = None
            self.reply = None
        await self._ended(ended, instance)

    async def _make_instance(self, image: ActorImage, began: float) -> DynamicInstance:
        record = image.record
        definition = await self._services.storage.get_definition(record.tenant, record.name)
        if definition is None:
            raise CallerError("definition", "not_found", f"there is no definition {record.name!r}; deploy one")

        def running(reply: StartReply) -> None:
            self._take(Step.STARTED)
            self._wake_timeout.done()
            self._poked = False
            self.reply = reply
            self._error = None
            self._storage_failures = 0
            self._reason = "wake"
            self._services.metrics.observe("wake", self._clock.monotonic() - began)
            self._waiters.done(reply)
            if not reply.request:
                for entry in self.mailbox.remove_kind(Kind.REQUEST):
                    entry.fail(no_requests().info)

        return DynamicInstance(
            self._services,
            image,
            definition,
            limits_with(definition.limits, self._services.limits),
            epoch=self._epoch,
            reason=self._reason,
            mailbox=self.mailbox,
            lines=self.lines,
            on_running=running,
            on_stopping=lambda: self._take(Step.STOP),
        )

    def _failed_before(self, record: ActorRecord) -> bool:
        """A failure that is on record and whose time has not come keeps a fresh task waiting too."""
        if record.lifecycle != "failed" or record.retry_at is None:
            return False
        left = (record.retry_at - self._clock.now_ms()) / 1_000
        if left <= 0:
            return False
        self.state = State.FAILED
        self._error = record.last_error
        self._not_before = self._clock.monotonic() + left
        return True

    async def _ended(self, ended: Ended, instance: DynamicInstance) -> None:
        if self.state is State.DESTROYED:
            return
        if ended is Ended.ASLEEP:
            self._take(Step.STOPPED)
            self._wake_stopped()
            self._log.info("actor sleeps")
        elif ended is Ended.FAULT:
            await self._faulted(instance)
        elif ended is Ended.START_FAILED:
            ledger = instance.ledger
            await self._start_failed(
                instance.error or ABORTED,
                ledger.hop_seq,
                claims=not ledger.claimed,
                wake_at=ledger.record.wake_at,
            )
        elif ended is Ended.UNAVAILABLE:
            self._take(Step.LOST)
            self._storage_failed(instance.error or ABORTED)
        else:
            self._take(Step.LOST)
            self._poked = True  # look again: the actor may be gone, or another start may own it
        if self.state is not State.STOPPING:
            self._wake_stopped()

    async def _faulted(self, instance: DynamicInstance) -> None:
        """A restart, unless three different events faulted within a minute: then the actor has failed."""
        if self.state is State.STOPPING:
            self._take(Step.FAULT)
            # As at the end of any stop: what came due meanwhile is the alarm clock's.
            self._services.wake.wake_at_changed(self.actor_id, instance.ledger.wake_at())
            self._wake_stopped()
            return
        self._reason = "restart"
        self._take(Step.FAULT)
        if self._faults.add(instance.culprit, self._clock.monotonic()):
            ledger = instance.ledger
            error = instance.error or ABORTED
            await self._start_failed(error, ledger.hop_seq, claims=False, wake_at=ledger.wake_at(), lived=instance)
        else:
            self._poked = True

    async def _start_failed(
        self,
        error: ErrorInfo,
        hop_seq: int,
        *,
        claims: bool,
        wake_at: int | None,
        lived: DynamicInstance | None = None,
    ) -> None:
        """Writes attempt, `retry_at` and the error, and nothing else; everyone who waits is told."""
        record = self._record
        if record is None or self.state is State.DESTROYED:
            return
        attempt = next_attempt(record.attempt)
        delay = start_delay_ms(attempt, self._services.jitter())
        now = self._clock.now_ms()
        self._take(Step.START_FAILED)
        self._services.metrics.count("start_failures", error.name)
        # An alarm that is due waits for the next attempt like any other cause.
        self._services.wake.wake_at_changed(self.actor_id, wake_at)
        shown = ErrorInfo(
            "actor",
            "start_failed",
            f"the actor could not be started ({error.name}: {error.message}); it is tried again after a delay",
            retryable=True,
        )
        self._error = shown
        self._not_before = self._clock.monotonic() + delay / 1_000
        change = ActorChange(
            lifecycle="failed",
            attempt=attempt,
            retry_at=now + delay,
            last_error=shown,
            started_once=record.started_once or lived is not None,
            version=record.version if lived is None else lived.definition.version,
            module=record.module if lived is None else lived.definition.module,
            started_at=record.started_at if lived is None else lived.started_at,
            slept_at=record.slept_at,
        )
        unit = CommitUnit(
            record.actor_id,
            record.generation,
            self._epoch,
            hop_seq + 1,
            claims=claims,
            wake_at=wake_at,
            actor=change,
        )
        self._refuse(self._stored_error(delay / 1_000))
        try:
            await self._services.storage.commit(unit)
        except (Fenced, UnavailableError) as failure:
            self._log.warning("failed start not recorded", error=str(failure))
        except CommitUnknown as failure:
            self._services.fatal(failure)

    def _storage_failed(self, error: ErrorInfo) -> None:
        """Storage does not answer: whoever waits for an answer is told, the rest is tried again, ever more rarely."""
        self._storage_failures += 1
        delay = min(30_000, STORAGE_DELAY_MS << min(self._storage_failures - 1, 5))
        self._error = error
        self._not_before = self._clock.monotonic() + delay / 1_000
        self._refuse(error)

    def _gone(self) -> None:
        self.state = State.DESTROYED
        for opened in self._services.gateway.connections_of(self.actor_id):
            self._services.gateway.close(opened.conn_id, 1000, "actor.destroyed")

    # --- small things --------------------------------------------------------------------------------------------

    def _take(self, taken: Step) -> None:
        before, self.state = self.state, step(self.state, taken)
        self._log.debug("lifecycle", before=before.value, after=self.state.value, step=taken.value)

    def _is_destroyed(self) -> bool:
        """Asked after every await: a destroy may have come in between."""
        return self.state is State.DESTROYED

    def _wake_stopped(self) -> None:
        self._sleep_asked = False
        self._sleepers.done()


def no_requests() -> CallerError:
    return CallerError("actor", "method_not_allowed", "this actor does not serve HTTP requests (it has no onRequest)")
