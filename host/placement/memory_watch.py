"""Puts actors to sleep before the machine swaps: those that do nothing, the least recently used first.

An actor that sleeps costs no memory and keeps its sockets, so this is the cheapest way to make room; what is busy is
left alone. A few at a time, with a look in between: memory comes back as isolates close.
"""

from __future__ import annotations

from collections.abc import Callable

from host.model.clock import Clock
from host.model.ports import Metrics
from host.placement.directory import Directory
from host.placement.memory_probe import MemoryReading
from host.placement.reserve import Reserve
from host.telemetry.logging import get_logger

__all__ = ["MemoryWatch"]

PERIOD = 1.0
# While memory is short it is looked at more often.
SHORT_PERIOD = 0.25
BATCH = 100

log = get_logger("memory")


class MemoryWatch:
    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        metrics: Metrics,
        probe: Callable[[], MemoryReading | None],
        reserve: Reserve,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._metrics = metrics
        self._probe = probe
        self._reserve = reserve
        self.short = False

    async def run(self) -> None:
        """Until cancelled; at once over if there is nothing to keep."""
        while self._reserve.of(100):
            await self._clock.sleep_until(self._clock.monotonic() + (SHORT_PERIOD if self.short else PERIOD))
            self.look()

    def look(self) -> int:
        """How many actors are being put to sleep now."""
        reading = self._probe()
        if reading is None:
            return 0
        self._metrics.gauge("memory_available_bytes", reading.available)
        reserve = self._reserve.of(reading.total)
        before, self.short = self.short, reading.available < reserve
        if not self.short:
            if before:
                log.info("memory is enough again", available=reading.available, reserve=reserve)
            return 0
        evicted = self._directory.evict_idle(BATCH, "memory")
        if not before:
            self._metrics.count("memory_short", "memory_reserve")
            log.warning(
                "memory is short, idle actors are put to sleep",
                available=reading.available,
                reserve=reserve,
                evicted=evicted,
            )
        return evicted
