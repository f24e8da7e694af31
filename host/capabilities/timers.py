"""Timers: deferred calls that complete after a delay. They are never durable, and a start has a bounded number.

The completion comes after the commit of the turn that asked; `done` is how the actor says that it came or will not.
"""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.model.effects import DeferredTimer
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits

__all__ = ["MAX_DELAY", "CallIds", "Timers"]

MAX_DELAY = 2**31 - 1


class CallIds:
    """Of the deferred calls of one start: they rise and are never used again in it."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 1

    def take(self) -> int:
        self.next += 1
        return self.next - 1


class Timers:
    """Those of one start."""

    __slots__ = ("_allowed", "_ids", "_outstanding", "_shared")

    def __init__(self, ids: CallIds | None = None) -> None:
        self._ids = CallIds() if ids is None else ids
        self._outstanding: set[int] = set()
        self._shared = 0
        self._allowed: int | None = None

    def __len__(self) -> int:
        return len(self._outstanding)

    def share(self, used: int, allowed: int) -> None:
        """Of all of its tenant's timers so many are outstanding as a hop begins, and so many may be."""
        self._shared, self._allowed = used, allowed

    def start(self, recorder: TurnRecorder, limits: Limits, after: int) -> int:
        if not 0 <= after <= MAX_DELAY:
            raise CallerError("request", "invalid", f"the delay of a timer is 0 to {MAX_DELAY} ms; use an alarm")
        if len(self._outstanding) >= limits.timers:
            raise limit_error("timers", len(self._outstanding) + 1, limits.timers, "wait for timers to complete")
        if self._allowed is not None and self._shared >= self._allowed:
            raise limit_error("tenant_timers", self._shared + 1, self._allowed, "wait for timers to complete")
        self._shared += 1
        call = self._ids.take()
        self._outstanding.add(call)
        recorder.timers.append(DeferredTimer(call, after))
        return call

    def cancel(self, recorder: TurnRecorder, call: int) -> bool:
        """Whether it was outstanding. One that this same turn asked for has not begun, and never does."""
        if call not in self._outstanding:
            return False
        self._outstanding.remove(call)
        self._shared -= 1
        for at, timer in enumerate(recorder.timers):
            if timer.call == call:
                del recorder.timers[at]
                return True
        recorder.ended_timers.append(call)
        return True

    def done(self, call: int) -> None:
        self._outstanding.discard(call)
