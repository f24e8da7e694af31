"""An isolate's life: entries, owner, limits, close."""

from __future__ import annotations

import ctypes
import threading

import pytest
from wasmtime import _bindings

from host.isolate import native
from host.isolate.cell import CELLS
from host.isolate.engine import Engine
from host.isolate.faults import instantiate_fault
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.errors import DormiceError, GuestFault, InternalError, TenantError
from host.model.limits import Limits
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import ECHO, IMPORTS, Host, guest

CALL = "(drop (call $host_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) (i64.const 0)"


def test_an_envelope_goes_in_and_the_reply_comes_out(start: Start) -> None:
    isolate = start(ECHO)
    for size in (0, 1, 100, 60_000):
        assert isolate.deliver(b"x" * size) == b"x" * size
    assert not isolate.dead
    assert isolate.memory_bytes == 2 * 65_536


def test_initialize_runs_once_before_the_first_turn(start: Start) -> None:
    module = guest(
        "(i32.store (i32.const 0) (global.get $runs)) (call $pack (i32.const 0) (i32.const 4))",
        more="""(global $runs (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $runs (i32.add (global.get $runs) (i32.const 1))))""",
    )
    isolate = start(module)
    assert isolate.deliver(b"") == isolate.deliver(b"") == b"\1\0\0\0"


def test_a_fault_leaves_the_isolate_dead_and_it_is_never_entered_again(start: Start) -> None:
    isolate = start(guest("unreachable"))
    assert fault_of(lambda: isolate.deliver(b"")).code == "trap"
    assert isolate.dead
    with pytest.raises(InternalError):
        isolate.deliver(b"")


def test_a_second_entry_while_one_is_under_way_is_refused(start: Start) -> None:
    caught: list[BaseException] = []

    class Nosy(Host):
        def host_call(self, req: bytes) -> bytes | int:
            for job in (lambda: isolate.deliver(b""), isolate.close):
                with pytest.raises(InternalError) as refused:
                    job()
                caught.append(refused.value)
            other = threading.Thread(target=self.from_another_thread)
            other.start()
            other.join()
            return -1

        def from_another_thread(self) -> None:
            with pytest.raises(InternalError) as refused:
                isolate.deliver(b"")
            caught.append(refused.value)

    isolate = start(guest(CALL), Nosy())
    assert isolate.deliver(b"hi") == b""
    assert len(caught) == 3
    assert isolate.deliver(b"hi") == b"", "the refused entries did no harm"


def test_close_may_be_called_twice_and_ends_the_isolate(start: Start) -> None:
    isolate = start(ECHO)
    isolate.close()
    isolate.close()
    assert isolate.dead
    with pytest.raises(InternalError):
        isolate.deliver(b"")


def test_the_host_can_be_swapped_between_entries(start: Start) -> None:
    module = guest(
        "(call $pack (i32.const 16) (call $host_call (local.get $p) (local.get $n) (i32.const 16) (i32.const 100)))"
    )
    isolate = start(module, Host(b"first"))
    assert isolate.deliver(b"") == b"first"
    isolate.host = Host(b"second")
    assert isolate.deliver(b"") == b"second"


def test_the_null_host_refuses_calls_and_stands_still_at_zero() -> None:
    host = NullTurnHost(b"seed")
    assert host.now_ms == 0
    assert host.host_call(b"{}") == -2
    one, other = NullTurnHost(b"seed"), NullTurnHost(b"other")
    stream = one.random(10) + one.random(5_000)
    again = NullTurnHost(b"seed")
    assert again.random(10) + again.random(5_000) == stream
    assert other.random(10) != stream[:10]
    assert len(stream) == 5_010


def test_the_null_host_bounds_calls_and_logs() -> None:
    host = NullTurnHost(b"", Limits(host_calls=2, log_turn=10))
    assert [host.charge(), host.charge(), host.charge()] == [0, 0, 1]
    fault = fault_of(host.charge)
    assert (fault.code, b'"allowed":2' in (fault.metadata or b"")) == ("budget", True)
    for _ in range(3):
        host.guest_log("info", "a long line of text")
    assert host.logs == [("info", "a long lin")]


def test_a_module_that_starts_above_the_memory_limit_is_refused(start: Start) -> None:
    fault = fault_of(lambda: start(guest("i64.const 0", memory="20"), memory=16 * 65_536))
    assert fault.code == "memory"
    assert fault.metadata == b'{"limit":"memory","used":1310720,"allowed":1048576}'


def test_a_module_with_too_large_a_table_is_refused(start: Start) -> None:
    assert fault_of(lambda: start(guest("i64.const 0", more="(table 10001 funcref)"))).code == "memory"
    tables = "(table 1 funcref)" * 5
    assert fault_of(lambda: start(guest("i64.const 0", more=tables))).code == "memory"


def test_js_extras_are_only_there_for_the_js_kind(start: Start) -> None:
    isolate = start(ECHO)
    with pytest.raises(TenantError) as caught:
        isolate.load(b"x")
    assert caught.value.name == "module/bad_export"
    assert not isolate.dead


def test_load_and_reseed_use_the_extra_exports(start: Start, engine: Engine) -> None:
    module = guest(
        "(i64.store (i32.const 0) (global.get $seed)) (call $pack (i32.const 0) (i32.const 8))",
        more="""(global $seed (mut i64) (i64.const 0))
        (func (export "boot") (param i32 i32) (result i32) i32.const 0)
        (func (export "prelude") (param i32 i32) (result i64) i64.const 0)
        (func (export "load") (param $p i32) (param $n i32) (result i64) (call $pack (local.get $p) (local.get $n)))
        (func (export "reseed") (param $s i64) (global.set $seed (local.get $s)))
        (func (export "heap_used") (result i32) i32.const 77)
        (func (export "gc"))""",
    )
    code = engine.compile(module)
    code.check_abi("js")
    isolate = start(code)
    assert isolate.load(b"export default 1") == b"export default 1"
    isolate.reseed(-2)
    assert isolate.deliver(b"") == (2**64 - 2).to_bytes(8, "little")
    isolate.reseed(2**63 + 5)
    assert isolate.deliver(b"") == (2**63 + 5).to_bytes(8, "little")
    assert isolate.invoke("heap_used") & 0xFFFF_FFFF == 77
    assert isolate.invoke("gc") is not None


def test_many_isolates_of_one_code_do_not_share_memory(start: Start, engine: Engine) -> None:
    code = engine.compile(
        guest(
            "(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))"
            "(call $pack (i32.const 0) (i32.const 1))"
        )
    )
    isolates = [start(code) for _ in range(20)]
    assert [i.deliver(b"") for i in isolates for _ in range(2)] == [b"\1", b"\2"] * 20


def test_an_engine_is_not_closed_while_a_guest_runs_and_refuses_everything_afterwards() -> None:
    engine = Engine()
    refused: list[str] = []

    class Closing(Host):
        def host_call(self, req: bytes) -> bytes | int:
            with pytest.raises(InternalError) as caught:
                engine.close()
            refused.append(str(caught.value.detail))
            return -1

    code = engine.compile(guest(CALL))
    isolate = Isolate(code, Limits(), Closing())
    isolate.deliver(b"")
    assert refused == ["the engine was closed while 1 guests ran"]
    engine.close()
    engine.close()
    with pytest.raises(InternalError):
        isolate.deliver(b"")
    with pytest.raises(InternalError):
        engine.compile(ECHO)
    with pytest.raises(InternalError):
        Isolate(code, Limits(), Host())
    isolate.close()


def test_without_room_on_the_machine_the_answer_is_node_full() -> None:
    full = instantiate_fault("failed to allocate: Cannot allocate memory (os error 12)", Limits())
    assert (full.name, full.retryable) == ("node/full", True)
    assert instantiate_fault("memory minimum size of 20 pages exceeds", Limits()).name == "guest/memory"


def test_a_host_function_that_finds_no_isolate_ends_the_guest_without_raising(start: Start) -> None:
    isolate = start(guest(CALL))
    context = next(context for context, cell in CELLS.items() if cell is isolate._cell)
    cell = CELLS.pop(context)
    try:
        assert fault_of(lambda: isolate.deliver(b"")).code == "trap"
    finally:
        CELLS[context] = cell


def test_native_argument_blocks_have_the_size_that_wasmtime_expects() -> None:
    assert ctypes.sizeof(_bindings.wasmtime_val_raw_t) == 2 * ctypes.sizeof(ctypes.c_uint64)
    assert ctypes.sizeof(_bindings.wasmtime_instance_t) <= 32
    assert (native.EXTERN_FUNC, native.EXTERN_GLOBAL, native.EXTERN_MEMORY) == (0, 1, 3)


def test_an_error_of_the_host_in_a_start_function_is_a_fault_of_the_start(start: Start) -> None:
    module = guest(
        "i64.const 0",
        imports=IMPORTS,
        more="(func $s (drop (call $host_read (i32.const 0) (i32.const 0)))) (start $s)",
    )
    fault: DormiceError = fault_of(lambda: start(module))
    assert isinstance(fault, GuestFault)
    assert "start function" in fault.message
