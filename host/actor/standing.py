"""What an actor is on this node between and during its lives, and what each part of it may do to that.

The parts are the admission of a life (`admitting.py`), what becomes of one that is over (`endings.py`), and the actor
itself, with the causes that wake it and its task (`actor.py`). Everything belongs to the event loop.
"""

from __future__ import annotations

import anyio

from host.actor.admission import Admission, Rooms
from host.actor.destroying import Destroying
from host.actor.falling_back import FallingBack
from host.actor.instance import Instance
from host.actor.lifecycle import State, Step, step
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.recent_faults import RecentFaults
from host.actor.retry import Retry
from host.actor.services import Services
from host.actor.waiters import Sleepers, Waiters
from host.actor.wake_timeout import WakeTimeout
from host.bridge.envelopes import StartReason, StartReply
from host.model.errors import CallerError, ErrorInfo, no_such_actor
from host.model.limits import Limits
from host.model.records import ActorRecord
from host.telemetry.logging import get_logger

__all__ = ["Standing", "not_found"]


def not_found(actor_id: str) -> CallerError:
    return no_such_actor(actor_id)


class Standing:
    def __init__(self, actor_id: str, services: Services, rooms: Rooms) -> None:
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
        self._wake_timeout = WakeTimeout(actor_id, services, self.mailbox, self.lines)
        self._instance: Instance | None = None
        self._record: ActorRecord | None = None
        self._epoch = 0
        self._signal = anyio.Event()
        self._poked = False
        self._evicted = False
        self._sleep_asked = False
        self._reason: StartReason = "wake"
        # It is to start again as soon as it has stopped: for another version, or for a reload.
        self._again = False
        self._destroying: Destroying | None = None
        self._falling_back = FallingBack(actor_id, services)
        self._retry = Retry(services.clock, services.jitter)
        self._admission = Admission(actor_id, services, rooms, self._notify)
        self._faults = RecentFaults()
        self._waiters = Waiters()
        self._sleepers = Sleepers()
        self._log = get_logger("actor").bind(actor_id=actor_id)

    def _notify(self) -> None:
        if self._instance is not None:
            self._instance.signal()
        else:  # it may be waiting for its time or its turn
            self._signal.set()

    def _has_cause(self) -> bool:
        if self.state is State.DESTROYED:
            return False
        if self._destroying is not None:
            return True
        if self._evicted:
            return False
        return bool(self._poked or self._waiters or not self.mailbox.empty)

    def _refuse(self, error: ErrorInfo) -> int:
        """How many events were refused."""
        answered = self.mailbox.remove_answered()
        for entry in answered:
            entry.fail(error)
        self._waiters.fail(error)
        return len(answered)

    def _refuse_all(self) -> None:
        """D10: what waits for an actor that is destroyed is counted, and told so."""
        waiting = self.mailbox.remove_all()
        if waiting:
            self._services.metrics.count("events_refused", "actor.destroyed", len(waiting))
            self._log.info("events refused", reason="actor.destroyed", events=len(waiting))
        gone = not_found(self.actor_id).info
        for entry in waiting:
            entry.fail(gone)

    def _storage_failed(self, error: ErrorInfo) -> None:
        """Storage does not answer: whoever waits for an answer is told, the rest is tried again, ever more rarely."""
        self._retry.storage_failed(error)
        self._refuse(error)

    def _take(self, taken: Step) -> None:
        before, self.state = self.state, step(self.state, taken)
        self._log.debug("lifecycle", before=before.value, after=self.state.value, step=taken.value)

    def _is_destroyed(self) -> bool:
        """Asked after every await: a destroy may have come in between."""
        return self.state is State.DESTROYED

    def _wake_stopped(self) -> None:
        self._sleep_asked = False
        self._sleepers.done()
