"""The output gate: what a hop produced leaves here, after its commit and never before (D1).

Of each turn the frames go in the order in which they were made, then the answers, then the closes; at last one
cumulative acknowledgement for each connection (D3); timers and calls start now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.turns import HopResult, Settlement, TurnRecord
from host.model.calls import DeferredCall
from host.model.effects import Output, SendClose, SendFrame, TurnEffects
from host.model.failpoints import OFF, FailPoint, FailPoints
from host.model.ports import GatewayPort, Metrics
from host.model.tunnel import SocketMessage
from host.telemetry.limit_hits import note_limit

__all__ = ["Release"]

# Their callers are told.
_ASKED = (Kind.ACTION, Kind.REQUEST, Kind.AUTH)
LOG_LIMITS = frozenset({"log_minute", "log_turn"})


class Release:
    """`start_timer` takes (call id, delay in ms), `end_timer` a call id; `start_call` and `cancel_call` begin and cut
    off a call; `close` ends a connection from this side."""

    def __init__(
        self,
        gateway: GatewayPort,
        metrics: Metrics,
        ledger: Ledger,
        log: FilteringBoundLogger,
        *,
        start_timer: Callable[[int, int], None],
        end_timer: Callable[[int], None],
        start_call: Callable[[DeferredCall], None],
        cancel_call: Callable[[int], None],
        close: Callable[[str, int, str], None],
        failpoints: FailPoints = OFF,
    ) -> None:
        self._gateway = gateway
        self._metrics = metrics
        self._ledger = ledger
        self._log = log
        self._start_timer = start_timer
        self._end_timer = end_timer
        self._start_call = start_call
        self._cancel_call = cancel_call
        self._close = close
        self._failpoints = failpoints

    def hop(self, result: HopResult) -> bool:
        """Lets everything out in the order in which it was made (D1); True if the guest asked for sleep."""
        sleep = False
        acked: dict[str, None] = {}
        for turn in result.turns:
            self._turn(turn, acked)
            sleep = sleep or turn.effects.sleep
        self.acks(acked)
        return sleep

    def _turn(self, turn: TurnRecord, acked: dict[str, None]) -> None:
        effects = turn.effects
        closes = [output for output in effects.outputs if isinstance(output, SendClose)]
        self._out(effects.outputs if not closes else [one for one in effects.outputs if not isinstance(one, SendClose)])
        for settlement in turn.settled:
            self.settlement(settlement, acked)
        # Whoever closes a connection in an action that came over it answers that action all the same.
        if closes:
            self._out(closes)
        for timer in effects.timers:
            self._start_timer(timer.call, timer.after_ms)
        for call in effects.ended_timers:
            self._end_timer(call)
        for deferred in effects.deferred:
            self._start_call(deferred)
        for cancelled in effects.cancelled:
            self._cancel_call(cancelled)
        if effects.logs or effects.refused:
            self.words(effects)

    def _out(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendFrame):
                numbered = (output.index,) if output.index else ()
                self._gateway.frame(output.conn, output.data, *numbered)
            else:
                self._close(output.conn, output.code, output.reason)

    def words(self, effects: TurnEffects) -> None:
        """What a guest logged, and what a limit kept it from. Its lines are a field of ours: it writes no event."""
        for limit, refused in effects.refused.items():
            self._metrics.count("limits", limit, refused)
            if limit in LOG_LIMITS:
                self._metrics.count("log_lines_dropped", limit, refused)
        for line in effects.logs:
            getattr(self._log, line.level, self._log.info)("guest log", text=line.message)
        if effects.logs_told:
            self._log.warning("guest log lines dropped", lines=effects.logs_told)

    def settlement(self, settlement: Settlement, acked: dict[str, None]) -> None:
        entry = settlement.entry
        if settlement.error is not None:
            self._failure(entry, settlement)
        if entry.answer is not None:
            if settlement.reply is not None:
                answer, entry.answer = entry.answer, None
                answer(settlement.reply)
            elif settlement.error is not None:
                entry.fail(settlement.error)
        if isinstance(entry.payload, SocketMessage):
            if settlement.frames:
                self._out(settlement.frames)
            acked[entry.payload.conn_id] = None
        elif entry.kind is Kind.OPENED:
            assert entry.line is not None
            if settlement.error is None:
                self._gateway.opened(entry.line)
                self._out(settlement.frames)
            else:
                self._out(settlement.frames)
                self._metrics.count("socket_closes", "open_failed")
                self._gateway.close(entry.line, 1011, f"{settlement.error.group}.{settlement.error.code}")

    def acks(self, conns: dict[str, None]) -> None:
        """D3: cumulative, and never more than the watermark: what settled above it is not acknowledged yet."""
        if conns and self._failpoints.on:
            self._failpoints.hit(FailPoint.BEFORE_ACK)
        for conn in conns:
            mark = self._ledger.marks.get(conn)
            if mark is not None:
                self._gateway.ack(conn, mark.msg_index)

    def _failure(self, entry: Entry, settlement: Settlement) -> None:
        error = settlement.error
        assert error is not None
        # a code of the guest's choice is no name for a counter
        self._metrics.count("events_failed", "user" if error.group == "user" else error.name)
        note_limit(self._metrics, error)
        if error.group == "user" and settlement.detail is None and (entry.asks or entry.kind in _ASKED):
            return
        self._log.warning(
            "handler failed",
            kind=entry.kind.value,
            error=error.name,
            message=error.message,
            detail=settlement.detail,
            attempt=entry.attempt,
            ray=getattr(entry.payload, "ray", None),
        )
