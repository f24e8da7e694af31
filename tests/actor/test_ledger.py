"""The ledger: what turns enter, and the units that leave."""

from __future__ import annotations

from msgspec.structs import replace

from host.actor.ledger import Ledger
from host.model.effects import ActorChange, EndedSessions, KvPut, TurnEffects
from host.model.limits import Limits
from host.model.records import AttemptRow, DeadLetter
from tests.actor.rows import ACTOR, alarm, closed, connection, image, ledger, message


def test_the_first_unit_claims_the_epoch_even_if_nothing_changed_and_later_ones_do_not() -> None:
    book = Ledger(image(alarms=(alarm("x", due_at=500),)), epoch=7)
    first = book.take_unit(1)
    assert first is not None
    assert (first.actor_id, first.generation, first.epoch, first.hop_seq) == (ACTOR, 3, 7, 41)
    assert first.claims
    assert first.wake_at == 500
    assert book.take_unit(2) is None
    second = book.take_unit(3, must=True)
    assert second is not None
    assert (second.hop_seq, second.claims) == (42, False)


def test_units_number_the_hops_without_a_gap_and_a_hop_without_changes_takes_no_number() -> None:
    book = ledger()
    numbers = []
    for key in (b"a", b"b", b"c"):
        assert book.take_unit(0) is None
        book.apply(TurnEffects(kv=(KvPut(key, b"1"),)))
        unit = book.take_unit(0)
        assert unit is not None
        assert unit.kv == (KvPut(key, b"1"),)
        numbers.append(unit.hop_seq)
    assert numbers == [42, 43, 44]


def test_turns_are_entered_one_after_another_and_the_last_state_counts() -> None:
    book = ledger()
    book.apply(TurnEffects(kv=(KvPut(b"a", b"1"),), state=b"1"))
    book.apply(TurnEffects(kv=(KvPut(b"a", b"2"),), state=b"2"))
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.kv == (KvPut(b"a", b"1"), KvPut(b"a", b"2"))
    assert unit.state == b"2"


def test_an_index_moves_in_the_unit_of_its_turn_only() -> None:
    book = ledger(connection("c", 4), connection("d", 9))
    book.settle_message("c", 5)
    unit = book.take_unit(99)
    assert unit is not None
    assert [(one.conn_id, one.msg_index, one.last_seen_at) for one in unit.indexes] == [("c", 5, 99)]
    assert unit.connections == ()
    assert book.take_unit(0) is None


def test_an_index_that_settles_out_of_order_is_kept_above_the_watermark() -> None:
    book = ledger(connection("c", 4))
    book.settle_message("c", 6)
    unit = book.take_unit(0)
    assert unit is not None
    assert [(one.msg_index, one.settled_ahead) for one in unit.indexes] == [(4, (6,))]
    book.settle_message("c", 5)
    unit = book.take_unit(0)
    assert unit is not None
    assert [(one.msg_index, one.settled_ahead) for one in unit.indexes] == [(6, ())]


def test_a_new_connection_is_one_whole_row_with_its_index_and_what_was_attached() -> None:
    book = ledger()
    book.open_connection(connection("c"))
    book.settle_message("c", 1)
    book.apply(TurnEffects(connections={"c": (b'"s"', ("t",)), "unknown": (b"1", ())}))
    unit = book.take_unit(5)
    assert unit is not None
    (row,) = unit.connections
    assert (row.msg_index, row.state, row.tags, row.last_seen_at) == (1, b'"s"', ("t",), 5)
    assert unit.indexes == ()


def test_a_connection_that_goes_takes_its_index_and_its_attempts_with_it() -> None:
    attempts = (AttemptRow("message", "c", 5, 2, 1), AttemptRow("message", "d", 1, 2, 1))
    book = ledger(connection("c", 4), connection("d"), attempts=attempts)
    book.settle_message("c", 5)
    book.remove_connection("c")
    book.remove_connection("c")
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.connections_gone == ("c",)
    assert unit.attempts_gone == (("message", "c", 5),)
    assert (unit.indexes, unit.connections) == ((), ())
    assert list(book.rows) == list(book.marks) == ["d"]


def test_an_alarm_that_goes_is_named_with_the_setting_that_is_on_disk() -> None:
    book = ledger(alarms=(alarm("x", 4), alarm("y", 5, due_at=2_000)))
    book.apply(TurnEffects(alarms={"x": alarm("x", 6)}))
    book.put_alarm("x", None)
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.alarms_gone == (("x", 4),)
    assert unit.alarms == ()
    assert unit.wake_at == 2_000
    book.apply(TurnEffects(alarms={"y": None}))
    unit = book.take_unit(0)
    assert unit is not None
    assert (unit.alarms_gone, unit.wake_at) == ((("y", 5),), None)


def test_an_alarm_that_never_was_on_disk_goes_without_a_trace() -> None:
    book = ledger()
    book.put_alarm("x", alarm("x", 1))
    book.put_alarm("x", None)
    unit = book.take_unit(0)
    assert unit is not None
    assert (unit.alarms, unit.alarms_gone) == ((), ())


def test_setting_an_alarm_again_after_it_was_stored_names_the_new_setting_from_then_on() -> None:
    book = ledger()
    for fire_seq in (1, 2):
        book.put_alarm("x", alarm("x", fire_seq))
        unit = book.take_unit(0)
        assert unit is not None
        assert [row.fire_seq for row in unit.alarms] == [fire_seq]
    book.put_alarm("x", None)
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.alarms_gone == (("x", 2),)


def test_attempts_are_recorded_and_cleared_and_the_first_writes_nothing() -> None:
    book = ledger(connection("c", 1))
    entry = message("c", 2)
    book.clear_attempt(entry.name)
    assert book.take_unit(0) is None
    entry.attempt, entry.faults = 2, 1
    book.put_attempt(entry)
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.attempts == (AttemptRow("message", "c", 2, 2, 1),)
    book.clear_attempt(entry.name)
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.attempts_gone == (("message", "c", 2),)


def test_an_attempt_that_is_recorded_and_cleared_in_one_hop_leaves_no_row() -> None:
    book = ledger(connection("c", 1))
    entry = message("c", 2)
    entry.attempt = 2
    book.put_attempt(entry)
    book.clear_attempt(entry.name)
    unit = book.take_unit(0)
    assert unit is not None
    assert unit.attempts == ()


def test_the_lasting_name_of_an_event_is_its_kind_connection_and_index() -> None:
    assert message("c", 7).name == ("message", "c", 7)
    assert closed("c").name == ("closed", "c", 0)


def test_a_change_of_the_actor_and_dead_letters_go_into_one_unit() -> None:
    book = ledger()
    change = ActorChange("asleep", 0, None, None, True, 1, "m", 1, 2)
    letter = DeadLetter("message", "c", 1, "guest/trap", "m", 3, 0)
    book.change_actor(change)
    book.dead_letter(letter)
    unit = book.take_unit(0)
    assert unit is not None
    assert (unit.actor, unit.dead_letters) == (change, (letter,))
    assert book.take_unit(0) is None


def test_dead_letters_beyond_the_bound_cost_the_oldest() -> None:
    book = Ledger(replace(image(), letters=2), 7, Limits(dead_letters=3))
    dropped = []
    for count in (1, 0, 1, 5, 0):
        for n in range(count):
            book.dead_letter(DeadLetter("message", "c", n, "r", "m", 3, 0))
        unit = book.take_unit(1, must=True)
        assert unit is not None
        dropped.append(unit.dead_letters_dropped)
    assert dropped == [0, 0, 1, 5, 0]


def test_a_session_that_goes_is_remembered_and_a_plain_connection_is_not() -> None:
    rows = (connection("s", session=b"h"), connection("p"))
    book = Ledger(image(*rows), 7, Limits(session_memory=100, ended_sessions=9))
    for conn in ("s", "p", "unknown"):
        book.remove_connection(conn)
    unit = book.take_unit(1_000)
    assert unit is not None
    assert unit.ended_sessions == EndedSessions((b"h",), 1_000, 900, 9)
    later = book.take_unit(1_001, must=True)
    assert later is not None
    assert later.ended_sessions is None
