"""What a guest's imports do: host_call, host_read, and the part of WASI that there is."""

from __future__ import annotations

import threading

import pytest

from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.isolate import Isolate
from host.model.errors import GuestFault, InternalError, UnavailableError
from host.model.limits import Limits
from tests.isolate.conftest import Start, fault_of
from tests.isolate.guests import IMPORTS, Host, guest

ASK = "(call $host_call (local.get $p) (local.get $n) (i32.const 2048) (i32.const {cap}))"
STORE_ANSWER = "(i32.store (i32.const 0) {answer}) (call $pack (i32.const 0) (i32.const 4))"


def number(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


# --- host_call and host_read --------------------------------------------------------------------------------------


def test_a_host_call_carries_the_request_out_and_the_reply_in(start: Start) -> None:
    host = Host(b'{"ok":[1,2]}')
    isolate = start(guest(f"(call $pack (i32.const 2048) {ASK.format(cap=100)})"), host)
    assert isolate.deliver(b'{"call":"kv_get"}') == b'{"ok":[1,2]}'
    assert host.requests == [b'{"call":"kv_get"}']


@pytest.mark.parametrize("answer", [-1, -2, -3, -4])
def test_a_number_of_the_host_reaches_the_guest(start: Start, answer: int) -> None:
    isolate = start(guest(STORE_ANSWER.format(answer=ASK.format(cap=100))), Host(answer))
    assert number(isolate.deliver(b"x")) == answer


def test_a_request_over_the_byte_limit_is_too_large_and_never_copied(start: Start) -> None:
    host = Host()
    isolate = start(guest(STORE_ANSWER.format(answer=ASK.format(cap=100))), host, host_call_bytes=50)
    assert number(isolate.deliver(b"x" * 51)) == -4
    assert host.requests == []
    assert number(isolate.deliver(b"x" * 50)) == len(b'{"ok":null}')


def read_after(call: str, reads: int, length: int = 100) -> bytes:
    """Makes the call, then reads the kept reply some times; answers with the numbers and 16 bytes of the room."""
    body = f"(i32.store (i32.const 0) {call})"
    for i in range(1, reads + 1):
        body += f"(i32.store (i32.const {4 * i}) (call $host_read (i32.const 16) (i32.const {length})))"
    return guest(body + "(call $pack (i32.const 0) (i32.const 32))")


def test_a_reply_that_does_not_fit_is_kept_and_taken_once(start: Start) -> None:
    reply = start(read_after(ASK.format(cap=3), 2), Host(b"12345678")).deliver(b"")
    assert [number(reply[i : i + 4]) for i in (0, 4, 8)] == [8, 8, -5]
    assert reply[16:25] == b"12345678\0"


def test_a_reply_that_fits_is_not_kept(start: Start) -> None:
    reply = start(read_after(ASK.format(cap=8), 1), Host(b"12345678")).deliver(b"")
    assert [number(reply[i : i + 4]) for i in (0, 4)] == [8, -5]


def test_a_read_with_too_little_room_copies_nothing_and_keeps_the_reply(start: Start) -> None:
    module = guest(
        "(drop " + ASK.format(cap=0) + ")"
        "(i32.store (i32.const 0) (call $host_read (i32.const 16) (i32.const 7)))"
        "(i32.store (i32.const 4) (i32.load (i32.const 16)))"
        "(i32.store (i32.const 8) (call $host_read (i32.const 16) (i32.const 8)))"
        "(call $pack (i32.const 0) (i32.const 24))"
    )
    reply = start(module, Host(b"12345678")).deliver(b"")
    assert [number(reply[i : i + 4]) for i in (0, 4, 8)] == [-4, 0, 8]
    assert reply[16:] == b"12345678"


def test_a_kept_reply_does_not_outlive_the_next_call(start: Start) -> None:
    class First(Host):
        def host_call(self, req: bytes) -> bytes | int:
            super().host_call(req)
            return b"12345678" if len(self.requests) == 1 else -2

    module = read_after(f"(drop {ASK.format(cap=0)}) {ASK.format(cap=0)}", 1)
    reply = start(module, First()).deliver(b"")
    assert [number(reply[i : i + 4]) for i in (0, 4)] == [-2, -5]


def test_a_kept_reply_does_not_outlive_the_entry(start: Start) -> None:
    module = guest(
        f"""(if (local.get $n) (then (drop {ASK.format(cap=0)})))
        (if (i32.eqz (local.get $n)) (then (i32.store (i32.const 0) (call $host_read (i32.const 16) (i32.const 8)))))
        (call $pack (i32.const 0) (i32.const 4))"""
    )
    isolate = start(module, Host(b"12345678"))
    isolate.deliver(b"call")
    assert number(isolate.deliver(b"")) == -5


def test_reading_with_a_bad_pointer_is_a_fault(start: Start) -> None:
    for arguments in ("(i32.const -4) (i32.const 8)", "(i32.const 0) (i32.const -1)"):
        module = guest(f"(drop {ASK.format(cap=0)}) (drop (call $host_read {arguments})) (i64.const 0)")
        isolate = start(module, Host(b"12345678"))
        assert fault_of(lambda isolate=isolate: isolate.deliver(b"")).code == "bad_pointer"  # type: ignore[misc]


class Counting(Host):
    """Lets `allowed` calls pass, answers 1 to the next, and ends the guest at the one after."""

    def __init__(self, allowed: int) -> None:
        super().__init__()
        self.left = allowed + 1

    def charge(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise GuestFault("budget", "host_calls: used up")
        return 1 if self.left == 0 else 0


def test_the_first_import_over_the_budget_gets_a_number_and_the_next_ends_the_guest(start: Start) -> None:
    isolate = start(read_after("(i32.const 0)", 2), Counting(1))
    reply = isolate.deliver(b"")
    assert [number(reply[i : i + 4]) for i in (4, 8)] == [-5, -3]
    isolate = start(read_after("(i32.const 0)", 3), Counting(1))
    fault = fault_of(lambda: isolate.deliver(b""))
    assert fault.code == "budget"
    assert "backtrace" in (fault.detail or "")


# --- exceptions of the host ---------------------------------------------------------------------------------------


def test_an_error_of_the_host_comes_out_of_the_entry_as_it_is(start: Start) -> None:
    error = UnavailableError("storage", "unavailable", "try again later")
    isolate = start(guest(f"(drop {ASK.format(cap=0)}) (i64.const 0)"), Host(error))
    with pytest.raises(UnavailableError) as caught:
        isolate.deliver(b"")
    assert caught.value is error
    assert isolate.dead


def test_a_bug_of_the_host_is_an_internal_error_with_its_cause(start: Start) -> None:
    isolate = start(guest(f"(drop {ASK.format(cap=0)}) (i64.const 0)"), Host(KeyError("secret")))
    with pytest.raises(InternalError) as caught:
        isolate.deliver(b"")
    assert "secret" not in str(caught.value)
    assert "KeyError" in (caught.value.detail or "")
    assert isinstance(caught.value.__cause__, KeyError)


# --- WASI ---------------------------------------------------------------------------------------------------------

SIGNATURES = {
    "fd_write": ("i32 i32 i32 i32", "i32"),
    "fd_close": ("i32", "i32"),
    "fd_fdstat_get": ("i32 i32", "i32"),
    "fd_seek": ("i32 i64 i32 i32", "i32"),
    "clock_time_get": ("i32 i64 i32", "i32"),
    "random_get": ("i32 i32", "i32"),
    "environ_get": ("i32 i32", "i32"),
    "environ_sizes_get": ("i32 i32", "i32"),
    "args_get": ("i32 i32", "i32"),
    "args_sizes_get": ("i32 i32", "i32"),
    "sched_yield": ("", "i32"),
}


def wasi_guest(function: str, arguments: str, *, data: str = "") -> bytes:
    """Calls one function; answers with its error number and the memory from 16 to 64."""
    params, result = SIGNATURES[function]
    imported = f'(import "wasi_snapshot_preview1" "{function}" (func $f (param {params}) (result {result})))'
    body = f"(i32.store (i32.const 0) (call $f {arguments})) (call $pack (i32.const 0) (i32.const 64))"
    return guest(body, imports=imported, more=data)


def consts(*values: int) -> str:
    return " ".join(f"(i32.const {value})" for value in values)


def test_the_clock_is_the_turns_and_stands_still(start: Start) -> None:
    host = Host()
    host.now_ms = 1_700_000_000_123
    isolate = start(wasi_guest("clock_time_get", "(i32.const 0) (i64.const 1) (i32.const 16)"), host)
    for _ in range(2):
        reply = isolate.deliver(b"")
        assert number(reply[:4]) == 0
        assert int.from_bytes(reply[16:24], "little") == 1_700_000_000_123_000_000
    unknown = start(wasi_guest("clock_time_get", "(i32.const 9) (i64.const 1) (i32.const 16)"))
    assert number(unknown.deliver(b"")[:4]) == 28


def test_randomness_is_the_stream_of_the_host(start: Start) -> None:
    isolate = start(wasi_guest("random_get", consts(16, 32)), Host())
    assert isolate.deliver(b"")[16:48] == Host().random(32)
    too_much = start(wasi_guest("random_get", consts(0, 65_537)))
    assert number(too_much.deliver(b"")[:4]) == 28


VECTORS = (
    '(data (i32.const 100) "\\c8\\00\\00\\00\\05\\00\\00\\00\\d0\\00\\00\\00\\02\\00\\00\\00")'
    '(data (i32.const 200) "hello") (data (i32.const 208) "!\\n")'
)


@pytest.mark.parametrize(("fd", "level"), [(1, "info"), (2, "error")])
def test_standard_output_and_error_are_the_log(start: Start, fd: int, level: str) -> None:
    host = Host()
    reply = start(wasi_guest("fd_write", consts(fd, 100, 2, 16), data=VECTORS), host).deliver(b"")
    assert (number(reply[:4]), number(reply[16:20])) == (0, 7)
    assert host.logs == [(level, "hello!")]


def test_writing_elsewhere_or_too_much_is_refused_or_cut(start: Start) -> None:
    host = Host()
    assert number(start(wasi_guest("fd_write", consts(3, 100, 2, 16), data=VECTORS), host).deliver(b"")[:4]) == 8
    assert number(start(wasi_guest("fd_write", consts(1, 100, 1025, 16), data=VECTORS), host).deliver(b"")[:4]) == 28
    assert host.logs == []
    long = '(data (i32.const 100) "\\00\\00\\00\\00\\00\\80\\01\\00")'
    reply = start(wasi_guest("fd_write", consts(1, 100, 1, 16), data=long), host).deliver(b"")
    assert (number(reply[:4]), number(reply[16:20])) == (0, 65_536)


def test_bytes_that_are_no_text_are_logged_all_the_same(start: Start) -> None:
    host = Host()
    data = '(data (i32.const 100) "\\c8\\00\\00\\00\\02\\00\\00\\00") (data (i32.const 200) "\\ff\\fe")'
    start(wasi_guest("fd_write", consts(1, 100, 1, 16), data=data), host).deliver(b"")
    assert host.logs == [("info", "\ufffd\ufffd")]


@pytest.mark.parametrize(
    ("function", "arguments", "answer"),
    [
        ("fd_close", consts(1), 0),
        ("fd_close", consts(3), 8),
        ("fd_seek", "(i32.const 1) (i64.const 0) (i32.const 0) (i32.const 16)", 70),
        ("fd_seek", "(i32.const 5) (i64.const 0) (i32.const 0) (i32.const 16)", 8),
        ("fd_fdstat_get", consts(0, 16), 8),
        ("fd_fdstat_get", consts(2, 16), 0),
        ("environ_get", consts(16, 16), 0),
        ("args_get", consts(16, 16), 0),
        ("sched_yield", "", 0),
    ],
)
def test_the_rest_answers_an_error_number(start: Start, function: str, arguments: str, answer: int) -> None:
    assert number(start(wasi_guest(function, arguments)).deliver(b"")[:4]) == answer


def test_output_is_a_character_device_that_can_be_written(start: Start) -> None:
    reply = start(wasi_guest("fd_fdstat_get", consts(1, 16))).deliver(b"")
    assert reply[16:40] == b"\2" + bytes(7) + b"\x40" + bytes(15)


@pytest.mark.parametrize("function", ["environ_sizes_get", "args_sizes_get"])
def test_there_are_no_arguments_and_no_environment(start: Start, function: str) -> None:
    fill = '(data (i32.const 16) "\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff")'
    reply = start(wasi_guest(function, consts(16, 20), data=fill)).deliver(b"")
    assert reply[16:24] == bytes(8)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("fd_write", consts(1, -1, 1, 16)),
        ("fd_write", consts(1, 131_064, 2, 16)),
        ("fd_write", consts(1, 100, 1, -2)),
        ("fd_fdstat_get", consts(1, 131_060)),
        ("clock_time_get", "(i32.const 0) (i64.const 1) (i32.const 131068)"),
        ("random_get", consts(-1, 1)),
        ("random_get", consts(0, -1)),
        ("environ_sizes_get", consts(-1, 0)),
        ("args_sizes_get", consts(0, 131_072)),
    ],
)
def test_a_bad_pointer_into_wasi_is_a_fault(start: Start, function: str, arguments: str) -> None:
    isolate = start(wasi_guest(function, arguments, data=VECTORS))
    assert fault_of(lambda: isolate.deliver(b"")).code == "bad_pointer"


def test_a_vector_that_points_outside_is_a_fault(start: Start) -> None:
    for vector in ("\\00\\00\\00\\00\\ff\\ff\\ff\\ff", "\\ff\\ff\\ff\\ff\\01\\00\\00\\00"):
        isolate = start(wasi_guest("fd_write", consts(1, 100, 1, 16), data=f'(data (i32.const 100) "{vector}")'))
        assert fault_of(lambda isolate=isolate: isolate.deliver(b"")).code == "bad_pointer"  # type: ignore[misc]


@pytest.mark.parametrize("function", sorted(SIGNATURES))
def test_every_function_counts_as_a_call(start: Start, function: str) -> None:
    params, _ = SIGNATURES[function]
    arguments = " ".join("(i64.const 0)" if p == "i64" else "(i32.const 0)" for p in params.split())
    reply = start(wasi_guest(function, arguments), Counting(0)).deliver(b"")
    assert number(reply[:4]) == 6
    begun = start(wasi_guest(function, arguments), Counting(-1))
    assert fault_of(lambda: begun.deliver(b"")).code == "budget"


def test_rule_6_memory_that_grows_in_the_middle_of_a_turn_is_seen_at_its_new_place(dense_engine: Engine) -> None:
    """The dense profile reserves nothing, so growing moves the memory."""
    module = guest(
        "(drop (memory.grow (i32.const 64)))"
        "(call $pack (i32.const 4000000)"
        "(call $host_call (i32.const 3999990) (i32.const 4) (i32.const 4000000) (i32.const 64)))",
        imports=IMPORTS,
    )
    host = Host(b"moved")
    isolate = Isolate(dense_engine.compile(module), Limits(), host)
    try:
        assert isolate.deliver(b"") == b"moved"
        assert host.requests == [bytes(4)]
    finally:
        isolate.close()


# --- threads ------------------------------------------------------------------------------------------------------


def test_rule_1_an_exception_never_surfaces_in_another_threads_call(engine: Engine) -> None:
    """Four threads, each with an isolate whose host raises something of its own, or whose guest traps by itself."""
    calling = engine.compile(guest(f"(drop {ASK.format(cap=0)}) (i64.const 0)"))
    trapping = engine.compile(guest("unreachable"))
    barrier = threading.Barrier(4)
    wrong: list[object] = []

    def raising(number: int) -> None:
        barrier.wait(10)
        for turn in range(60):
            error = GuestFault("budget", f"of thread {number}, turn {turn}")
            isolate = Isolate(calling, Limits(), Host(error))
            try:
                isolate.deliver(b"")
            except GuestFault as caught:
                if caught is not error:
                    wrong.append(caught)
            else:
                wrong.append("nothing")
            finally:
                isolate.close()

    def plain() -> None:
        barrier.wait(10)
        for _ in range(60):
            isolate = Isolate(trapping, Limits(), Host())
            fault = fault_of(lambda isolate=isolate: isolate.deliver(b""))  # type: ignore[misc]
            if fault.code != "trap":
                wrong.append(fault)
            isolate.close()

    jobs = [lambda: raising(1), lambda: raising(2), plain, plain]
    threads = [threading.Thread(target=run_on_guest_thread, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
