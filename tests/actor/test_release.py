"""The output gate: what leaves, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.release import Release
from host.actor.turns import HopResult, Settlement, TurnRecord
from host.model.effects import DeferredTimer, LogLine, SendClose, SendFrame, TurnEffects
from host.model.errors import ErrorInfo
from host.model.tunnel import ActionCall, ActionReply
from host.telemetry.logging import get_logger
from host.telemetry.metrics import MetricsRegistry
from tests.actor.rows import ACTOR, connection, ledger, message, opened


class Port:
    gateway_id = "g"

    def __init__(self, seen: list[tuple[Any, ...]]) -> None:
        self.frame: Callable[..., None] = lambda *what: seen.append(("frame", *what))
        self.ack: Callable[..., None] = lambda *what: seen.append(("ack", *what))
        self.close: Callable[..., None] = lambda *what: seen.append(("close", *what))
        self.opened: Callable[..., None] = lambda *what: seen.append(("opened", *what))


class Door:
    def __init__(self, book: Ledger | None = None) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.metrics = MetricsRegistry()
        self.release = Release(
            Port(self.seen),  # type: ignore[arg-type]
            self.metrics,
            book or ledger(connection("c", 2), connection("d", 7)),
            get_logger("test"),
            start_timer=lambda *what: self.seen.append(("timer", *what)),
            end_timer=lambda call: self.seen.append(("end of timer", call)),
            start_call=lambda call: self.seen.append(("call", call)),
            cancel_call=lambda call: self.seen.append(("cancel", call)),
            close=lambda *what: self.seen.append(("close_from_here", *what)),
        )

    def action(self) -> Entry:
        return Entry(
            Kind.ACTION, ActionCall(ACTOR, "x", b"[]", "ray7"), answer=lambda reply: self.seen.append(("answer", reply))
        )


def test_outputs_leave_in_order_then_answers_then_one_acknowledgement_for_each_connection() -> None:
    book = ledger(connection("c", 2), connection("d", 7))
    door = Door(book)
    call, reply = door.action(), ActionReply(output=b"1")
    first, second = message("c", 3), message("c", 4)
    for entry in (first, second):
        book.settle_message("c", entry.payload.index)  # type: ignore[union-attr]
    result = HopResult(
        turns=[
            TurnRecord(first, TurnEffects(outputs=(SendFrame("c", "1"), SendFrame("d", "2"))), (Settlement(first),)),
            TurnRecord(
                call,
                TurnEffects(
                    outputs=(SendFrame("c", "3"), SendClose("d", 1000, "bye")),
                    timers=(DeferredTimer(5, 100),),
                    ended_timers=(4,),
                ),
                (Settlement(call, reply=reply), Settlement(second)),
            ),
        ]
    )
    assert door.release.hop(result) is False
    assert door.seen == [
        ("frame", "c", "1"),
        ("frame", "d", "2"),
        ("frame", "c", "3"),
        ("answer", reply),
        ("close_from_here", "d", 1000, "bye"),
        ("timer", 5, 100),
        ("end of timer", 4),
        ("ack", "c", 4),
    ]


def test_an_event_that_is_still_in_work_is_not_acknowledged() -> None:
    door = Door()
    door.release.hop(HopResult(turns=[TurnRecord(message("c", 3), TurnEffects(), ())]))
    assert door.seen == []


def test_a_wish_to_sleep_is_reported() -> None:
    assert Door().release.hop(HopResult(turns=[TurnRecord(None, TurnEffects(sleep=True), ())])) is True


def test_an_open_is_told_to_the_gateway_or_closed_with_its_error() -> None:
    door = Door()
    acked: dict[str, None] = {}
    door.release.settlement(Settlement(opened("new")), acked)
    door.release.settlement(Settlement(opened("bad"), ErrorInfo("user", "no_entry", "no")), acked)
    assert door.seen == [("opened", "new"), ("close", "bad", 1011, "user.no_entry")]
    assert door.metrics.counter("socket_closes", "open_failed") == 1
    assert acked == {}


def test_an_answer_is_given_once() -> None:
    door = Door()
    call = door.action()
    settlement = Settlement(call, reply=ActionReply(output=b"1"))
    door.release.settlement(settlement, {})
    door.release.settlement(settlement, {})
    call.fail(ErrorInfo("actor", "aborted", "late"))
    assert len(door.seen) == 1


def test_a_failure_is_counted_and_logged_with_its_detail_and_ray() -> None:
    door = Door()
    error = ErrorInfo("internal", "internal_error", "masked")
    with capture_logs() as logs:
        door.release.settlement(Settlement(door.action(), error, ActionReply(error=error), detail="at line 3"), {})
    assert door.metrics.counter("events_failed", "internal/internal_error") == 1
    (line,) = logs
    assert (line["log_level"], line["detail"], line["ray"], line["kind"]) == ("warning", "at line 3", "ray7", "action")


def test_what_guests_log_is_written_and_what_was_dropped_is_counted() -> None:
    door = Door()
    said = (LogLine("info", "a"), LogLine("warn", "b"), LogLine("error", "c"))
    effects = TurnEffects(logs=said, logs_dropped=4, logs_told=9, refused={"log_turn": 3, "log_minute": 1, "kv_key": 1})
    with capture_logs() as logs:
        door.release.hop(HopResult(turns=[TurnRecord(None, effects, ())]))
    *said_lines, note = logs
    assert [(line["text"], line["log_level"]) for line in said_lines] == [
        ("a", "info"), ("b", "warning"), ("c", "error"),
    ]  # fmt: skip
    assert (note["event"], note["lines"], note["log_level"]) == ("guest log lines dropped", 9, "warning")
    assert door.metrics.counter("log_lines_dropped", "log_turn") == door.metrics.counter("limits", "log_turn") == 3
    assert door.metrics.counter("log_lines_dropped", "log_minute") == 1
    assert door.metrics.counter("limits", "kv_key") == 1


def test_a_code_of_the_guests_choice_names_no_counter() -> None:
    door = Door()
    error = ErrorInfo("user", "no_funds", "too little")
    with capture_logs() as logs:
        door.release.settlement(Settlement(door.action(), error, ActionReply(error=error)), {})
    assert door.metrics.counter("events_failed", "user") == door.metrics.counter("events_failed") == 1
    assert logs == []


def test_a_user_error_that_was_changed_is_logged_with_the_reason() -> None:
    door = Door()
    error = ErrorInfo("user", "user_error", "too little")
    with capture_logs() as logs:
        door.release.settlement(Settlement(door.action(), error, ActionReply(error=error), detail="the code 'x y'"), {})
    assert [line["detail"] for line in logs] == ["the code 'x y'"]
