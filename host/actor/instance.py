"""A dynamic instance: one actor awake, from its start event to the end of its isolate.

It owns an isolate, the hydrated state and the ledger, and runs hop after hop: take in, run on an executor thread,
commit, release. It ends in one of the ways of `Ended`; what is to happen then is the actor's business (`actor.py`).
Nothing here survives the isolate but the mailbox and the lines, which belong to the actor.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from functools import partial

import anyio
from msgspec import UNSET, Raw

from host.actor.charges import Charges, Charging
from host.actor.deadlines import Deadlines, GuestTimers
from host.actor.due_alarms import DueAlarms
from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED, failed
from host.actor.hop import HopRunner
from host.actor.intake import Intake
from host.actor.isolates import Awake, wake_isolate
from host.actor.ledger import Ledger
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.reconcile import rebind, reconcile
from host.actor.release import Release
from host.actor.services import Services
from host.actor.turns import HopResult, Settlement
from host.bridge.envelopes import StartEvent, StartReason, StartReply, StopEvent, StopReason
from host.model.clock import TimerHandle
from host.model.definitions import Definition
from host.model.effects import ActorChange, CommitUnit
from host.model.errors import DormiceError, ErrorInfo, UnavailableError
from host.model.limits import Limits
from host.model.records import ActorImage, AlarmRow
from host.model.tunnel import SocketClosed
from host.storage.driver import CommitUnknown, Fenced
from host.telemetry.logging import get_logger

__all__ = ["DynamicInstance", "Ended"]

POISON = "actor.poison_message"


class Ended(Enum):
    """How the life of an instance ended."""

    ASLEEP = auto()
    FAULT = auto()
    START_FAILED = auto()
    FENCED = auto()
    UNAVAILABLE = auto()
    DESTROYED = auto()


class DynamicInstance:
    def __init__(
        self,
        services: Services,
        image: ActorImage,
        definition: Definition,
        limits: Limits,
        *,
        epoch: int,
        reason: StartReason,
        mailbox: Mailbox,
        lines: Lines,
        on_running: Callable[[StartReply], None],
        on_stopping: Callable[[], None],
    ) -> None:
        self._services = services
        self._definition = definition
        self._limits = limits
        self._reason: StartReason = reason
        self._mailbox = mailbox
        self._lines = lines
        self._on_running = on_running
        self._on_stopping = on_stopping
        self._record = image.record
        self._image = image
        self._gateway = services.gateway
        self._clock = services.clock
        self._metrics = services.metrics
        self._log = get_logger("actor").bind(actor_id=image.record.actor_id, tenant=image.record.tenant)
        self.ledger = Ledger(image, epoch)
        self.error: ErrorInfo | None = None
        self.culprit: Entry | None = None
        self.reply: StartReply = StartReply()
        self._signal = anyio.Event()
        self._awake: Awake | None = None
        self._idle_timer: TimerHandle | None = None
        self._started = False
        self._started_at = image.record.started_at
        self._alarms = DueAlarms(self.ledger, mailbox, services.clock, self.signal)
        self._start_entry = Entry(Kind.START)
        self._stop_entry: Entry | None = None
        self._stop_reason: StopReason | None = None
        self._grace_until: float | None = None
        self._idle_until: float | None = None
        self._sleep_wanted = False
        self._last_activity = -1
        self._host_settled: list[Settlement] = []
        self._killed = False

    # --- what the actor may do to it -----------------------------------------------------------------------------

    def signal(self) -> None:
        """Something was posted, or a time has come."""
        self._signal.set()

    @property
    def hibernates(self) -> bool:
        """None of its connections keeps it awake."""
        return all(row.hibernatable for row in self.ledger.rows.values())

    def request_stop(self, reason: StopReason) -> None:
        """Sleep or eviction, as soon as the running hop is over."""
        if self._stop_reason is None:
            self._stop_reason = reason
        self.signal()

    def wake_for_alarms(self) -> None:
        """An alarm may be due."""
        self._alarms.fire()

    def kill(self) -> None:
        """The actor was destroyed: nothing more is delivered, committed or released."""
        self._killed = True
        self.signal()

    # --- the life ------------------------------------------------------------------------------------------------

    async def run(self) -> Ended:
        try:
            ended = await self._start()
            return ended if ended is not None else await self._serve()
        finally:
            self._alarms.close()
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            if self._awake is not None:
                self._timers.cancel()
                self._deadlines.cancel()
            if self._awake is not None:
                with anyio.CancelScope(shield=True):
                    await self._services.executor.run(self._record.tenant, self._awake.isolate.close)

    async def _start(self) -> Ended | None:
        deadline = self._clock.monotonic() + self._limits.start_timeout / 1_000
        try:
            with self._clock.fail_after(self._limits.start_timeout / 1_000):
                code = await self._services.modules.code_for(self._record.tenant, self._definition.module)
        except TimeoutError:
            return await self._start_failed(ErrorInfo("actor", "start_failed", "loading the module took too long"))
        except DormiceError as error:
            return await self._start_failed(error.info, error.detail)
        held = reconcile(self._record.actor_id, self.ledger, self._lines, self._mailbox, self._gateway, self._metrics)
        opening = {entry.line for entry in self._mailbox.waiting() if entry.kind is Kind.OPENED}
        try:
            with anyio.CancelScope(shield=True):
                self._awake = awake = await self._services.executor.run(
                    self._record.tenant,
                    partial(wake_isolate, code, self._image, self.ledger.epoch, self._limits, self._services),
                )
        except DormiceError as error:
            return await self._start_failed(error.info, error.detail)
        for conn in opening:
            if conn is not None:
                awake.state.remove_connection(conn)
        self._runner = HopRunner(
            isolate=awake.isolate,
            codec=awake.codec,
            calls=awake.calls,
            state=awake.state,
            ledger=self.ledger,
            mailbox=self._mailbox,
            clock=self._clock,
            limits=self._limits,
            jitter=self._services.jitter,
        )
        self._timers = GuestTimers(self._runner, self._clock, self.signal)
        self._deadlines = Deadlines(self._runner, self._clock, self.signal)
        self._charging = Charging(self.ledger, self._runner, self._mailbox, self._clock, self._limits)
        self._intake = Intake(
            self._mailbox, self._lines, self.ledger, self._gateway, self._metrics, self._close_by_host
        )
        self._release = Release(
            self._gateway,
            self._metrics,
            self.ledger,
            self._log,
            start_timer=self._timers.start,
            close=self._close_by_guest,
        )
        self._runner.urgent.append((self._start_entry, self._start_event(len(awake.state.connections))))
        timer = self._clock.timer(deadline, self.signal)
        try:
            while not self._started:
                if self._killed:
                    return Ended.DESTROYED
                if self._clock.monotonic() >= deadline:
                    return await self._start_failed(
                        ErrorInfo("actor", "start_failed", "the start did not settle in time")
                    )
                if self._runner.has_work:
                    ended = await self._hop()
                    if ended is not None:
                        return ended
                else:
                    await self._wait()
        finally:
            timer.cancel()
        rebind(held, self.ledger, self._gateway, self._close_by_host)
        self._runner.gate_open = True
        self._on_running(self.reply)
        return None

    def _start_event(self, connections: int) -> StartEvent:
        record = self._record
        upgrade = record.started_once and self._definition.version != record.version
        if not record.started_once:
            reason: StartReason = "create"
        else:
            reason = "upgrade" if upgrade else self._reason
        return StartEvent(
            id=self._runner.next_event_id(),
            reason=reason,
            actor=record.actor_id,
            generation=record.generation,
            name=record.name,
            key=list(record.key),
            connection_count=connections,
            from_version=record.version if upgrade else UNSET,
            input=UNSET if record.started_once or record.input is None else Raw(record.input),
        )

    async def _serve(self) -> Ended:
        self._alarms.open()
        while True:
            if self._killed:
                return Ended.DESTROYED
            self._host_settled += self._deadlines.expired()
            if self._stop_reason is not None and self._stop_entry is None and self._may_stop():
                self._begin_stop(self._stop_reason)
            if self._stop_settled():
                self._host_settled += self._deadlines.stuck()
            if self._stop_entry is not None and self._stop_complete():
                return await self._fall_asleep()
            if self._runner.has_work or self._host_settled:
                ended = await self._hop()
                if ended is not None:
                    return ended
                continue
            self._arm_idle()
            self._deadlines.arm(self._grace_until)
            await self._wait()

    async def _wait(self) -> None:
        await self._signal.wait()
        self._signal = anyio.Event()

    # --- one hop -------------------------------------------------------------------------------------------------

    async def _hop(self) -> Ended | None:
        runner = self._runner
        self._intake.take_in()
        settled, self._host_settled = self._host_settled, []
        for settlement in settled:
            runner.settle(settlement)
        result = HopResult()
        try:
            if runner.has_work:
                # A job on a thread cannot be called off; what it owns must not be touched before it is done.
                with anyio.CancelScope(shield=True):
                    await self._services.executor.run(self._record.tenant, partial(runner.run, result))
        except UnavailableError as error:
            # No thread to run on: as when storage does not answer.
            self.error = error.info
            self._charging.undo(result, settled, Charges(), error.info)
            return Ended.UNAVAILABLE
        except BaseException:
            # The host itself broke: nobody who waits is left without an answer.
            self._charging.undo(result, settled, Charges(), ABORTED)
            raise
        if result.busy_ms:
            self._metrics.observe("turn", result.busy_ms / 1_000 / max(1, len(result.turns)))
        if self._killed:
            self._charging.undo(result, settled, Charges(), ABORTED)
            return Ended.DESTROYED
        if result.fault is not None and not self._started:
            # A start that faults is rolled back whole: nothing of this hop is written (delivery.md §6).
            return await self._start_failed(result.fault.info, result.fault.detail)
        failure = self._note_start(result)
        if failure is not None:
            return await self._start_failed(*failure)
        charges = self._note_fault(result)
        if result.fault is not None and self._stop_entry is not None:
            self.ledger.change_actor(self._asleep_change())
        ended = await self._commit(self.ledger.take_unit(self._clock.now_ms()))
        if ended is not None:
            self._charging.undo(result, settled, charges, self.error if self.error is not None else ABORTED)
            return ended
        assert self._awake is not None
        self._awake.state.committed()
        self._after_commit(result, settled)
        if result.fault is None:
            return None
        self._release_charges(charges)
        self._charging.give_back()
        return Ended.FAULT

    def _note_start(self, result: HopResult) -> tuple[ErrorInfo, str | None] | None:
        """If the start settled in this hop, the actor's own row changes with it; an error is a failed start."""
        if self._started:
            return None
        for turn in result.turns:
            for settlement in turn.settled:
                if settlement.entry is not self._start_entry:
                    continue
                if settlement.error is not None:
                    return settlement.error, settlement.detail
                self._started = True
                self._started_at = self._clock.now_ms()
                self.reply = settlement.start or StartReply()
                self._runner.hibernatable = self._hibernates()
                self.ledger.change_actor(
                    ActorChange(
                        lifecycle="asleep",
                        attempt=0,
                        retry_at=None,
                        last_error=None,
                        started_once=True,
                        version=self._definition.version,
                        module=self._definition.module,
                        started_at=self._started_at,
                        slept_at=self._record.slept_at,
                        drop_input=True,
                    )
                )
        return None

    async def _commit(self, unit: CommitUnit | None) -> Ended | None:
        if unit is None:
            return None
        began = self._clock.monotonic()
        try:
            await self._services.storage.commit(unit)
        except Fenced:
            self._metrics.count("commits_refused", "fenced")
            self._log.warning("commit fenced", epoch=self.ledger.epoch, hop_seq=unit.hop_seq)
            return Ended.FENCED
        except UnavailableError as error:
            self._metrics.count("commits_refused", error.name)
            self._log.warning("commit failed", error=error.name, message=error.message)
            self.error = error.info
            return Ended.UNAVAILABLE
        except CommitUnknown as error:
            self._services.fatal(error)
            return Ended.UNAVAILABLE
        self._metrics.observe("commit", self._clock.monotonic() - began)
        if unit.claims or unit.alarms or unit.alarms_gone:
            self._services.wake.wake_at_changed(self._record.actor_id, unit.wake_at)
        return None

    def _after_commit(self, result: HopResult, host_settled: list[Settlement]) -> None:
        for entry in result.started:
            entry.committed = True
        if self._release.hop(result):
            self._sleep_wanted = True
        acked: dict[str, None] = {}
        for settlement in host_settled:
            self._release.settlement(settlement, acked)
        self._release.acks(acked)
        for turn in result.turns:
            for settlement in turn.settled:
                self._forget(settlement)
        for settlement in host_settled:
            self._forget(settlement)
        for row in self._runner.dropped_alarms:
            self._alarms.done(row)
        self._runner.dropped_alarms.clear()
        for entry, error in self._runner.given_up:
            self._note_given_up(entry, error)
        self._runner.given_up.clear()
        for entry in result.started:
            if entry.event_id in self._runner.unsettled and entry.kind not in (Kind.START, Kind.STOP):
                self._deadlines.begin(entry, self._handler_timeout)
        # A wish that a start made waits until what woke the actor has had its turn: else it would never have it.
        if self._sleep_wanted and self._stop_reason is None and (self._runner.gate_open or self._mailbox.empty):
            self._stop_reason = "sleep"
        self._alarms.fire()

    def _forget(self, settlement: Settlement) -> None:
        """What the settling of an event ends besides itself."""
        entry = settlement.entry
        if isinstance(entry.payload, AlarmRow):
            self._alarms.done(entry.payload)
        elif entry.line is not None and (
            entry.kind is Kind.CLOSED or (entry.kind is Kind.OPENED and settlement.error is not None)
        ):
            self._lines.close(entry.line)
            left = self._mailbox.remove_line(entry.line)
            if left:
                self._metrics.count("messages_refused", "connection_closed", len(left))

    # --- faults --------------------------------------------------------------------------------------------------

    def _note_fault(self, result: HopResult) -> Charges:
        fault, culprit = result.fault, result.faulted
        if fault is None:
            return Charges()
        self._metrics.count("guest_faults", fault.name)
        self._log.warning(
            "guest fault",
            error=fault.name,
            message=fault.message,
            detail=fault.detail,
            on=culprit.kind.value if culprit is not None else None,
        )
        self.error = fault.info
        self.culprit = culprit
        return self._charging.fault(culprit, fault.info)

    def _note_given_up(self, entry: Entry, error: ErrorInfo) -> None:
        self._metrics.count("dead_letters", error.name)
        self._log.error("event given up", kind=entry.kind.value, error=error.name, attempts=entry.attempt)

    def _release_charges(self, charges: Charges) -> None:
        """After the commit: who waits is answered, and the connection of a poisonous message closes."""
        for entry, error in charges.given_up:
            if not entry.redelivered:
                entry.fail(error)
                continue
            self._note_given_up(entry, error)
            if isinstance(entry.payload, AlarmRow):
                self._alarms.done(entry.payload)
                continue
            assert entry.line is not None
            if entry.kind is Kind.MESSAGE:
                self._close_by_host(entry.line, 1011, POISON)
                continue
            if entry.kind is Kind.OPENED:
                self._gateway.close(entry.line, 1011, f"{error.group}.{error.code}")
            self._forget(failed(entry, error))

    async def _start_failed(self, error: ErrorInfo, detail: str | None = None) -> Ended:
        """Only attempt, `retry_at` and the error are written; the actor writes them, for it knows the attempt."""
        self.error = error
        self._log.warning("start failed", error=error.name, message=error.message, detail=detail)
        return Ended.START_FAILED

    @property
    def _handler_timeout(self) -> float:
        wanted = self._definition.options.action_timeout or self.reply.action_timeout or self._limits.handler_timeout
        return min(max(wanted, 1), 600_000) / 1_000

    @property
    def _sleep_timeout(self) -> float:
        wanted = self._definition.options.sleep_timeout or self.reply.sleep_timeout or self._limits.sleep_timeout
        return min(max(wanted, 1), 86_400_000) / 1_000

    # --- sleep ---------------------------------------------------------------------------------------------------

    def _hibernates(self) -> bool:
        chosen = self._definition.options.hibernate
        return self.reply.hibernate if chosen is None else chosen

    def _may_stop(self) -> bool:
        """A connection that cannot hibernate keeps its actor awake, but not against an eviction."""
        return self._stop_reason != "sleep" or self.hibernates

    def _arm_idle(self) -> None:
        """The idle clock runs while nothing is in work and nothing waits (timers do not count)."""
        if self._stop_entry is not None:
            return
        busy = self._runner.unsettled or not self._mailbox.empty or not self._may_stop()
        if busy or self._stop_reason is not None:
            self._idle_until = None
            return
        now = self._clock.monotonic()
        if self._idle_until is None or self._last_activity != self._runner.turns:
            self._last_activity = self._runner.turns
            self._idle_until = now + self._sleep_timeout
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = self._clock.timer(self._idle_until, self._idle_over)

    def _idle_over(self) -> None:
        over = self._idle_until is not None and self._clock.monotonic() >= self._idle_until
        if over and self._mailbox.empty and not self._runner.unsettled:
            self.request_stop("sleep")

    def _begin_stop(self, reason: StopReason) -> None:
        self._on_stopping()
        self._alarms.close()
        self._runner.gate_open = False
        self._stop_entry = Entry(Kind.STOP)
        grace = self._limits.evict_grace if reason == "evict" else self._limits.stop_grace
        self._grace_until = self._clock.monotonic() + grace / 1_000
        self._runner.urgent.append((self._stop_entry, StopEvent(self._runner.next_event_id(), reason, grace)))

    def _stop_settled(self) -> bool:
        """The guest has been told and is done with it: it gets nothing new any more."""
        stop = self._stop_entry
        return stop is not None and stop.event_id != 0 and stop.event_id not in self._runner.unsettled

    def _stop_complete(self) -> bool:
        assert self._grace_until is not None
        in_work = bool(self._runner.unsettled or self._runner.urgent or self._host_settled)
        return not in_work or self._clock.monotonic() >= self._grace_until

    def _asleep_change(self) -> ActorChange:
        return ActorChange(
            lifecycle="asleep",
            attempt=0,
            retry_at=None,
            last_error=self.error,
            started_once=True,
            version=self._definition.version,
            module=self._definition.module,
            started_at=self._started_at,
            slept_at=self._clock.now_ms(),
            drop_input=True,
        )

    async def _fall_asleep(self) -> Ended:
        """What is still unsettled when the grace is over is delivered again after the wake, or aborted (D6)."""
        charges = self._charging.grace_over()
        self.ledger.change_actor(self._asleep_change())
        ended = await self._commit(self.ledger.take_unit(self._clock.now_ms(), must=True))
        if ended is None:
            self._release_charges(charges)
            self._charging.give_back()
        else:
            self._charging.undo(HopResult(), (), charges, ABORTED)
        # An alarm that came due while stopping was not fired here: the alarm clock has it from now on.
        self._services.wake.wake_at_changed(self._record.actor_id, self.ledger.wake_at())
        return Ended.ASLEEP if ended is None else ended

    def _close_by_guest(self, conn: str, code: int, reason: str) -> None:
        self._metrics.count("socket_closes", "by_actor")
        self._log.info("socket closed by the actor", conn=conn, code=code)
        self._close(conn, code, reason)

    def _close_by_host(self, conn: str, code: int, reason: str) -> None:
        self._metrics.count("socket_closes", reason)
        self._log.warning("socket closed by the host", conn=conn, code=code, reason=reason)
        self._close(conn, code, reason)

    def _close(self, conn: str, code: int, reason: str) -> None:
        """The client's socket closes, and the actor is told in the connection's own line."""
        self._gateway.close(conn, code, reason)
        closed = SocketClosed(self._record.actor_id, conn, code, reason, clean=True)
        self._mailbox.post(Entry(Kind.CLOSED, closed, line=conn))
        self.signal()
