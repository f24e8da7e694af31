"""Guests that loop, recurse, grow, point wrong and leave early: each ends alone, with the fault that says why."""

from __future__ import annotations

import pytest

from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.isolate import Isolate
from host.model.errors import GuestFault
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import ECHO, IMPORTS, Host, guest

LOOP = "(loop $l (br $l)) (i64.const 0)"
WASI_EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'


def end_of(isolate: Isolate) -> GuestFault:
    fault = fault_of(lambda: run_on_guest_thread(lambda: isolate.deliver(b"hello")))
    assert isolate.dead
    return fault


def test_an_endless_loop_ends_at_the_deadline(start: Start) -> None:
    fault = end_of(start(guest(LOOP, imports=""), turn_deadline=30))
    assert fault.code == "deadline"
    assert "turn_deadline" in fault.message
    assert "30 ms allowed" in fault.message
    assert fault.metadata == b'{"limit":"turn_deadline","used":30,"allowed":30}'
    assert "wasm backtrace" in (fault.detail or "")


def test_an_endless_loop_in_alloc_ends_at_the_deadline(start: Start) -> None:
    assert (
        end_of(start(guest("i64.const 0", alloc="(loop $l (br $l)) (i32.const 0)"), turn_deadline=10)).code
        == "deadline"
    )


def test_rule_2_endless_recursion_is_a_stack_fault(start: Start) -> None:
    fault = end_of(start(guest("(call $deliver (local.get $p) (local.get $n))")))
    assert fault.code == "stack"
    assert "call stack exhausted" in (fault.detail or "")
    assert fault.metadata == b'{"limit":"stack","used":2097152,"allowed":2097152}'


def test_rule_2_recursion_through_host_calls_is_a_stack_fault(start: Start) -> None:
    module = guest(
        "(drop (call $host_call (local.get $p) (local.get $n) (i32.const 0) (i32.const 0)))"
        "(call $deliver (local.get $p) (local.get $n))"
    )
    assert end_of(start(module, Host(-1))).code == "stack"


GROW = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const {step})) (i32.const -1))))"


def test_growth_past_the_limit_is_refused_and_a_trap_after_it_is_a_memory_fault(start: Start) -> None:
    isolate = start(guest(GROW.format(step=4) + "unreachable"), memory=4 * 1024 * 1024)
    fault = end_of(isolate)
    assert fault.code == "memory"
    assert "memory:" in fault.message
    assert isolate.memory_bytes <= 4 * 1024 * 1024


def test_a_guest_that_copes_with_refused_growth_goes_on(start: Start) -> None:
    isolate = start(guest(GROW.format(step=4) + "(call $pack (i32.const 0) (i32.const 1))"), memory=4 * 1024 * 1024)
    assert isolate.deliver(b"") == b"\0"
    assert 3 * 1024 * 1024 < isolate.memory_bytes <= 4 * 1024 * 1024


def test_a_trap_far_from_the_limit_is_no_memory_fault(start: Start) -> None:
    module = guest("(drop (memory.grow (i32.const 1000))) (drop (memory.grow (i32.const 1))) unreachable")
    assert end_of(start(module, memory=4 * 1024 * 1024)).code == "trap"


def test_a_trap_of_a_guest_that_never_grew_is_no_memory_fault(start: Start) -> None:
    assert end_of(start(guest("unreachable", memory="16"), memory=16 * 65_536)).code == "trap"


def test_tables_do_not_grow_past_their_limit(start: Start) -> None:
    module = guest(
        "(local.set $r (i32.const 2048))"
        "(i32.store (local.get $r) (table.grow $t (ref.null func) (i32.const 10000)))"
        "(i32.store offset=4 (local.get $r) (table.grow $t (ref.null func) (i32.const 9000)))"
        "(call $pack (local.get $r) (i32.const 8))",
        more="(table $t 1 funcref)",
    )
    assert start(module).deliver(b"") == b"\xff\xff\xff\xff" + b"\1\0\0\0"


@pytest.mark.parametrize(
    ("pointer", "length"),
    [
        (-1, 1),
        (0, -1),
        (-1, -1),
        (0x7FFF_FFFF, 0x7FFF_FFFF),
        (-16, 32),
        (131_072, 1),
        (131_071, 2),
        (131_073, 0),
        (0, 131_073),
    ],
)
def test_a_reply_outside_the_memory_is_a_bad_pointer(start: Start, pointer: int, length: int) -> None:
    fault = end_of(start(guest(f"(call $pack (i32.const {pointer}) (i32.const {length}))")))
    assert fault.code == "bad_pointer"
    assert str(pointer & 0xFFFF_FFFF) in fault.message


def test_a_reply_at_the_very_end_of_the_memory_is_fine(start: Start) -> None:
    assert start(guest("(call $pack (i32.const 131070) (i32.const 2))")).deliver(b"") == b"\0\0"
    assert start(guest("(call $pack (i32.const 131072) (i32.const 0))")).deliver(b"") == b""


@pytest.mark.parametrize("pointer", [-1, -3, 131_072, 131_070])
def test_room_outside_the_memory_is_a_bad_pointer(start: Start, pointer: int) -> None:
    assert end_of(start(guest("i64.const 0", alloc=f"i32.const {pointer}"))).code == "bad_pointer"


def test_a_reply_over_its_limit_is_a_bad_reply(start: Start) -> None:
    fault = end_of(start(guest("(call $pack (i32.const 0) (i32.const 1001))"), reply=1_000))
    assert fault.code == "bad_reply"
    assert fault.metadata == b'{"limit":"reply","used":1001,"allowed":1000}'
    assert len(start(guest("(call $pack (i32.const 0) (i32.const 1000))"), reply=1_000).deliver(b"")) == 1_000


@pytest.mark.parametrize(
    "arguments",
    [
        "(i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)",
        "(i32.const 131072) (i32.const 1) (i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const 1) (i32.const -8) (i32.const 16)",
        "(i32.const 0) (i32.const 1) (i32.const 0) (i32.const -1)",
        "(i32.const 0) (i32.const 1) (i32.const 131000) (i32.const 100)",
    ],
)
def test_a_host_call_with_bad_pointers_is_refused_before_the_host_sees_it(start: Start, arguments: str) -> None:
    host = Host()
    assert end_of(start(guest(f"(drop (call $host_call {arguments})) (i64.const 0)"), host)).code == "bad_pointer"
    assert host.requests == []


@pytest.mark.parametrize(
    ("code", "fault"), [(101, "deadline"), (102, "memory"), (103, "trap"), (0, "trap"), (-1, "trap")]
)
def test_proc_exit_ends_the_guest_with_the_fault_of_its_code(start: Start, code: int, fault: str) -> None:
    module = guest(f"(call $exit (i32.const {code})) (i64.const 0)", imports=IMPORTS + WASI_EXIT)
    ended = end_of(start(module))
    assert ended.code == fault
    assert "proc_exit" in ended.message + (ended.detail or "")


@pytest.mark.parametrize(
    ("start_function", "fault"),
    [
        ("(func $s unreachable) (start $s)", "trap"),
        ("(func $s (call $s)) (start $s)", "stack"),
        ("(func $s (loop $l (br $l))) (start $s)", "deadline"),
        ('(func (export "_initialize") unreachable)', "trap"),
        ('(func $s (export "_initialize") (loop $l (br $l)))', "deadline"),
    ],
)
def test_what_runs_at_instantiation_is_guest_code_too(start: Start, start_function: str, fault: str) -> None:
    module = guest("i64.const 0", more=start_function)
    ended = fault_of(lambda: run_on_guest_thread(lambda: start(module, turn_deadline=20)))
    assert ended.code == fault


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("(drop (i32.div_u (i32.const 1) (i32.const 0))) (i64.const 0)", "integer divide by zero"),
        ("(drop (i32.load (i32.const -1))) (i64.const 0)", "out of bounds memory access"),
        ("(call_indirect (i32.const 0)) (i64.const 0)", "uninitialized element"),
    ],
)
def test_other_traps_name_their_cause(start: Start, body: str, cause: str) -> None:
    fault = end_of(start(guest(body, more="(table 1 funcref)")))
    assert fault.code == "trap"
    assert cause in fault.message


def test_names_of_functions_that_are_not_text_do_no_harm(start: Start) -> None:
    module = guest("unreachable")
    module += b"\0" + bytes([4 + 1 + 5]) + b"\x04name" + b"\x01\x03\x01\x00\x00"
    assert end_of(start(module)).code == "trap"


def test_other_isolates_go_on_when_one_ends(start: Start) -> None:
    bystander = start(ECHO)
    for module in (guest("unreachable"), guest(LOOP), guest("(call $deliver (local.get $p) (local.get $n))")):
        end_of(start(module, turn_deadline=10))
        assert bystander.deliver(b"still here") == b"still here"
