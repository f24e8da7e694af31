"""What becomes of an actor whose life is over: it sleeps, starts anew, goes back to another version, or tries later."""

from __future__ import annotations

from host.actor.destroying import GRACE_OVER
from host.actor.failed_start import FailedStart
from host.actor.failures import ABORTED
from host.actor.instance import Ended, Instance
from host.actor.lifecycle import State, Step
from host.actor.standing import Standing
from host.actor.waiters import Waiters
from host.model.errors import ErrorInfo, UnavailableError
from host.storage.driver import CommitUnknown, Fenced

__all__ = ["Endings"]


class Endings(Standing):
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
            self._leave_alarms(instance)
        elif ended is Ended.CALLED_OFF:
            self._take(Step.LOST)
            self._leave_alarms(instance)
        else:
            self._take(Step.LOST)
            self._fenced()
        if self.state is not State.STOPPING:
            self._wake_stopped()

    def _leave_alarms(self, instance: Instance) -> None:
        """The alarm clock left them to the instance, which can fire them no more."""
        if instance.ledger.alarms:
            self._services.wake.wake_at_changed(self.actor_id, instance.ledger.wake_at())

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
        record = self._record
        if record is None or self._evicted:
            return False
        found = await self._falling_back.instead_of(record, instance)
        if self._is_destroyed():
            return True
        if found is None:
            return False
        self._take(Step.FALL_BACK)
        self._falling_back.goes_back(instance, found)
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
        failed = FailedStart.of(record, error, self._services.jitter(), lived)
        now = self._clock.now_ms()
        self._take(Step.START_FAILED if lived is None else Step.GIVE_UP)
        self._services.metrics.count("start_failures", error.name)
        # An alarm that is due waits for the next attempt like any other cause.
        self._services.wake.wake_at_changed(self.actor_id, wake_at)
        self._falling_back.held.written()
        self._retry.after(failed.delay / 1_000, failed.shown)
        unit = failed.unit(epoch=self._epoch, hop_seq=hop_seq, claims=claims, wake_at=wake_at, now=now)
        told = self._retry.error(failed.delay / 1_000)
        # Who waits for the start looks at the row next; who comes while it is written waits for the next start.
        waiters, self._waiters = self._waiters, Waiters()
        self._refuse(told)
        try:
            await self._services.storage.commit(unit)
        except (Fenced, UnavailableError) as failure:
            self._log.warning("failed start not recorded", error=str(failure))
        except CommitUnknown as failure:
            self._services.fatal(failure)
        finally:
            waiters.fail(told)

    def _fenced(self) -> None:
        """Looks again: the actor may be gone, or another start may own it."""
        self._poked = True
        times, delay = self._retry.fenced()
        if delay:
            self._log.warning("actor fenced again", times=times, delay_ms=delay)
