"""The calls that one instance has outstanding: to other actors, and to the outside.

They start after the commit of the turn that asked (D1) and end with the instance: whatever is in work is cut off, and
an answer that comes all the same is dropped and counted (D6). What they hold in memory, the request and then the
answer, counts against the tenant until the guest has got the answer. Event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from structlog.typing import FilteringBoundLogger

from host.actor.entries import Entry
from host.actor.hop import HopRunner
from host.actor.turns import Completion
from host.model.calls import Caller, CallOutcome, DeferredCall, FetchCall
from host.model.definitions import EgressOptions
from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits
from host.model.ports import CallPort, Metrics, TenantPort
from host.model.records import ActorRecord
from host.model.tunnel import ActionCall
from host.telemetry.limit_hits import note_limit

__all__ = ["OutgoingCalls"]


class OutgoingCalls:
    def __init__(
        self,
        record: ActorRecord,
        egress: EgressOptions | None,
        limits: Limits,
        runner: HopRunner,
        port: CallPort,
        tenants: TenantPort,
        metrics: Metrics,
        log: FilteringBoundLogger,
        signal: Callable[[], None],
    ) -> None:
        self._record = record
        self._egress = egress
        self._limits = limits
        self._runner = runner
        self._port = port
        self._tenants = tenants
        self._metrics = metrics
        self._log = log
        self._signal = signal
        # How to cut off what is in work; the bytes that each call holds until its answer is delivered, and how many of
        # them are its answer's.
        self._running: dict[int, Callable[[], None]] = {}
        self._held: dict[int, int] = {}
        self._answers: dict[int, int] = {}

    def start(self, call: DeferredCall) -> None:
        """After the commit of its turn (D1)."""
        owner = self._runner.deferrals.owner_of(call.call)
        refused = self._begin(call)
        if refused is not None:
            note_limit(self._metrics, refused)
            self._complete(call.call, owner, CallOutcome(error=refused.info))
            return
        self._held[call.call] = call.size
        self._running[call.call] = self._port.start_call(
            self._caller(owner), call, partial(self._done, call.call, owner), partial(self._hold, call.call)
        )

    def _begin(self, call: DeferredCall) -> DormiceError | None:
        tenant = self._record.tenant
        refused = self._tenants.take_fetch(tenant) if isinstance(call, FetchCall) else None
        return refused if refused is not None else self._tenants.begin_call(tenant, call.size)

    def _hold(self, call: int, size: int) -> DormiceError | None:
        if call not in self._held:
            # It was cut off, and has not noticed yet.
            return CallerError("actor", "aborted", "nobody waits for this call any more")
        refused = self._tenants.grow_call(self._record.tenant, size)
        if refused is None:
            self._held[call] += size
            self._answers[call] = self._answers.get(call, 0) + size
        return refused

    def _caller(self, owner: Entry | None) -> Caller:
        """D9: who calls is known here, not by the guest. A call of a turn that another actor's call led to is one
        deeper than that."""
        record = self._record
        led = owner.payload if owner is not None and isinstance(owner.payload, ActionCall) else None
        return Caller(
            record.tenant,
            record.actor_id,
            record.name,
            record.key,
            1 if led is None else led.depth + 1,
            self._limits,
            self._egress,
            (record.actor_id,) if led is None else (*led.chain, record.actor_id),
        )

    def _done(self, call: int, owner: Entry | None, outcome: CallOutcome) -> None:
        if not self._takes(call):
            self._metrics.count("completions_dropped", "late")
            self._log.info("completion dropped", reason="late", call=call)
            return
        refused = self._hold(call, max(0, outcome.size - self._answers.get(call, 0)))
        if refused is not None:
            note_limit(self._metrics, refused)
            outcome = CallOutcome(error=refused.info)
        self._complete(call, owner, outcome)

    def _takes(self, call: int) -> bool:
        """D6: not when the instance is gone, or the guest gave the call up."""
        return self._running.pop(call, None) is not None

    def _complete(self, call: int, owner: Entry | None, outcome: CallOutcome) -> None:
        self._runner.deferrals.complete(Completion(call, owner, outcome))
        self._signal()

    def delivered(self, calls: Iterable[int]) -> None:
        """Their answers are with the guest."""
        for call in calls:
            self._let_go(call)

    def cancel(self, call: int) -> None:
        """The guest gave it up, in a turn that is committed. If its answer is here already, that is not delivered."""
        cut = self._running.pop(call, None)
        if cut is not None:
            self._metrics.count("calls_cancelled", "given_up")
            cut()
            self._let_go(call)

    def close(self) -> None:
        """The isolate goes (D6)."""
        running, self._running = self._running, {}
        if running:
            self._metrics.count("calls_cancelled", "isolate_gone", len(running))
            self._log.info("calls cut off", calls=len(running))
        for cut in running.values():
            cut()
        for call in list(self._held):
            self._let_go(call)

    def _let_go(self, call: int) -> None:
        self._answers.pop(call, None)
        size = self._held.pop(call, None)
        if size is not None:
            self._tenants.end_call(self._record.tenant, size)
