"""Whether a life may begin: within the quotas of its tenant, and with room on the node.

An actor over a quota is parked: it has a place in the line of its tenant and no room on the node, and does nothing
until its turn has come. Then it asks for room, and only with both it goes on. Who waits for an answer meanwhile is
told at once; messages and alarms wait with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from host.actor.services import Services
from host.model.errors import DormiceError, ErrorInfo, UnavailableError
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["Admission", "Rooms"]


class Rooms(Protocol):
    """How many actors may be awake on the node."""

    def park(self, actor_id: str) -> None:
        """It waits for a quota: its room is somebody else's meanwhile."""
        ...

    def take_room(self, actor_id: str) -> None:
        """It is to start. `node/full` for one that was parked if there is no room: it looks again once there is."""
        ...


class Admission:
    """The actor's place in the line of its tenant; `notify` says that it has to look again."""

    def __init__(self, actor_id: str, services: Services, rooms: Rooms, notify: Callable[[], None]) -> None:
        self._actor_id = actor_id
        self._tenants = services.tenants
        self._metrics = services.metrics
        self._rooms = rooms
        self._notify = notify
        # In whose line it may have a place, or a start that is kept for it.
        self._tenant: str | None = None
        self._error: ErrorInfo | None = None
        self._log = get_logger("actor").bind(actor_id=actor_id)

    def signal(self) -> None:
        """CpuUser: a start is kept for it."""
        self._notify()

    def begin(self, tenant: str) -> ErrorInfo | None:
        """None if the life may begin: `end` follows. Else why not, counted and logged."""
        try:
            self._rooms.take_room(self._actor_id)
            self._tenants.begin_start(tenant, self)
        except DormiceError as error:
            self._error = error.info
            note_limit(self._metrics, error)
            self._metrics.count("starts_refused", error.name)
            self._log.info("start put off", error=error.name, message=error.message)
            return self._error
        self._tenant = self._error = None
        return None

    def end(self, tenant: str, *, again: bool) -> None:
        """The life is over; `again` if the next one begins at once."""
        if again:
            self._tenant = tenant
            self._tenants.end_start(tenant, self)
        else:
            self._tenants.end_start(tenant)

    def park(self, tenant: str) -> None:
        self._tenant = tenant
        self._tenants.wait_start(tenant, self)
        self._rooms.park(self._actor_id)

    @property
    def parked(self) -> bool:
        """It was refused, and has not begun since."""
        return self._tenant is not None and self._error is not None

    def refusal(self) -> ErrorInfo | None:
        """While it is parked: what those are told who do not wait, None when its turn has come."""
        assert self._tenant is not None
        if not self._tenants.may_start(self._tenant, self):
            return self._error
        try:
            self._rooms.take_room(self._actor_id)
        except UnavailableError as error:
            return error.info
        return None

    def leave(self) -> None:
        """Nothing is to start any more, or not so soon."""
        tenant, self._tenant = self._tenant, None
        self._error = None
        if tenant is not None:
            self._tenants.leave_start(tenant, self)
