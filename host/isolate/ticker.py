"""The heartbeat by which guests are stopped: one thread per engine, a tick every 10 ms.

A tick raises wasmtime's epoch (which traps a guest that is past its deadline) and `ticks` (which `interrupted`
compares, so that an interpreter can stop by itself a little earlier). With a monotonic clock the ticker catches up
after it was kept from running, but never by more than two ticks at once: a process that was stopped for a minute must
not find all its guests dead, and the time between the soft and the hard stop must not vanish.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["TICK_MS", "Ticker", "ticks_for"]

TICK_MS = 10
_MAX_STEP = 3


def ticks_for(milliseconds: int) -> int:
    """Whole ticks that cover the time; at least one."""
    return max(1, -(-milliseconds // TICK_MS))


class Ticker:
    """Calls `beat` on a thread of its own until stopped. `ticks` may be read from any thread."""

    __slots__ = ("_beat", "_monotonic", "_stop", "_thread", "stopped", "ticks")

    def __init__(self, beat: Callable[[], None], monotonic: Callable[[], float] | None = None) -> None:
        self.ticks = 0
        self.stopped = False
        self._beat = beat
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dormice-ticker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        wait, seconds, monotonic = self._stop.wait, TICK_MS / 1000, self._monotonic
        last = monotonic() if monotonic else 0.0
        owed = 0.0
        while not wait(seconds) and not self.stopped:
            step = 1
            if monotonic:
                now = monotonic()
                owed += (now - last) / seconds
                last = now
                step = max(1, int(owed))
                owed = max(0.0, owed - step)
                if step > _MAX_STEP:
                    step, owed = _MAX_STEP, 0.0
            for _ in range(step):
                self.ticks += 1
                self._beat()

    def abandon(self) -> None:
        """The thread ends by itself, within a tick. Takes no lock and waits for nothing, so a garbage collection may
        call it on any thread at any moment, on the ticker's own in the middle of its wait too."""
        self.stopped = True

    def stop(self) -> None:
        """Ends the thread and waits for it; safe to call twice."""
        self.stopped = True
        self._stop.set()
        self._thread.join()
