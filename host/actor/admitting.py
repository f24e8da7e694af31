"""The admission of a life: what the actor's row says of its last start, the quotas of its tenant, and room on the node.

Who has to wait costs nothing meanwhile. Those who asked for an answer are told at once; what can wait makes one attempt
together when the time, or the turn, has come.
"""

from __future__ import annotations

import anyio

from host.actor.lifecycle import State, Step
from host.actor.standing import Standing
from host.model.errors import DormiceError, ErrorInfo
from host.model.records import ActorImage, ActorRecord

__all__ = ["Admitting"]


class Admitting(Standing):
    async def _life(self, image: ActorImage, began: float) -> None:
        """What is admitted."""
        raise NotImplementedError

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
        try:
            await self._services.tenants.load(record.tenant)
        except DormiceError as error:
            self._storage_failed(error.info)
            return
        if self._is_destroyed():
            return
        refused = self._admission.begin(record.tenant)
        if refused is not None:
            self._put_off(record.tenant, refused)
            return
        again = False
        try:
            image = image or await self._hydrated()
            if image is not None:
                await self._life(image, began)
            again = self._has_cause() and self._retry.at is None
        finally:
            self._admission.end(record.tenant, again=again)

    async def _sit_out(self) -> bool:
        """Waits until it may be tried again, or until its turn has come: requests get the error at once, what can wait
        makes one attempt together then. False when nothing waits any more."""
        if self._retry.at is not None:
            # It waits for a time of its own: others may go first.
            self._admission.leave()
        while (error := self._waits_for()) is not None:
            refused = self._refuse(error)
            if refused and self._admission.parked:
                self._services.metrics.count("events_refused", error.name, refused)
                self._log.info("events refused", reason=error.name, events=refused)
            if not self._has_cause():
                return False
            self._signal = anyio.Event()
            timer = None if self._retry.at is None else self._clock.timer(self._retry.at, self._signal.set)
            try:
                await self._signal.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return self._has_cause()

    def _waits_for(self) -> ErrorInfo | None:
        return self._admission.refusal() if self._admission.parked else self._retry.refusal()

    def _put_off(self, tenant: str, error: ErrorInfo) -> None:
        """The tenant has reached a quota: whoever waits for an answer is told, the rest waits for its turn."""
        if self.state is State.STARTING:
            self._take(Step.LOST)
        self._retry.now()
        self._refuse(error)
        if self._has_cause():
            self._admission.park(tenant)

    async def _hydrated(self) -> ActorImage | None:
        """None if there is nothing to start now; why not is dealt with."""
        last = self._destroying is not None
        self._falling_back.reads()
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
        awaits = self.state is State.ABSENT and not self._falling_back.held.released and self._destroying is None
        if awaits and self._failed_before(image.record):
            return None
        return image

    def _failed_before(self, record: ActorRecord) -> bool:
        """A failure that is on record and whose time has not come keeps a fresh task waiting too."""
        if record.lifecycle != "failed" or record.retry_at is None:
            return False
        left = (record.retry_at - self._clock.now_ms()) / 1_000
        if left <= 0:
            return False
        self._take(Step.RECALL)
        self._retry.after(left, record.last_error)
        return True

    def _gone(self) -> None:
        self.state = State.DESTROYED
        for opened in self._services.gateway.connections_of(self.actor_id):
            self._services.metrics.count("socket_closes", "actor.destroyed")
            self._services.gateway.close(opened.conn_id, 1000, "actor.destroyed")
