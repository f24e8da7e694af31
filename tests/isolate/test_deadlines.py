"""The two stops of a guest that runs too long: the question it may ask, and the epoch that does not ask."""

from __future__ import annotations

import threading

from host.isolate.ticker import Ticker, ticks_for
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import IMPORTS, Host, guest

ASK_UNTIL_TOLD = "(loop $l (br_if $l (i32.eqz (call $interrupted))))"
WASI = """
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
"""


class Unlimited(Host):
    def charge(self) -> int:
        return 0


def test_rule_9_an_interpreter_is_told_before_the_epoch_comes_and_has_time_to_log(start: Start) -> None:
    module = guest(
        ASK_UNTIL_TOLD
        + "(drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))"
        + "(call $exit (i32.const 101)) (i64.const 0)",
        imports=IMPORTS + WASI,
        more='(data (i32.const 0) "\\10\\00\\00\\00\\0c\\00\\00\\00") (data (i32.const 16) "at actor.js\\n")',
    )
    host = Unlimited()
    isolate = start(module, host, turn_deadline=20)
    fault = fault_of(lambda: isolate.deliver(b""))
    assert fault.code == "deadline"
    assert host.logs == [("error", "at actor.js")]
    assert (fault.detail or "").startswith("proc_exit(101)")


def test_rule_9_a_guest_that_was_told_to_stop_and_returned_is_past_its_deadline_all_the_same(start: Start) -> None:
    isolate = start(guest(ASK_UNTIL_TOLD + "(i64.const 0)"), Unlimited(), turn_deadline=10)
    assert fault_of(lambda: isolate.deliver(b"")).code == "deadline"
    assert isolate.dead


def test_a_guest_that_does_not_listen_meets_the_epoch(start: Start) -> None:
    isolate = start(guest("(loop $l (drop (call $interrupted)) (br $l)) (i64.const 0)"), Unlimited(), turn_deadline=10)
    fault = fault_of(lambda: isolate.deliver(b""))
    assert fault.code == "deadline"
    assert "interrupt" in (fault.detail or "")


def test_a_guest_that_only_asks_uses_up_its_calls(start: Start) -> None:
    class Poor(Host):
        def __init__(self) -> None:
            super().__init__()
            self.charged = 0

        def charge(self) -> int:
            self.charged += 1
            return 1 if self.charged > 10 else 0

    host = Poor()
    isolate = start(guest("(loop $l (drop (call $interrupted)) (br $l)) (i64.const 0)"), host, turn_deadline=10_000)
    assert fault_of(lambda: isolate.deliver(b"")).code == "budget"
    assert host.charged == 11


def test_every_entry_has_a_deadline_of_its_own(start: Start) -> None:
    """Three entries of two thirds of the deadline each."""

    class Slow(Host):
        def host_call(self, req: bytes) -> bytes | int:
            ticker = isolate.code.engine.ticker
            until = ticker.ticks + 4
            while ticker.ticks < until:
                pass
            return -1

    module = guest(
        "(drop (call $host_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"
        "(call $pack (local.get $p) (call $interrupted))"
    )
    isolate = start(module, Slow(), turn_deadline=100)
    for _ in range(3):
        assert isolate.deliver(b"x") == b""


def test_a_deadline_is_whole_ticks() -> None:
    assert [ticks_for(ms) for ms in (0, 1, 10, 11, 1_000)] == [1, 1, 1, 2, 100]


def _ticks_of(times: list[float]) -> list[int]:
    """How many ticks each wake-up makes, for a clock that says these times."""
    beats = 0
    steps: list[int] = []
    left = iter(times)
    done = threading.Event()
    seen = 0

    def monotonic() -> float:
        nonlocal seen
        if beats or seen:
            steps.append(beats - seen)
            seen = beats
        try:
            return next(left)
        except StopIteration:
            done.set()
            return times[-1]

    def beat() -> None:
        nonlocal beats
        beats += 1

    ticker = Ticker(beat, monotonic)
    assert done.wait(5)
    ticker.stop()
    ticker.stop()
    assert ticker.stopped
    assert ticker.ticks == beats
    return steps[: len(times) - 1]


def test_the_heartbeat_catches_up_with_the_clock_but_never_by_much() -> None:
    # On time; 15 ms twice (half a tick is owed, then paid); then a minute in which the process was stopped.
    assert _ticks_of([0.0, 0.010, 0.025, 0.040, 60.0, 60.011]) == [1, 1, 2, 3, 1]
