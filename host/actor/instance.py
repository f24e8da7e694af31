"""An instance: one actor awake, from its start event to the end of its guest.

It owns a guest, the hydrated state and the ledger, and runs hop after hop: take in, run on an executor thread,
commit, release. It ends in one of the ways of `Ended`; what is to happen then is the actor's business (`actor.py`).
Nothing here survives the isolate but the mailbox and the lines, which belong to the actor. How it starts is in
`starting.py`, when it stops in `stopping.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio

from host.actor.charges import Charges, Charging
from host.actor.closes import Closes
from host.actor.commits import Commits
from host.actor.cpu_wait import CpuWait
from host.actor.deadlines import Deadlines, GuestTimers
from host.actor.definitions import ActorDefinition
from host.actor.due_alarms import DueAlarms
from host.actor.ended import Ended
from host.actor.entries import Entry, Kind
from host.actor.failures import ABORTED, failed
from host.actor.gates import release_after
from host.actor.guest import Guest
from host.actor.hop import HopRunner
from host.actor.intake import Intake
from host.actor.ledger import Ledger
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.options import Options
from host.actor.outgoing import OutgoingCalls
from host.actor.reconcile import rebind, reconcile
from host.actor.release import Release
from host.actor.services import Services
from host.actor.signal import Signal
from host.actor.sizes import Sizes
from host.actor.speech import SLOW
from host.actor.starting import Start, StartFailed
from host.actor.stopping import Stopping
from host.actor.turns import HopResult, Settlement
from host.bridge.envelopes import StartReason, StartReply, StopReason
from host.model.effects import CommitUnit
from host.model.errors import ErrorInfo, UnavailableError
from host.model.limits import Limits
from host.model.records import ActorImage, AlarmRow
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["Ended", "Instance"]

POISON = "actor.poison_message"


class Instance:
    def __init__(
        self,
        services: Services,
        image: ActorImage,
        definition: ActorDefinition,
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
        self._mailbox = mailbox
        self._lines = lines
        self._on_running = on_running
        self._on_stopping = on_stopping
        self._record = image.record
        self._gateway = services.gateway
        self._clock = services.clock
        self._metrics = services.metrics
        self._log = get_logger("actor").bind(actor_id=image.record.actor_id, tenant=image.record.tenant)
        self.ledger = Ledger(image, epoch, limits)
        self.error: ErrorInfo | None = None
        # Of a start that failed, what its error does not say: for the log and for operators.
        self.detail: str | None = None
        self.culprit: Entry | None = None
        self._signal = Signal()
        self._guest: Guest | None = None
        self._alarms = DueAlarms(self.ledger, mailbox, services.clock, self.signal)
        self._commits = Commits(services, self._log)
        self._closes = Closes(
            image.record.actor_id, services.gateway, mailbox, services.metrics, self._log, self.signal
        )
        self._start = Start(services, image, definition, limits, reason)
        self._stopping = Stopping(self.ledger, mailbox, services.clock, limits, self.signal)
        self._options = Options(definition, self._start.reply, limits)
        self._host_settled: list[Settlement] = []
        self._killed = False
        self._resting = False
        # The guest asked to be destroyed.
        self._end_asked = False
        # The stop that was delivered last has settled.
        self.heard_stop = False

    # --- what the actor may do to it -----------------------------------------------------------------------------

    def signal(self) -> None:
        """Something was posted, or a time has come."""
        self._signal.set()

    @property
    def definition(self) -> ActorDefinition:
        return self._definition

    @property
    def runs(self) -> tuple[int, str]:
        """The version that it runs, and the module."""
        return self._definition.version, self._start.module

    @property
    def started_at(self) -> int | None:
        """When its start settled, in ms."""
        return self._start.started_at

    @property
    def hibernates(self) -> bool:
        """None of its connections keeps it awake."""
        return self._stopping.hibernates

    @property
    def idle(self) -> bool:
        """Nothing is in work, nothing waits, and nothing keeps it awake (timers do not)."""
        if self._guest is None or not self._resting:
            return False
        runner = self._runner
        busy = runner.unsettled or runner.deferrals.outstanding or runner.has_work
        return runner.gate_open and not busy and self._stopping.may_evict

    @property
    def ends(self) -> bool:
        """The guest was told that its actor is destroyed."""
        return self._stopping.begun and self._stopping.reason == "destroy"

    def request_stop(self, reason: StopReason) -> None:
        """Sleep, eviction or the end, as soon as the running hop is over."""
        self._stopping.request(reason)

    def forget_held(self) -> None:
        """Its row says meanwhile that it is held back from nothing."""
        self._start.forget_held()

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
            ended = await self._begin()
            return ended if ended is not None else await self._serve()
        except StartFailed as failure:
            # Only attempt, `retry_at` and the error are written; the actor writes them, for it knows the attempt.
            self.error, self.detail = failure.error, failure.detail
            note_limit(self._metrics, failure.error)
            self._log.warning(
                "start failed", error=failure.error.name, message=failure.error.message, detail=failure.detail
            )
            return Ended.START_FAILED
        finally:
            self._services.tenants.leave(self._record.tenant, self)
            self._alarms.close()
            self._stopping.stop_idling()
            if self._guest is not None:
                self._timers.cancel()
                self._calls.close()
                self._deadlines.cancel()
                # Whoever is still in work here, after a destroy above all, is not left without an answer.
                self._charging.give_back()
                await self._close_guest(self._guest)

    async def _close_guest(self, guest: Guest) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._services.executor.run(self._record.tenant, guest.close)
            except UnavailableError:
                # No thread has room: better a moment of the event loop than a guest that nobody closes.
                guest.close()

    def _may_run(self) -> bool:
        """While the tenant has used its CPU time up, its hops wait for their turn; nothing is lost or refused by it.
        Those of a start do not, for a start has its time, but for its beginning."""
        return self._services.tenants.may_run(self._record.tenant, self)

    async def _begin(self) -> Ended | None:
        ended = await self._turn_to_start()
        if ended is not None:
            return ended
        start = self._start
        code = await start.load()
        held = reconcile(self._record.actor_id, self.ledger, self._lines, self._mailbox, self._gateway, self._metrics)
        opening = {entry.line for entry in self._mailbox.waiting() if entry.kind is Kind.OPENED}
        guest = await start.wake(code, self.ledger.epoch)
        state = guest.calls.state
        for conn in opening:
            if conn is not None:
                state.remove_connection(conn)
        self._assemble(guest)
        self._runner.urgent.append((start.entry, start.event(self._runner.next_event_id(), len(state.connections))))
        timer = self._clock.timer(start.deadline, self.signal)
        try:
            while not start.settled:
                if self._killed:
                    return Ended.DESTROYED
                start.check_time()
                if self._runner.has_work:
                    ended = await self._hop()
                    if ended is not None:
                        return ended
                else:
                    await self._wait()
        finally:
            timer.cancel()
        if self._killed:
            # While the start was being committed.
            return Ended.DESTROYED
        # A client that has gone since then is on its way to the actor as a close.
        gone = {entry.line for entry in self._mailbox.waiting() if entry.kind is Kind.CLOSED}
        rebind([conn for conn in held if conn not in gone], self.ledger, self._gateway, self._closes.by_host)
        if not start.reply.connect:
            # Another version took them.
            for row in [row for row in self.ledger.rows.values() if row.protocol]:
                self._closes.by_host(row.conn_id, 1011, "actor.method_not_allowed")
        self._runner.gate_open = not self._end_asked
        self._on_running(start.reply)
        return None

    async def _turn_to_start(self) -> Ended | None:
        """None once the tenant has CPU time for a start. What has not begun need not be stopped: who is to sleep or to
        leave does not wait for it. One that is destroyed does, for it is to hear of it."""
        record = self._record
        waiting = CpuWait(record.actor_id, record.tenant, self._services, self._mailbox, self.signal)
        try:
            while not self._may_run():
                if self._stopping.reason not in (None, "destroy"):
                    return Ended.CALLED_OFF
                waiting.look()
                await self._wait()
                if self._killed:
                    return Ended.DESTROYED
        finally:
            waiting.close()
        return None

    def _assemble(self, guest: Guest) -> None:
        """What works on the guest, from here to its end."""
        self._guest = guest
        self._runner = HopRunner(
            guest=guest,
            ledger=self.ledger,
            mailbox=self._mailbox,
            clock=self._clock,
            limits=self._limits,
            jitter=self._services.jitter,
        )
        tenant, tenants = self._record.tenant, self._services.tenants
        self._timers = GuestTimers(
            self._runner, self._clock, self.signal, lambda change: tenants.count_timers(tenant, change)
        )
        self._calls = OutgoingCalls(
            self._record,
            self._definition.options.egress,
            self._limits,
            self._runner,
            self._services.calls,
            tenants,
            self._metrics,
            self._log,
            self.signal,
        )
        self._deadlines = Deadlines(self._runner, self._clock, self.signal)
        self._charging = Charging(self.ledger, self._runner, self._mailbox, self._clock, self._limits)
        self._intake = Intake(
            self._mailbox,
            self._lines,
            self.ledger,
            self._gateway,
            self._metrics,
            self._closes.by_host,
            Sizes.below(self._services.limits, self._limits),
        )
        self._release = Release(
            self._gateway,
            self._metrics,
            self.ledger,
            self._log,
            start_timer=self._timers.start,
            end_timer=self._timers.end,
            start_call=self._calls.start,
            cancel_call=self._calls.cancel,
            close=self._closes.by_guest,
            failpoints=self._services.failpoints,
        )

    async def _serve(self) -> Ended:
        self._alarms.open()
        stopping, runner = self._stopping, self._runner
        while True:
            if self._killed:
                return Ended.DESTROYED
            self._host_settled += self._deadlines.expired()
            if stopping.due:
                self._on_stopping()
                self._alarms.close()
                stopping.begin(runner)
            if stopping.settled(runner):
                self._host_settled += self._deadlines.stuck()
            self.heard_stop = stopping.settled(runner)
            if stopping.complete(runner, bool(self._host_settled)):
                # Nothing is kept for a next start of one that is destroyed.
                return Ended.DESTROYED if self.ends else await self._fall_asleep()
            runs = runner.has_work and self._may_run()
            if runs or self._host_settled:
                ended = await self._hop(runs)
                if ended is not None:
                    return ended
                continue
            stopping.arm_idle(runner, self._options.sleep_timeout)
            self._deadlines.arm(stopping.grace_until)
            self._resting = True
            await self._wait()
            self._resting = False

    async def _wait(self) -> None:
        await self._signal.wait()

    # --- one hop -------------------------------------------------------------------------------------------------

    async def _hop(self, runs: bool = True) -> Ended | None:
        """With `runs` off no turn is made: what the host itself settled is committed."""
        runner = self._runner
        self._stopping.stop_idling()
        self._intake.take_in()
        settled, self._host_settled = self._host_settled, []
        settled = [runner.settle(settlement) for settlement in settled]
        result = HopResult()
        try:
            if runs and runner.has_work:
                assert self._guest is not None
                self._guest.calls.share_timers(*self._services.tenants.timer_room(self._record.tenant))
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
            if result.turns:
                # D10: what the actor did after its end.
                self._metrics.count("commits_refused", "actor.destroyed")
                self._log.info("commit refused", reason="actor.destroyed", turns=len(result.turns))
            self._charging.undo(result, settled, Charges(), ABORTED)
            return Ended.DESTROYED
        self._note_start(result)
        charges = self._note_fault(result)
        if result.fault is not None and self._stopping.begun:
            self.ledger.change_actor(self._start.row(slept_at=self._clock.now_ms(), error=self.error))
        unit = self.ledger.take_unit(self._clock.now_ms())
        ended = await release_after(partial(self._commit, unit), partial(self._after_commit, result, settled))
        if ended is not None:
            self._charging.undo(result, settled, charges, self.error if self.error is not None else ABORTED)
            return ended
        if result.fault is None:
            return None
        self._release_charges(charges)
        self._charging.give_back()
        return Ended.FAULT

    def _note_start(self, result: HopResult) -> None:
        """If the start settled in this hop, the actor's own row changes with it. A start that fails raises before
        anything of its hop is written: it is rolled back whole."""
        if self._start.settled:
            return
        if result.fault is not None:
            self._release.words(result.last_words)
            raise StartFailed(result.fault.info, result.fault.detail)
        if self._start.note(result):
            self._options = Options(self._definition, self._start.reply, self._limits)
            self._runner.hibernatable = self._options.hibernate
            self._runner.speech.heard(self._start.reply)
            self.ledger.change_actor(self._start.row())

    async def _commit(self, unit: CommitUnit | None) -> Ended | None:
        """None once the unit is on disk, and at once if there is none (D1: what it holds is released after this)."""
        lost = await self._commits.write(unit)
        if lost is None:
            return None
        if lost.error is not None:
            self.error = lost.error
        return lost.ended

    def _after_commit(self, result: HopResult, host_settled: list[Settlement]) -> None:
        assert self._guest is not None
        self._guest.calls.state.committed()
        self._calls.delivered(result.completed)
        for entry in result.started:
            entry.committed = True
        if self._release.hop(result):
            self._stopping.wish()
        for turn in result.turns:
            effects = turn.effects
            if effects.destroy:
                # Nothing new begins, but what is in work goes on until the stop that comes of it.
                self._end_asked = True
                self._runner.gate_open = False
                self._services.wake.destroy_asked(self._record.actor_id)
            if effects.held is not None:
                self._stopping.hold(*effects.held)
        if host_settled:
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
        for entry, error in self._runner.alarms.given_up:
            self._note_given_up(entry, error)
        self._runner.alarms.given_up.clear()
        self._note_skipped(self._runner.alarms.crons.skipped)
        self._close_overrun(self._runner.speech.overrun)
        for entry in result.started:
            if entry.event_id in self._runner.unsettled and entry.kind not in (Kind.START, Kind.STOP):
                self._deadlines.begin(entry, self._options.handler_timeout)
        self._stopping.heed_wish(self._runner.gate_open)
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
        self._release.words(result.last_words)
        self._metrics.count("guest_faults", fault.name)
        note_limit(self._metrics, fault)
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
        """D10: what is given up is counted and logged."""
        self._metrics.count("dead_letters", error.name)
        self._log.error("event given up", kind=entry.kind.value, error=error.name, attempts=entry.attempt)

    def _close_overrun(self, conns: list[str]) -> None:
        """Who was sent too much before it was open."""
        for conn in conns:
            self._metrics.count("limits", "outgoing_queue")
            self._closes.by_host(conn, 1013, SLOW)
        conns.clear()

    def _note_skipped(self, skipped: list[tuple[str, int]]) -> None:
        """D10: what a cron lets pass is counted and logged, whatever is kept of its history."""
        for cron, times in skipped:
            self._metrics.count("crons_skipped", "passed", times)
            self._log.info("cron skipped", reason="passed", cron=cron, times=times)
        skipped.clear()

    def _release_charges(self, charges: Charges) -> None:
        """After the commit: who waits is answered, and the connection of a poisonous message closes."""
        acked: dict[str, None] = {}
        for settlement in charges.told:
            self._release.settlement(settlement, acked)
        self._release.acks(acked)
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
                self._closes.by_host(entry.line, 1011, POISON)
                continue
            self._forget(failed(entry, error))

    # --- sleep ---------------------------------------------------------------------------------------------------

    async def _fall_asleep(self) -> Ended:
        """What is still unsettled when the grace is over is delivered again after the wake, or aborted (D6)."""
        charges = self._charging.grace_over()
        self.ledger.change_actor(self._start.row(slept_at=self._clock.now_ms(), error=self.error))
        ended = await self._commit(self.ledger.take_unit(self._clock.now_ms(), must=True))
        if ended is None:
            self._release_charges(charges)
            self._charging.give_back()
        else:
            self._charging.undo(HopResult(), (), charges, ABORTED)
        # An alarm that came due while stopping was not fired here: the alarm clock has it from now on.
        self._services.wake.wake_at_changed(self._record.actor_id, self.ledger.wake_at())
        return Ended.ASLEEP if ended is None else ended
