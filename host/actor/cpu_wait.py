"""The wait of a start for CPU time of its tenant, which may be long: who asked for an answer does not wait as long.

An action or a request that has waited for `limits.wake_timeout` is answered with the limit that its tenant is over.
Messages and alarms wait on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from host.actor.mailbox import Mailbox
from host.actor.services import Services
from host.model.clock import TimerHandle
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["CpuWait"]


class CpuWait:
    """`look` at the beginning and whenever something was posted; `signal` asks for another look."""

    def __init__(
        self, actor_id: str, tenant: str, services: Services, mailbox: Mailbox, signal: Callable[[], None]
    ) -> None:
        self._tenant = tenant
        self._tenants = services.tenants
        self._clock = services.clock
        self._metrics = services.metrics
        self._seconds = services.limits.wake_timeout / 1_000
        self._mailbox = mailbox
        self._signal = signal
        # (until when, of which everything up to this place waits): the mailbox is not searched for each post.
        self._marks: deque[tuple[float, int]] = deque()
        self._seen = -1
        self._timer: TimerHandle | None = None
        self._log = get_logger("actor").bind(actor_id=actor_id, tenant=tenant)

    def look(self) -> None:
        now = self._clock.monotonic()
        last = self._mailbox.last
        if last > self._seen:
            self._seen = last
            self._marks.append((now + self._seconds, last))
        late: int | None = None
        while self._marks and self._marks[0][0] <= now:
            late = self._marks.popleft()[1]
        if late is not None:
            self._refuse(late)
        if self._marks and self._timer is None:
            self._timer = self._clock.timer(self._marks[0][0], self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._signal()

    def _refuse(self, last: int) -> None:
        waiting = self._mailbox.remove_answered(last)
        if not waiting:
            return
        error = self._tenants.late_for_cpu(self._tenant)
        note_limit(self._metrics, error)
        self._metrics.count("events_refused", error.name, len(waiting))
        self._log.info("events refused", reason=error.name, limit=error.limit, events=len(waiting))
        for entry in waiting:
            entry.fail(error.info)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
