"""An actor on this node: what stays when its isolate goes. The mailbox, the lines, the lifecycle, and one task.

The task sleeps without existing: an actor with nothing to deliver ends its task and is forgotten (`on_idle`); its
truth is in storage, its sockets are the gateway's. Any cause brings it back through the one start path of `main`.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from host.actor.backoff import fence_delay_ms, next_attempt, start_delay_ms
from host.actor.destroying import GRACE_OVER, Destroying
from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED
from host.actor.held_back import HeldBack
from host.actor.instance import Ended, Instance
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
from host.model.limits import Limits, limits_with
from host.model.records import ActorImage, ActorRecord
from host.storage.driver import CommitUnknown, Fenced
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["Actor", "not_found"]

DRAINING = ErrorInfo("node", "draining", "the node is shutting down; try again", retryable=True, retry_after=1.0)
STORAGE_DELAY_MS = 1_000
FENCED = ErrorInfo("actor", "restarting", "the actor is being started elsewhere; try again", retryable=True)
# Fences that are further apart than this have nothing to do with each other.
FENCE_MEMORY = 60.0


def not_found(actor_id: str) -> CallerError:
    return CallerError("actor", "not_found", f"there is no actor {actor_id}; it never was, or it was destroyed")


class Actor:
    def __init__(
        self,
        actor_id: str,
        services: Services,
        on_idle: Callable[[Actor], None],
        on_parked: Callable[[int], None] = lambda change: None,
    ) -> None:
        """`on_parked` is told 1 when it begins to wait for a quota of its tenant, and -1 when it does not any more."""
        self._on_parked = on_parked
        self._parked = False
        self.actor_id = actor_id
        self.mailbox = Mailbox()
        self.lines = Lines()
        self.state = State.ABSENT
        self.has_task = False
        self.reply: StartReply | None = None
        # Those in force while it is awake: the definition has its say.
        self.limits: Limits | None = None
        self._services = services
        self._clock = services.clock
        self._on_idle = on_idle
        self._wake_timeout = WakeTimeout(actor_id, services, self.mailbox, self.lines)
        self._instance: Instance | None = None
        self._record: ActorRecord | None = None
        self._epoch = 0
        self._signal = anyio.Event()
        self._poked = False
        self._evicted = False
        self._sleep_asked = False
        self._reason: StartReason = "wake"
        self._not_before: float | None = None
        # It is to start again as soon as it has stopped: for another version, or for a reload.
        self._again = False
        self._destroying: Destroying | None = None
        self._held_back = HeldBack()
        self._error: ErrorInfo | None = None
        self._storage_failures = 0
        self._fences = 0
        self._fenced_at = 0.0
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

    @property
    def runs(self) -> tuple[ActorRecord, int] | None:
        """While it starts or runs, its record as of that start, and the version."""
        if self._instance is None or self._record is None or self.state not in (State.STARTING, State.RUNNING):
            return None
        return self._record, self._instance.runs[0]

    def upgrade(self) -> None:
        """Stops as for sleep and starts again at once, on the version that it is to run then. For one that runs."""
        if self._instance is not None and self.state is State.RUNNING:
            self._again = True
            self._instance.request_stop("upgrade")

    async def reload(self) -> None:
        """Starts it anew, whatever its row says of failures; returns when it runs, raises what that start failed with.
        A start that is under way is joined, a stop is waited for."""
        if self.state is State.STOPPING and not self._again:
            self._held_back.release()
            await self._sleepers.wait()
            return
        if self.state is not State.STARTING:
            self._held_back.release()
            self._faults = RecentFaults()
            self._not_before = None
            self.upgrade()
        waiter = self._waiters.add()
        self._notify()
        await self._waiters.wait(waiter)

    def evict(self) -> None:
        """Puts it to sleep for good: the node is shutting down."""
        self._evicted = True
        self._services.metrics.count("evictions", "draining")
        self._log.info("actor evicted", reason="draining")
        if self._instance is not None:
            self._instance.request_stop("evict")
        self._notify()

    @property
    def idle(self) -> bool:
        """It runs and does nothing, nothing waits for it, and its sockets would stay open if it slept."""
        instance = self._instance
        return (
            self.state is State.RUNNING
            and instance is not None
            and self.mailbox.empty
            and not self._waiters
            and not self._poked
            and instance.idle
        )

    def evict_idle(self, reason: str) -> None:
        """Puts it to sleep until the next cause, to make room."""
        self._services.metrics.count("evictions", reason)
        self._log.info("actor evicted", reason=reason)
        if self._instance is not None:
            self._instance.request_stop("evict")

    def destroy(self) -> Destroying:
        """Its destroy is on disk: the guest hears of it, unless it cannot be started, and then the actor ends. Nothing
        new is delivered from now on. For an actor whose row says that it can be started."""
        if self._destroying is None:
            self._destroying = Destroying()
            self._not_before = None
            self._waiters.fail(not_found(self.actor_id).info)
            if self.state is State.FAILED:
                self._destroying.missed = self.state.value
                self.destroyed()
            elif self._instance is not None:
                self._instance.request_stop("destroy")
            self._notify()
        return self._destroying

    def destroyed(self) -> None:
        """It ends now: nothing is delivered, committed or sent any more."""
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
            await self._admitted_life()
        except Exception:  # noqa: BLE001 - the log has it whole, and whoever waits for an answer gets the masked form
            self._services.metrics.count("actor_tasks_failed", "internal")
            self._log.exception("actor task failed")
            if self.state in (State.STARTING, State.RUNNING, State.STOPPING):
                self._take(Step.LOST)
            self._wake_stopped()
            self._storage_failed(InternalError("the actor's task failed").info)

    def _park(self, parked: bool) -> None:
        if parked is not self._parked:
            self._parked = parked
            self._on_parked(1 if parked else -1)

    def _end(self) -> None:
        self._park(False)
        self._wake_timeout.done()
        gone = ABORTED
        if self.state is State.DESTROYED:
            gone = not_found(self.actor_id).info
            self._refuse_all()
        elif self._evicted:
            gone = DRAINING
        for entry in self.mailbox.remove_all():
            entry.fail(gone)
        self._waiters.fail(gone)
        self._wake_stopped()
        self._on_idle(self)
        if self._destroying is not None:
            self._destroying.over()

    def _refuse_all(self) -> None:
        """D10: what waits for an actor that is destroyed is counted, and told so."""
        waiting = self.mailbox.remove_all()
        if waiting:
            self._services.metrics.count("events_refused", "actor.destroyed", len(waiting))
            self._log.info("events refused", reason="actor.destroyed", events=len(waiting))
        gone = not_found(self.actor_id).info
        for entry in waiting:
            entry.fail(gone)

    def _has_cause(self) -> bool:
        if self.state is State.DESTROYED:
            return False
        if self._destroying is not None:
            return True
        if self._evicted:
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

    async def _admitted_life(self) -> None:
        """A life within the quotas of its tenant, which its row names: who is refused again reads nothing."""
        began = self._clock.monotonic()
        image = None
        if self._record is None:
            image = await self._hydrated()
            if image is None:
                return
        record = self._record
        assert record is not None
        tenants = self._services.tenants
        try:
            await tenants.load(record.tenant)
        except DormiceError as error:
            self._storage_failed(error.info)
            return
        if self._is_destroyed():
            return
        try:
            tenants.begin_start(record.tenant)
        except DormiceError as error:
            self._put_off(error.info)
            return
        self._park(False)
        try:
            image = image or await self._hydrated()
            if image is not None:
                await self._life(image, began)
        finally:
            tenants.end_start(record.tenant)

    async def _hydrated(self) -> ActorImage | None:
        """None if there is nothing to start now; why not is dealt with."""
        last = self._destroying is not None
        try:
            image = await self._services.storage.hydrate(self.actor_id, destroying=last)
        except DormiceError as error:
            self._storage_failed(error.info)
            return None
        if self._is_destroyed():
            return None
        if image is None:
            # Unless its destroy was recorded just before it was read: then it is read again.
            if last or self._destroying is None:
                self._gone()
            return None
        self._record = image.record
        awaits = self.state is State.ABSENT and not self._held_back.released and self._destroying is None
        if awaits and self._failed_before(image.record):
            return None
        return image

    async def _life(self, image: ActorImage, began: float) -> None:
        """One start and what comes of it."""
        image = self._held_back.apply(image)
        record = self._record = image.record
        self._poked = False
        alarms = self.mailbox.remove_alarms()
        if self.state is not State.STARTING:
            reloads = self.state is State.FAILED and self._held_back.released
            self._take(Step.RELOAD if reloads else Step.CAUSE)
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
        if self._destroying is not None:
            instance.request_stop("destroy")
        try:
            ended = await instance.run()
        finally:
            self._instance = None
            self.reply = None
        await self._ended(ended, instance)

    async def _make_instance(self, image: ActorImage, began: float) -> Instance:
        record = image.record
        definition = await self._services.definitions.for_actor(record)
        limits = self.limits = limits_with(dict(definition.limits), self._services.limits)

        def running(reply: StartReply) -> None:
            self._take(Step.STARTED)
            self._held_back.written()
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

        def stopping() -> None:
            self._take(Step.STOP)
            if self._destroying is not None:
                self._refuse_all()

        return Instance(
            self._services,
            image,
            definition,
            limits,
            epoch=self._epoch,
            reason=self._reason,
            mailbox=self.mailbox,
            lines=self.lines,
            on_running=running,
            on_stopping=stopping,
        )

    def _failed_before(self, record: ActorRecord) -> bool:
        """A failure that is on record and whose time has not come keeps a fresh task waiting too."""
        if record.lifecycle != "failed" or record.retry_at is None:
            return False
        left = (record.retry_at - self._clock.now_ms()) / 1_000
        if left <= 0:
            return False
        self._take(Step.RECALL)
        self._error = record.last_error
        self._not_before = self._clock.monotonic() + left
        return True

    async def _ended(self, ended: Ended, instance: Instance) -> None:
        if self.state is State.DESTROYED:
            return
        if self._destroying is not None and instance.ends:
            if not instance.heard_stop:
                self._destroying.missed = GRACE_OVER
                if instance.error is not None:
                    self._destroying.miss(instance.error)
            self._take(Step.DESTROY)
            return
        again, self._again = self._again and not self._evicted, False
        self._poked = self._poked or again
        if ended is Ended.ASLEEP:
            self._take(Step.UPGRADE if again else Step.STOPPED)
            self._wake_stopped()
            self._log.info("actor starts anew" if again else "actor sleeps")
        elif ended is Ended.FAULT:
            await self._faulted(instance)
        elif ended is Ended.START_FAILED:
            if await self._falls_back(instance):
                return
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
            if instance.ledger.alarms:
                # The alarm clock left them to the instance, which can fire them no more.
                self._services.wake.wake_at_changed(self.actor_id, instance.ledger.wake_at())
        else:
            self._take(Step.LOST)
            self._fenced()
        if self.state is not State.STOPPING:
            self._wake_stopped()

    async def _faulted(self, instance: Instance) -> None:
        """A restart, unless three different events faulted within a minute: then the actor has failed."""
        if self.state is State.STOPPING:
            self._take(Step.FAULT)
            # As at the end of any stop: what came due meanwhile is the alarm clock's.
            self._services.wake.wake_at_changed(self.actor_id, instance.ledger.wake_at())
            self._wake_stopped()
            return
        self._reason = "restart"
        if self._faults.add(instance.culprit, self._clock.monotonic()):
            ledger = instance.ledger
            error = instance.error or ABORTED
            await self._start_failed(error, ledger.hop_seq, claims=False, wake_at=ledger.wake_at(), lived=instance)
        else:
            self._take(Step.FAULT)
            self._poked = True

    async def _falls_back(self, instance: Instance) -> bool:
        """True if the actor goes on with another version than the one that it could not start on: who waits for it
        waits a little longer."""
        record, definition, error = self._record, instance.definition, instance.error
        if record is None or error is None or self._evicted:
            return False
        try:
            found = await self._services.definitions.instead_of(definition, record, error, instance.detail)
        except DormiceError as failure:
            self._log.warning("failed start not recorded on its deploy", error=failure.name)
            return False
        except CommitUnknown as failure:
            self._services.fatal(failure)
            return False
        if self._is_destroyed():
            return True
        if found is None:
            return False
        self._take(Step.FALL_BACK)
        self._services.metrics.count("fall_backs", "start_failed")
        self._log.warning("actor goes back", version=definition.version, runs=found.version)
        self._held_back.hold(definition.version)
        self._poked = True
        return True

    async def _start_failed(
        self,
        error: ErrorInfo,
        hop_seq: int,
        *,
        claims: bool,
        wake_at: int | None,
        lived: Instance | None = None,
    ) -> None:
        """Writes attempt, `retry_at` and the error, and nothing else; everyone who waits is told."""
        record = self._record
        if record is None or self.state is State.DESTROYED:
            return
        if self._destroying is not None:
            # There is no next attempt, and nobody to be told.
            self._services.metrics.count("start_failures", error.name)
            self._destroying.miss(error)
            self._take(Step.DESTROY)
            return
        attempt = next_attempt(record.attempt)
        delay = start_delay_ms(attempt, self._services.jitter())
        now = self._clock.now_ms()
        self._take(Step.START_FAILED if lived is None else Step.GIVE_UP)
        self._services.metrics.count("start_failures", error.name)
        # An alarm that is due waits for the next attempt like any other cause.
        self._services.wake.wake_at_changed(self.actor_id, wake_at)
        shown = ErrorInfo(
            "actor",
            "start_failed",
            f"the actor could not be started ({error.name}: {error.message}); it is tried again after a delay",
            retryable=True,
            # the limit that a fault broke; what a guest has thrown stays between it and its log
            metadata=None if error.group == "user" else error.metadata,
        )
        self._error = shown
        self._not_before = self._clock.monotonic() + delay / 1_000
        change = ActorChange(
            lifecycle="failed",
            attempt=attempt,
            retry_at=now + delay,
            last_error=shown,
            started_once=record.started_once or lived is not None,
            version=record.version if lived is None else lived.runs[0],
            module=record.module if lived is None else lived.runs[1],
            started_at=record.started_at if lived is None else lived.started_at,
            slept_at=record.slept_at,
            held_version=record.held_version,
        )
        self._held_back.written()
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

    def _put_off(self, error: ErrorInfo) -> None:
        """The tenant has reached a quota: whoever waits for an answer is told, the rest is tried again at the time that
        the refusal names."""
        if self.state is State.STARTING:
            self._take(Step.LOST)
        self._park(True)
        note_limit(self._services.metrics, error)
        self._services.metrics.count("starts_refused", error.name)
        self._log.info("start put off", error=error.name, message=error.message)
        self._error = error
        self._not_before = self._clock.monotonic() + (error.retry_after or 1.0)
        self._refuse(error)

    def _fenced(self) -> None:
        """Looks again: the actor may be gone, or another start may own it. Two owners that fence each other off in
        turn would do so as fast as they can start, so each does it ever more rarely."""
        now = self._clock.monotonic()
        self._fences = self._fences + 1 if now - self._fenced_at < FENCE_MEMORY else 1
        self._fenced_at = now
        self._poked = True
        delay = fence_delay_ms(self._fences, self._services.jitter())
        if delay:
            self._log.warning("actor fenced again", times=self._fences, delay_ms=delay)
            self._error = FENCED
            self._not_before = now + delay / 1_000

    def _gone(self) -> None:
        self.state = State.DESTROYED
        for opened in self._services.gateway.connections_of(self.actor_id):
            self._services.metrics.count("socket_closes", "actor.destroyed")
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
