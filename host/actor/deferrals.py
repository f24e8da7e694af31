"""What an instance waits for: deferred calls that have not completed, and completions that are to be delivered.

A deferred call belongs to the event in whose turn it was made: an event with one is not stuck, and a fault in the turn
of a completion is charged to it. During a hop this belongs to its thread, but that completions may arrive meanwhile.
"""

from __future__ import annotations

from collections import deque

from msgspec import UNSET, Raw

from host.actor.entries import Entry
from host.actor.turns import Completion, HopResult
from host.bridge.envelopes import CallError, CompletionEvent
from host.bridge.session import HostCalls
from host.model.effects import TurnEffects

__all__ = ["Deferrals", "completion_event"]


class Deferrals:
    def __init__(self, calls: HostCalls) -> None:
        self._calls = calls
        self._owners: dict[int, Entry | None] = {}
        self._completions: deque[Completion] = deque()

    @property
    def waiting(self) -> bool:
        """A completion is to be delivered."""
        return bool(self._completions)

    @property
    def outstanding(self) -> int:
        """Calls to other actors and to the outside whose answers the guest has not got."""
        return self._calls.outstanding

    def owner_of(self, call: int) -> Entry | None:
        return self._owners.get(call)

    def complete(self, completion: Completion) -> None:
        """An answer has come; of the event loop."""
        self._completions.append(completion)

    def begin(self, entry: Entry | None, effects: TurnEffects) -> None:
        """A turn of this event has ended well."""
        for call in (*effects.timers, *effects.deferred):
            self._owners[call.call] = entry
            if entry is not None:
                entry.calls += 1
        for cancelled in effects.cancelled:
            self.forget(cancelled)

    def forget(self, call: int) -> None:
        """Nobody waits for it any more, or its completion is delivered now."""
        owner = self._owners.pop(call, None)
        if owner is not None:
            owner.calls -= 1

    def take(self, result: HopResult) -> Completion | None:
        """The next completion that somebody waits for."""
        while self._completions:
            done = self._completions.popleft()
            if done.outcome is None:
                self._calls.timer_done(done.call)
            else:
                result.completed.append(done.call)
                if not self._calls.call_done(done.call):
                    continue
            self.forget(done.call)
            return done
        return None


def completion_event(event_id: int, done: Completion) -> CompletionEvent:
    outcome = done.outcome
    if outcome is None:
        return CompletionEvent(event_id, done.call)
    if outcome.error is not None:
        error = outcome.error
        metadata = UNSET if error.metadata is None else Raw(error.metadata)
        return CompletionEvent(event_id, done.call, error=CallError(error.group, error.code, error.message, metadata))
    return CompletionEvent(
        event_id, done.call, Raw(outcome.result), body=UNSET if outcome.body is None else outcome.body
    )
