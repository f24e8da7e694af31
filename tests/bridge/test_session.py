"""The session: budgets, ends of turns, hops, and storage that fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import Raw

from host.bridge import envelopes as e
from host.bridge.session import HostCalls
from host.isolate.turn_host import TurnHost
from host.model.errors import GuestFault, InternalError, UnavailableError
from tests.bridge.support import session
from tests.capabilities.support import FakeReader


def as_turn_host(calls: HostCalls) -> TurnHost:
    return calls  # a type checker proves that the session is what an isolate asks for


def test_the_first_call_over_the_budget_is_told_and_the_next_one_ends_the_guest() -> None:
    guest = session(host_calls=3)
    assert as_turn_host(guest.calls).charge() == 0
    guest.ok(e.Now())
    guest.ok(e.Now())
    assert guest.raw(e.Now()) == -3
    with pytest.raises(GuestFault, match="host_calls: 5 used, 3 allowed") as fault:
        guest.raw(e.Now())
    assert fault.value.name == "guest/budget"
    assert fault.value.metadata == b'{"limit":"host_calls","used":5,"allowed":3}'


def test_other_imports_count_as_calls() -> None:
    guest = session(host_calls=1)
    assert guest.calls.charge() == 0
    assert guest.calls.charge() == 1
    with pytest.raises(GuestFault):
        guest.calls.charge()


def test_malformed_calls_count_too() -> None:
    guest = session(host_calls=1)
    assert guest.calls.host_call(b"") == -1
    assert guest.calls.host_call(b"") == -3
    with pytest.raises(GuestFault):
        guest.calls.host_call(b"")


def test_requests_and_replies_count_as_bytes() -> None:
    guest = session(framed=False, host_call_bytes=100)
    used = len(b'{"call":"now"}{"ok":1700000000000}')
    for _ in range(100 // used):
        guest.ok(e.Now())
    assert guest.raw(e.Now()) == -3
    with pytest.raises(GuestFault, match=r"host_call_bytes: .* 100 allowed"):
        guest.raw(e.Now())


def test_a_request_over_the_budget_is_not_carried_out() -> None:
    guest = session(host_call_bytes=3000)
    guest.ok(e.KvPut([(b"a", bytes(1500))]))
    assert guest.raw(e.KvPut([(b"b", bytes(1500))])) == -3
    assert [op.key for op in guest.calls.end_turn().kv] == [b"a"]  # type: ignore[union-attr]


def test_what_never_fits_is_too_large_and_no_fault() -> None:
    guest = session(reader=FakeReader({b"a": bytes(3000)}), host_call_bytes=2000)
    for _ in range(3):
        assert guest.raw(e.KvPut([(b"a", bytes(2000))])) == -4
        assert guest.raw(e.KvGet([b"a"])) == -4
    assert guest.ok(e.KvGet([b"b"])) == [None]
    assert guest.calls.end_turn().kv == ()


def test_a_budget_is_of_one_turn() -> None:
    guest = session(host_calls=2)
    for now in range(5):
        guest.ok(e.Now())
        guest.ok(e.Now())
        assert guest.calls.calls == 2
        guest.calls.end_turn()
        guest.calls.begin_turn(now)


def test_effects_over_the_limit_are_a_fault_at_the_end_of_the_turn() -> None:
    guest = session("conn", effects=1000)
    guest.ok(e.KvPut([(b"a", bytes(400))]))
    guest.ok(e.SocketSend("conn", data=bytes(400)))
    guest.ok(e.AlarmSet("a", at=1, payload=Raw(b'"' + b"x" * 300 + b'"')))
    with pytest.raises(GuestFault, match="effects: 1104 used, 1000 allowed") as fault:
        guest.calls.end_turn()
    assert fault.value.metadata == b'{"limit":"effects","used":1104,"allowed":1000}'


def test_a_state_that_was_refused_and_not_replaced_is_a_fault() -> None:
    guest = session(state=10)
    assert guest.error(e.StatePut(Raw(b'"1234567890"')))["metadata"] == {"limit": "state", "used": 12, "allowed": 10}
    with pytest.raises(GuestFault, match="state: 12 used, 10 allowed") as fault:
        guest.calls.end_turn()
    assert fault.value.name == "guest/budget"


def test_a_state_that_was_refused_and_then_made_smaller_is_fine() -> None:
    guest = session(state=10)
    guest.error(e.StatePut(Raw(b'"1234567890"')))
    guest.ok(e.StatePut(Raw(b'"1"')))
    assert guest.calls.end_turn().state == b'"1"'


def test_a_turn_sees_the_writes_of_the_turns_before_it_in_the_hop_and_records_only_its_own() -> None:
    guest = session("conn")
    guest.ok(e.KvPut([(b"a", b"1")]))
    guest.ok(e.SocketClose("conn"))
    guest.calls.end_turn()
    guest.calls.begin_turn(5)
    assert guest.ok(e.KvGet([b"a"])) == [b"1"]
    assert guest.ok(e.Now()) == 5
    assert guest.error(e.SocketSend("conn", text="x"))["code"] == "connection_closed"
    assert guest.calls.end_turn().size == 0


def test_a_hop_begins_only_when_the_one_before_is_durable() -> None:
    guest = session()
    guest.ok(e.KvPut([(b"a", b"1")]))
    guest.calls.end_turn()
    with pytest.raises(InternalError):
        guest.calls.begin_hop()
    guest.calls.state.committed()
    guest.calls.begin_hop()


def test_outside_a_turn_nothing_is_granted() -> None:
    guest = session()
    guest.calls.end_turn()
    guest.calls.guest_log("info", "nobody listens")
    assert guest.raw(e.Now()) == -2
    with pytest.raises(InternalError):
        guest.calls.end_turn()


def test_timers_outlive_their_turn_and_are_given_back_by_the_actor() -> None:
    guest = session(timers=1)
    assert guest.calls.next_call == 1
    guest.ok(e.Timer(1))
    guest.calls.end_turn()
    guest.calls.begin_turn(1)
    assert guest.error(e.Timer(1))["metadata"]["limit"] == "timers"
    guest.calls.timer_done(1)
    assert guest.ok(e.Timer(1)) == e.TimerStarted(2)


def test_calls_outlive_their_turn_and_one_that_is_given_up_is_not_delivered() -> None:
    guest = session(calls=2)
    guest.ok(e.ActorCall("a", action="x"))
    guest.ok(e.Fetch("https://api.example.com/"))
    guest.calls.end_turn()
    guest.calls.begin_turn(1)
    assert guest.error(e.ActorCall("a", action="x"))["metadata"] == {"limit": "calls", "used": 3, "allowed": 2}
    assert guest.ok(e.CallCancel(1)) is True
    assert not guest.calls.call_done(1)
    assert guest.calls.call_done(2)
    assert not guest.calls.call_done(2)
    assert guest.calls.outstanding == 0


def test_a_body_over_the_limit_of_a_fetch_is_refused() -> None:
    guest = session(body=1_000)
    error = guest.error(e.Fetch("https://api.example.com/", "POST", body=bytes(1_001)))
    assert error["metadata"] == {"limit": "body", "used": 1001, "allowed": 1000}


class BrokenReader(FakeReader):
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        raise UnavailableError("storage", "unavailable", "storage does not answer")


def test_storage_that_fails_is_an_answer_not_a_missing_key() -> None:
    guest = session(reader=BrokenReader())
    error = guest.error(e.KvGet([b"a"]))
    assert (error["group"], error["code"]) == ("storage", "unavailable")


class BuggyReader(FakeReader):
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        raise ZeroDivisionError


def test_a_bug_of_the_host_is_never_told_to_the_guest() -> None:
    with pytest.raises(ZeroDivisionError):
        session(reader=BuggyReader()).raw(e.KvGet([b"a"]))
