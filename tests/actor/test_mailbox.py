"""The mailbox: order of arrival, one event of a connection at a time, and places that are kept."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from host.actor.entries import Entry, Kind
from host.actor.mailbox import Mailbox


def message(line: str) -> Entry:
    return Entry(Kind.MESSAGE, line=line)


def action() -> Entry:
    return Entry(Kind.ACTION)


def take_in(mailbox: Mailbox) -> None:
    while mailbox.incoming:
        mailbox.schedule(mailbox.incoming.popleft())


def filled(*entries: Entry) -> Mailbox:
    mailbox = Mailbox()
    for entry in entries:
        mailbox.post(entry)
    take_in(mailbox)
    return mailbox


def in_work(entry: Entry) -> None:
    entry.event_id, entry.committed, entry.calls, entry.deadline = 7, True, 2, 1.0


def delivery_of(entry: Entry) -> tuple[int, bool, int, float | None]:
    return entry.event_id, entry.committed, entry.calls, entry.deadline


def drained(mailbox: Mailbox) -> list[Entry]:
    out = []
    while (entry := mailbox.next()) is not None:
        out.append(entry)
    return out


def test_events_start_in_the_order_in_which_they_arrived() -> None:
    entries = [action(), message("a"), action(), message("b")]
    assert drained(filled(*entries)) == entries


def test_a_connection_has_one_event_in_work_and_holds_up_nobody_else() -> None:
    first, second, other, call = message("a"), message("a"), message("b"), action()
    mailbox = filled(first, second, other, call)
    assert drained(mailbox) == [first, other, call]
    assert (mailbox.empty, mailbox.may_start) == (False, False)
    mailbox.settled("a")
    assert (mailbox.empty, mailbox.may_start) == (False, True)
    assert drained(mailbox) == [second]
    assert (mailbox.empty, mailbox.may_start) == (True, False)


def test_what_is_put_back_keeps_its_place_and_forgets_its_delivery() -> None:
    first, second, call = message("a"), message("a"), action()
    mailbox = filled(first, second, call)
    assert drained(mailbox) == [first, call]
    in_work(first)
    mailbox.put_back([first])
    assert delivery_of(first) == (0, False, 0, None)
    assert drained(mailbox) == [first]
    mailbox.settled("a")
    assert drained(mailbox) == [second]


def test_a_settled_event_and_the_next_one_of_its_line_go_back_in_order() -> None:
    first, second, third = message("a"), message("a"), message("a")
    mailbox = filled(first, second, third)
    assert mailbox.next() is first
    mailbox.settled("a")
    assert mailbox.next() is second
    mailbox.put_back([second, first])
    assert mailbox.next() is first
    assert mailbox.next() is None
    mailbox.settled("a")
    assert mailbox.next() is second


def test_a_line_can_be_taken_out_with_what_waits_behind_its_event_in_work() -> None:
    first, second, third, other = message("a"), message("a"), message("a"), message("b")
    mailbox = filled(first, second, other)
    mailbox.post(third)
    assert mailbox.next() is first
    assert mailbox.remove_line("a") == [second, third]
    take_in(mailbox)
    assert drained(mailbox) == [other]


def test_actions_and_requests_can_be_taken_out_and_the_rest_stays() -> None:
    call, request, kept, alarm = action(), Entry(Kind.REQUEST), message("a"), Entry(Kind.ALARM)
    mailbox = filled(call, kept, alarm)
    mailbox.post(request)
    assert mailbox.remove_answered() == [call, request]
    mailbox.remove_alarms()
    assert mailbox.waiting() == [kept]
    assert len(mailbox) == 1
    assert mailbox.remove_all() == [kept]
    assert mailbox.empty


class Model(RuleBasedStateMachine):
    """Against the plainest thing that can be right: a list in order of arrival, searched from its head."""

    working = Bundle("working")

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox()
        self.waiting: list[Entry] = []
        self.work: list[Entry] = []

    @rule(line=st.sampled_from([None, "a", "b", "c"]))
    def post(self, line: str | None) -> None:
        entry = action() if line is None else message(line)
        self.mailbox.post(entry)
        self.waiting.append(entry)

    @rule(target=working)
    def start(self) -> Entry | None:
        take_in(self.mailbox)
        busy = {entry.line for entry in self.work}
        expected = next((entry for entry in self.waiting if entry.line is None or entry.line not in busy), None)
        found = self.mailbox.next()
        assert found is expected
        if found is not None:
            self.waiting.remove(found)
            self.work.append(found)
        return found

    @rule(entry=consumes(working))
    def settle(self, entry: Entry | None) -> None:
        if entry in self.work:
            self.work.remove(entry)
            if entry.line is not None:
                self.mailbox.settled(entry.line)

    @rule(entry=consumes(working))
    def put_back(self, entry: Entry | None) -> None:
        if entry in self.work:
            self.work.remove(entry)
            self.mailbox.put_back([entry])
            self.waiting = sorted([*self.waiting, entry], key=lambda one: one.seq)

    @rule()
    def all_back(self) -> None:
        self.mailbox.put_back(reversed(self.work))
        self.waiting = sorted([*self.waiting, *self.work], key=lambda one: one.seq)
        self.work.clear()

    @rule(line=st.sampled_from(["a", "b"]))
    def remove_line(self, line: str) -> None:
        expected = [entry for entry in self.waiting if entry.line == line]
        assert self.mailbox.remove_line(line) == expected
        self.waiting = [entry for entry in self.waiting if entry.line != line]
        self.work = [entry for entry in self.work if entry.line != line]

    @invariant()
    def same(self) -> None:
        assert len(self.mailbox) == len(self.waiting)
        assert self.mailbox.empty == (not self.waiting)
        assert sorted(entry.seq for entry in self.mailbox.waiting()) == [entry.seq for entry in self.waiting]
        assert isinstance(self.mailbox.incoming, deque)


TestAgainstAModel = Model.TestCase
