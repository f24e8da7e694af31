"""Taking in: what comes again, what is missing, and what belongs to nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from host.actor.entries import Entry
from host.actor.intake import Intake
from host.actor.ledger import Ledger
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.sizes import Sizes
from host.model.limits import Limits
from host.model.records import AttemptRow
from host.telemetry.metrics import MetricsRegistry
from tests.actor.rows import closed, connection, ledger, message, opened


class Port:
    """The gateway, as far as taking in needs it; `again` is what it posts when asked to send again."""

    gateway_id = "g"

    def __init__(self, mailbox: Mailbox) -> None:
        self.acks: list[tuple[str, int]] = []
        self.asked: list[tuple[str, int]] = []
        self.again: list[Entry] | None = []
        self._mailbox = mailbox

    def ack(self, conn_id: str, msg_index: int) -> None:
        self.acks.append((conn_id, msg_index))

    def resend(self, conn_id: str, after: int) -> bool:
        self.asked.append((conn_id, after))
        for entry in self.again or ():
            self._mailbox.post(entry)
        return self.again is not None


class Desk:
    """An intake with everything around it, for one connection `c` at index 4."""

    def __init__(self, *, attempts: tuple[AttemptRow, ...] = ()) -> None:
        self.mailbox = Mailbox()
        self.lines = Lines()
        self.lines.restore("c", 4)
        self.ledger: Ledger = ledger(connection("c", 4), attempts=attempts)
        self.port = Port(self.mailbox)
        self.metrics = MetricsRegistry()
        self.closes: list[tuple[str, int, str]] = []
        close: Callable[[str, int, str], None] = lambda *what: self.closes.append(what)  # noqa: E731
        self.intake = Intake(self.mailbox, self.lines, self.ledger, self.port, self.metrics, close)  # type: ignore[arg-type]

    def take(self, *entries: Entry) -> list[Entry]:
        """What became startable, were each settled at once."""
        for entry in entries:
            self.mailbox.post(entry)
        self.intake.take_in()
        taken = []
        while (entry := self.mailbox.next()) is not None:  # type: ignore[assignment]
            taken.append(entry)
            self.mailbox.settled(entry.line or "")
        return taken


def test_the_next_message_is_taken_in() -> None:
    desk, entries = Desk(), [message("c", 5), message("c", 6)]
    assert desk.take(*entries) == entries
    assert desk.port.acks == []


def test_a_message_that_comes_again_is_answered_with_the_current_acknowledgement() -> None:
    desk = Desk()
    desk.take(message("c", 5))
    assert desk.take(message("c", 5), message("c", 2)) == []
    assert desk.port.acks == [("c", 4), ("c", 4)]
    desk.ledger.settle_message("c", 5)
    desk.take(message("c", 5))
    assert desk.port.acks[-1] == ("c", 5)
    assert desk.metrics.counter("messages_refused", "duplicate") == 3


def test_a_gap_is_asked_for_once_and_what_is_sent_again_is_taken_in() -> None:
    desk = Desk()
    desk.port.again = again = [message("c", 5), message("c", 6), message("c", 7)]
    assert desk.take(message("c", 6), message("c", 7)) == []
    assert desk.port.asked == [("c", 4)]
    assert desk.take() == again
    assert desk.closes == []


def test_a_gap_that_nobody_can_fill_closes_the_connection() -> None:
    desk = Desk()
    desk.port.again = None
    with capture_logs() as logs:
        assert desk.take(message("c", 6)) == []
    assert desk.closes == [("c", 1008, "ws.message_index_skip")]
    assert any(line["event"] == "message index skipped" for line in logs)


def test_a_gap_that_was_asked_for_in_vain_closes_the_connection_the_second_time() -> None:
    desk = Desk()
    desk.port.again = []
    desk.take(message("c", 6))
    assert desk.closes == []
    desk.take(message("c", 7))
    assert desk.port.asked == [("c", 4)]
    assert desk.closes == [("c", 1008, "ws.message_index_skip")]


def test_a_later_gap_is_asked_for_again() -> None:
    desk = Desk()
    desk.port.again = [message("c", 5), message("c", 6)]
    desk.take(message("c", 6))
    desk.take()
    desk.port.again = [message("c", 7), message("c", 8)]
    desk.take(message("c", 8))
    assert len(desk.take()) == 2
    assert desk.port.asked == [("c", 4), ("c", 6)]
    assert desk.closes == []


@pytest.mark.parametrize("entry", [message("x", 1), closed("x")])
def test_what_belongs_to_no_connection_is_counted_logged_and_dropped(entry: Entry) -> None:
    desk = Desk()
    with capture_logs() as logs:
        assert desk.take(entry) == []
    assert desk.metrics.counter("messages_refused", "unknown_connection") == 1
    assert [line["reason"] for line in logs] == ["unknown_connection"]


def test_an_open_that_comes_again_is_counted_and_dropped() -> None:
    desk = Desk()
    first, second = opened("new"), message("new", 1)
    assert desk.take(first, opened("new"), second) == [first, second]
    assert desk.metrics.counter("messages_refused", "open_again") == 1
    assert desk.lines.last("new") == 1


def test_attempts_on_record_count_on() -> None:
    desk = Desk(attempts=(AttemptRow("message", "c", 5, attempt=3, faults=2),))
    entry = message("c", 5)
    desk.take(entry, message("c", 6))
    assert (entry.attempt, entry.faults) == (3, 2)


def test_a_close_waits_behind_the_messages_of_its_connection() -> None:
    desk, entries = Desk(), [message("c", 5), closed("c")]
    assert desk.take(*entries) == entries


def test_what_was_noted_of_a_line_is_forgotten_with_its_close() -> None:
    desk = Desk()
    small = Limits(message=1)
    desk.intake = Intake(
        desk.mailbox,
        desk.lines,
        desk.ledger,
        desk.port,  # type: ignore[arg-type]
        desk.metrics,
        lambda *what: desk.closes.append(what),
        Sizes(small),
    )
    assert desk.take(message("c", 9), message("c", 5, "xx")) == []
    assert [code for _, code, _ in desk.closes] == [1009]
    assert (desk.intake._cut, set(desk.intake._asked)) == ({"c"}, {"c"})
    ended = closed("c")
    assert desk.take(ended) == [ended]
    assert not desk.intake._cut
    assert not desk.intake._asked
