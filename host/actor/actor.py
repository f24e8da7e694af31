"""An actor on this node: what stays when its isolate goes. The mailbox, the lines, the lifecycle, and one task.

The task sleeps without existing: an actor with nothing to deliver ends its task and is forgotten (`on_idle`); its
truth is in storage, its sockets are the gateway's. Any cause brings it back through the one start path of `main`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from host.actor.admission import Rooms
from host.actor.admitting import Admitting
from host.actor.destroying import Destroying
from host.actor.endings import Endings
from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED, UNCHECKED
from host.actor.instance import Ended, Instance
from host.actor.lifecycle import State, Step
from host.actor.recent_faults import RecentFaults
from host.actor.services import Services
from host.actor.standing import not_found
from host.bridge.envelopes import StartReply
from host.model.errors import CallerError, DormiceError, ErrorInfo, InternalError
from host.model.limits import limits_with
from host.model.records import ActorImage, ActorRecord

__all__ = ["Actor", "not_found"]

DRAINING = ErrorInfo("node", "draining", "the node is shutting down; try again", retryable=True, retry_after=1.0)


class Actor(Admitting, Endings):
    def __init__(self, actor_id: str, services: Services, on_idle: Callable[[Actor], None], rooms: Rooms) -> None:
        super().__init__(actor_id, services, rooms)
        self._on_idle = on_idle

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

    def look_again(self) -> None:
        """There is room for it, which it waits for."""
        self._notify()

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
            self._falling_back.held.release()
            await self._sleepers.wait()
            return
        if self.state is not State.STARTING:
            self._falling_back.held.release()
            self._faults = RecentFaults()
            self._retry.now()
            self.upgrade()
        waiter = self._waiters.add()
        self._notify()
        await self._waiters.wait(waiter)

    def forget_held(self) -> None:
        """Its row has just been told that it is held back from nothing; it was asleep then, and has woken since."""
        if self._record is not None:
            self._record = replace(self._record, held_version=None)
        self._falling_back.forget(self._instance)

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
            self._retry.now()
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

    def _end(self) -> None:
        self._admission.leave()
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

    async def _life(self, image: ActorImage, began: float) -> None:
        """One start and what comes of it."""
        image = self._falling_back.apply(image)
        record = self._record = image.record
        self._poked = False
        alarms = self.mailbox.remove_alarms()
        if self.state is not State.STARTING:
            reloads = self.state is State.FAILED and self._falling_back.held.released
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
        self._falling_back.settle(instance)
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
        if ended is Ended.CALLED_OFF:
            self.mailbox.put_back(alarms)
        await self._ended(ended, instance)

    def _ask_first(self) -> None:
        """D9: what was let in while another version ran, or before anyone knew, is not delivered: whoever waits asks
        the auth hook, and comes again."""
        for entry in self.mailbox.remove_unchecked():
            entry.fail(UNCHECKED)
            if entry.kind is Kind.OPENED:
                assert entry.line is not None
                self.lines.close(entry.line)
                self.mailbox.remove_line(entry.line)
                self._services.metrics.count("socket_closes", "actor.restarted")
                self._services.gateway.close(entry.line, 1012, "actor.restarted")

    async def _make_instance(self, image: ActorImage, began: float) -> Instance:
        record = image.record
        definition = await self._services.definitions.for_actor(record)
        limits = self.limits = limits_with(dict(definition.limits), self._services.limits)

        def running(reply: StartReply) -> None:
            self._take(Step.STARTED)
            self._falling_back.held.written()
            self._wake_timeout.done()
            self._poked = False
            self.reply = reply
            self._retry.started()
            self._reason = "wake"
            self._services.metrics.observe("wake", self._clock.monotonic() - began)
            self._waiters.done(reply)
            if not reply.request:
                for entry in self.mailbox.remove_kind(Kind.REQUEST):
                    entry.fail(no_requests().info)
            if reply.auth:
                self._ask_first()
            else:
                # There is nobody to ask any more: whoever asks finds out how this version wants it.
                for entry in self.mailbox.remove_kind(Kind.AUTH):
                    entry.fail(UNCHECKED)

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


def no_requests() -> CallerError:
    return CallerError("actor", "method_not_allowed", "this actor does not serve HTTP requests (it has no onRequest)")
