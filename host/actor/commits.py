"""Commits of one instance: a unit is on disk when `write` returns None, and else it is known how the life ends.

An instance whose commit failed is never entered again: its memory is ahead of the disk.
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from host.actor.ended import Ended, Lost
from host.actor.services import Services
from host.model.effects import CommitUnit
from host.model.errors import DormiceError, UnavailableError
from host.model.failpoints import FailPoint
from host.storage.driver import CommitUnknown, Fenced

__all__ = ["Commits"]


class Commits:
    def __init__(self, services: Services, log: FilteringBoundLogger) -> None:
        self._services = services
        self._metrics = services.metrics
        self._clock = services.clock
        self._log = log

    async def write(self, unit: CommitUnit | None) -> Lost | None:
        """Nothing to write is written at once."""
        if unit is None:
            return None
        began = self._clock.monotonic()
        failpoints = self._services.failpoints
        if failpoints.on:
            failpoints.hit(FailPoint.BEFORE_COMMIT)
        try:
            await self._services.storage.commit(unit)
        except Fenced:
            self._metrics.count("commits_refused", "fenced")
            self._log.warning("commit fenced", epoch=unit.epoch, hop_seq=unit.hop_seq)
            return Lost(Ended.FENCED)
        except UnavailableError as error:
            self._metrics.count("commits_refused", error.name)
            self._log.warning("commit failed", error=error.name, message=error.message)
            return Lost(Ended.UNAVAILABLE, error.info)
        except CommitUnknown as error:
            self._services.fatal(error)
            return Lost(Ended.UNAVAILABLE)
        except DormiceError as error:
            self._metrics.count("commits_refused", error.name)
            self._log.error("commit impossible", error=error.name, message=error.message, detail=error.detail)
            return Lost(Ended.UNAVAILABLE, error.info)
        if failpoints.on:
            failpoints.hit(FailPoint.AFTER_COMMIT)
        self._metrics.observe("commit", self._clock.monotonic() - began)
        if unit.dead_letters_dropped:
            self._metrics.count("dead_letters_dropped", "dead_letters", unit.dead_letters_dropped)
            self._log.warning("dead letters dropped", reason="dead_letters", dropped=unit.dead_letters_dropped)
        if unit.claims or unit.alarms or unit.alarms_gone:
            self._services.wake.wake_at_changed(unit.actor_id, unit.wake_at)
        return None
