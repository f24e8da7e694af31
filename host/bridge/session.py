"""The host calls of one start of an actor: what an isolate talks to while a guest is on the stack.

One object per start. A hop is `begin_hop`, then for each turn `begin_turn`, the entry into the guest, `end_turn`.
Nothing raises into the guest but a `GuestFault`, which ends it; everything else that goes wrong is an answer or a
negative number. All of it runs on the hop's thread.
"""

from __future__ import annotations

from typing import Any

from host.bridge.budget import OVER_BUDGET, Budget, budget_fault
from host.bridge.codec import Codec, MalformedCall, call_error
from host.bridge.envelopes import Call
from host.bridge.grants import CALL_NAMES, granted_calls
from host.bridge.host_calls import TurnContext
from host.capabilities.random import RandomStream
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.definitions import Manifest
from host.model.effects import TurnEffects
from host.model.errors import CallerError, DormiceError, InternalError, UnavailableError
from host.model.failpoints import AFTER_CALL, OFF, FailPoints
from host.model.limits import Limits
from host.model.ports import StateReader

__all__ = ["MALFORMED", "NOT_GRANTED", "HostCalls"]

MALFORMED = -1
NOT_GRANTED = -2


class HostCalls:
    """Implements the isolate's `TurnHost`."""

    __slots__ = ("_budget", "_codec", "_context", "_granted", "_in_turn", "failpoints", "now_ms", "state")

    def __init__(
        self,
        codec: Codec,
        state: ActorState,
        reader: StateReader,
        limits: Limits,
        manifest: Manifest,
        random: RandomStream,
        failpoints: FailPoints = OFF,
    ) -> None:
        state.kv.bind(reader)
        self.state = state
        self.failpoints = failpoints
        self.now_ms = 0
        self._codec = codec
        self._context = TurnContext(state, limits, random)
        self._granted = granted_calls(manifest)
        self._budget = Budget(limits)
        self._in_turn = False

    # --- the actor's side -------------------------------------------------------------------------------------------

    def begin_hop(self) -> None:
        """The hop before must be durable: its overlay has become part of the cache (`ActorState.committed`)."""
        if self.state.kv.dirty:
            raise InternalError("a hop began while the writes of the one before were not committed")

    def begin_turn(self, now_ms: int, *, of_alarm: bool = False) -> None:
        """`of_alarm`: its event is an alarm, or what a handler of one has started."""
        context = self._context
        context.of_alarm = of_alarm
        context.recorder = TurnRecorder()
        context.now_ms = now_ms
        context.log.begin_turn(now_ms)
        self._budget.begin_turn()
        self.now_ms = now_ms
        self._in_turn = True

    def end_turn(self) -> TurnEffects:
        """What the turn recorded; raises `guest/budget` if its state or its effects are over a limit."""
        if not self._in_turn:
            raise InternalError("a turn ended that had not begun")
        self._in_turn = False
        recorder, limits = self._context.recorder, self._context.limits
        if recorder.over_state is not None:
            raise budget_fault("state", recorder.over_state, limits.state, "keep what grows in KV")
        effects = recorder.effects()
        if effects.size > limits.effects:
            raise budget_fault("effects", effects.size, limits.effects, "write and send less in one turn")
        return effects

    def last_words(self) -> TurnEffects:
        """After a turn that ended in a fault: what the guest logged in it, and nothing else of what it did."""
        self._in_turn = False
        recorder = self._context.recorder
        return TurnEffects(
            logs=tuple(recorder.logs),
            logs_dropped=recorder.logs_dropped,
            logs_told=recorder.logs_told,
            refused=recorder.refused,
        )

    def share_timers(self, used: int, allowed: int) -> None:
        """Before a hop: how many timers the tenant has, and may have."""
        self._context.timers.share(used, allowed)

    def timer_done(self, call: int) -> None:
        """The completion of this timer has been delivered, or never will be."""
        self._context.timers.done(call)

    def call_done(self, call: int) -> bool:
        """The completion of this call is delivered now; False if nobody waits for it: then it is not."""
        return self._context.calls.done(call)

    @property
    def outstanding(self) -> int:
        """Calls to other actors and to the outside that have not completed, those of the running hop included."""
        return len(self._context.calls)

    @property
    def next_call(self) -> int:
        """The id that the next deferred call will get."""
        return self._context.ids.next

    @property
    def calls(self) -> int:
        """Calls of the running turn so far, all imports counted."""
        return self._budget.calls

    # --- the side of a static actor ---------------------------------------------------------------------------------

    def perform(self, call: Call) -> Any:
        """A host call by code that is trusted: no envelope, no budget, the same effects. Returns what a guest would be
        answered, and raises the `DormiceError` that a guest would be answered."""
        run = self._granted.get(type(call))
        if run is None or not self._in_turn:
            raise CallerError("module", "not_in_turn", "host calls can be made in a turn only")
        try:
            answer = run(self._context, call)
        except (CallerError, UnavailableError) as error:
            self._refused(error)
            raise
        if self.failpoints.on:
            self.failpoints.hit(AFTER_CALL[str(type(call).__struct_config__.tag)])
        return answer

    # --- the guest's side -------------------------------------------------------------------------------------------

    def host_call(self, req: bytes) -> bytes | int:
        over = self._budget.call(len(req))
        if over:
            return self._told(over)
        try:
            call = self._codec.decode_call(req)
        except MalformedCall as error:
            # A call that a later ABI knows is one that is not granted here: a guest can tell and do without it.
            return MALFORMED if error.call is None or error.call in CALL_NAMES else NOT_GRANTED
        run = self._granted.get(type(call))
        if run is None or not self._in_turn:
            return NOT_GRANTED
        try:
            reply = self._codec.encode_ok(run(self._context, call))
        except (CallerError, UnavailableError) as error:
            self._refused(error)
            reply = self._codec.encode_error(call_error(error))
        if self.failpoints.on:
            self.failpoints.hit(AFTER_CALL[str(type(call).__struct_config__.tag)])
        over = self._budget.reply(len(reply))
        return self._told(over) if over else reply

    def _refused(self, error: DormiceError) -> None:
        """A call that a limit refused is part of what the turn tells (D10)."""
        if error.limit is not None:
            refused = self._context.recorder.refused
            refused[error.limit] = refused.get(error.limit, 0) + 1

    def charge(self) -> int:
        return 1 if self._told(self._budget.call()) else 0

    def _told(self, number: int) -> int:
        """That the guest is told that its budget is used up counts as a refusal."""
        if number == OVER_BUDGET:
            refused, budget = self._context.recorder.refused, self._budget
            limit = "host_calls" if budget.calls > budget.max_calls else "host_call_bytes"
            refused[limit] = refused.get(limit, 0) + 1
        return number

    def random(self, n: int) -> bytes:
        return self._context.random.read(n)

    def guest_log(self, level: str, text: str) -> None:
        if self._in_turn:
            self._context.log.log(self._context.recorder, self._context.limits, level, text)
