"""The rules for wasmtime that no other file here tests; `test_rule_<n>_…` are all of them together.

1 exceptions stay with their isolate (here, test_host_functions) · 2 stacks (test_executor, test_hostile_guests) ·
3 engine, stores, start functions, fork (here, test_hostile_guests) · 4 binary modules, artifacts (test_engine) ·
5 features (test_engine) · 6 checked memory (test_memory, test_host_functions) · 7 bounds (here) · 8 both call paths,
pinned types (here, test_abi; every `start` fixture runs over both) · 9 soft interrupt (test_deadlines, test_js_engine)
· 10 executor (test_executor).
"""

from __future__ import annotations

import gc
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from host.isolate import native
from host.isolate.abi import Kind
from host.isolate.cell import CELLS
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.isolate import Isolate
from host.isolate.trampolines import CheckedExport, UncheckedExport
from host.model.errors import GuestFault, InternalError
from host.model.limits import Limits
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import ECHO, Host, guest

CALLS = "(drop (call $host_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) (i64.const 0)"


def test_rule_1_wasmtime_s_own_slot_for_exceptions_is_never_used(start: Start) -> None:
    from wasmtime import _func

    isolate = start(guest(CALLS), Host(GuestFault("budget", "mine")))
    assert fault_of(lambda: isolate.deliver(b"")).code == "budget"
    assert _func.LAST_EXCEPTION is None


def test_rule_1_the_slot_is_empty_again_after_the_exception_was_raised(start: Start) -> None:
    isolate = start(guest(CALLS), Host(GuestFault("budget", "mine")))
    fault_of(lambda: isolate.deliver(b""))
    assert isolate._cell.reason is None


def test_rule_1_even_an_interrupt_of_the_process_does_not_get_into_c(start: Start) -> None:
    isolate = start(guest(CALLS), Host(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        isolate.deliver(b"")
    assert isolate.dead


def test_rule_3_a_store_is_closed_by_its_owner_and_never_by_the_garbage_collector(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[int] = []
    delete = native.store_delete

    def counting(store: int) -> None:
        deleted.append(store)
        delete(store)

    monkeypatch.setattr(native, "store_delete", counting)
    isolate = Isolate(engine.compile(ECHO), Limits(), Host())
    context, store = isolate._context, isolate._store
    del isolate
    gc.collect()
    assert not deleted
    assert context in CELLS
    CELLS.pop(context)
    delete(store)
    owned = Isolate(engine.compile(ECHO), Limits(), Host())
    owned.close()
    assert len(deleted) == 1


def test_rule_3_a_start_that_fails_leaves_no_store_behind(start: Start) -> None:
    before = len(CELLS)
    fault_of(lambda: start(guest("i64.const 0", more="(func $s unreachable) (start $s)")))
    assert len(CELLS) == before


def test_rule_3_code_is_linked_once_whatever_number_of_threads_ask(engine: Engine) -> None:
    code = engine.compile(ECHO)
    seen: list[int] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait(10)
        seen.append(code.pre_instance())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_rule_3_limits_and_deadline_are_set_before_instantiation(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        call = getattr(native, name)

        def noted(*arguments: Any) -> Any:
            order.append(name)
            return call(*arguments)

        return noted

    for name in ("store_limiter", "set_epoch_deadline", "instance_pre_instantiate"):
        monkeypatch.setattr(native, name, noting(name))
    start(ECHO)
    assert order == ["store_limiter", "set_epoch_deadline", "instance_pre_instantiate"]


def test_rule_3_a_forked_child_cannot_enter_an_isolate(start: Start, engine: Engine) -> None:
    isolate = start(ECHO)
    with warnings.catch_warnings():
        # Later Pythons warn of exactly what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        # The child leaves by _exit, whatever happens: it must not run the rest of the tests.
        verdict = 1
        try:
            for job in (lambda: isolate.deliver(b""), lambda: engine.compile(ECHO)):
                try:
                    job()
                except InternalError:
                    continue
                break
            else:
                verdict = 0
        finally:
            os._exit(verdict)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert isolate.deliver(b"parent") == b"parent"


def test_rule_7_bulk_instructions_over_the_whole_memory_end_at_the_deadline(start: Start) -> None:
    module = guest(
        "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br $l)) (i64.const 0)", memory="256"
    )
    isolate = start(module, turn_deadline=10)
    assert fault_of(lambda: isolate.deliver(b"")).code == "deadline"


def test_rule_8_an_engine_uses_one_of_the_two_paths_for_everything(start: Start, engine: Engine) -> None:
    isolate = start(ECHO)
    kind = CheckedExport if engine.checked else UncheckedExport
    assert {type(isolate._alloc), type(isolate._deliver)} == {kind}


def test_rule_8_nothing_is_linked_before_its_types_are_pinned(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    check = Code.check_abi

    def noting(code: Code, kind: Kind = "wasm") -> None:
        checked.append(kind)
        check(code, kind)

    monkeypatch.setattr(Code, "check_abi", noting)
    Isolate(engine.compile(ECHO), Limits(), Host()).close()
    assert checked == ["wasm"]
