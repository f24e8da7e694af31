"""The results of turns and hops, as plain data on their way from the executor thread to the event loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from host.actor.entries import Entry
from host.bridge.envelopes import StartReply
from host.model.calls import CallOutcome
from host.model.effects import CommitUnit, Output, SendFrame, TurnEffects
from host.model.errors import ErrorInfo, GuestFault
from host.model.tunnel import ActionReply, AuthReply, HttpReply

__all__ = ["Completion", "HopResult", "Settlement", "TurnRecord"]


class Completion(Struct, frozen=True):
    """The answer to a deferred call; `owner` is the event in whose turn the call was made. A timer has no outcome."""

    call: int
    owner: Entry | None
    outcome: CallOutcome | None = None


class Settlement(Struct, frozen=True):
    """One event that has settled. `error` is what the guest raised; `reply` is set for actions and requests, `start`
    for a start that settled with a result. `frames` are what the client of a /connect connection is told of it, once it
    has been entered. `detail` is for the log only. `given_up` is an alarm that faulted too often: its failures are on
    record."""

    entry: Entry
    error: ErrorInfo | None = None
    reply: ActionReply | HttpReply | AuthReply | None = None
    start: StartReply | None = None
    detail: str | None = None
    frames: tuple[Output, ...] = ()
    given_up: bool = False


class TurnRecord(Struct, frozen=True):
    """One turn that ended well. `entry` is the new event of it, or the owner of the completion it was for."""

    entry: Entry | None
    effects: TurnEffects
    settled: tuple[Settlement, ...]

    @property
    def size(self) -> int:
        """Raw bytes that wait in memory for its commit."""
        frames = (frame for one in self.settled for frame in one.frames if isinstance(frame, SendFrame))
        return self.effects.size + sum(len(frame.data) for frame in frames)


@dataclass(slots=True)
class HopResult:
    """What one hop did: the turns that ended well, perhaps a fault after them, and the unit to commit (None if nothing
    durable changed). `started` lists the entries whose delivery began in it, `completed` the calls whose answer is with
    the guest, or was dropped because nobody waits for it; `last_words` is what the guest logged in the turn that
    faulted: it has to be seen why, whatever becomes of the hop."""

    turns: list[TurnRecord] = field(default_factory=list)
    started: list[Entry] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)
    fault: GuestFault | None = None
    faulted: Entry | None = None
    last_words: TurnEffects = field(default_factory=TurnEffects)
    unit: CommitUnit | None = None
    busy_ms: float = 0.0
