"""Every number that a guest may hand to the host: each import, each argument, at and around the edges of its memory.

A real guest makes the calls, over the fast and over the checked path. Its memory is filled with a pattern first, and
compared afterwards: what the host answers is a number or a fault, and it has written nowhere but where it was told to
and read nothing but what it was shown.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from host.isolate.abi import IMPORTS
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.isolate import Isolate
from host.model.errors import GuestFault
from host.model.limits import Limits
from tests.isolate.guests import Host, wasm

SIZE = 3 * 65_536
ENVELOPE = 1_024
ANSWER = 16
NAMES = list(IMPORTS)
PATTERN = bytes(range(1, 252)) * (SIZE // 251 + 1)
MASK = 0xFFFF_FFFF
REPLY = b'{"ok":"' + b"r" * 56 + b'"}'
FAULTS = {"bad_pointer", "trap", "memory", "budget"}

EDGES = [-1, 0, 1, SIZE - 1, SIZE, SIZE + 1, 2**31, 2**32 - 1]
numbers = (
    st.sampled_from(EDGES)
    | st.sampled_from([2, 4, 8, 64, SIZE - 64, SIZE - 8, SIZE - 4, SIZE // 2, 2**31 - 1, 2**32 - SIZE, 2**63])
    | st.integers(0, SIZE)
    | st.integers(-(2**63), 2**64 - 1)
)


def module() -> bytes:
    """Its envelope says which import to call and with what; then what to answer with. `isolate_alloc` answers with a
    fixed place, or with the one that the last turn left in a global."""
    imports, branches = "", ""
    for i, ((module_name, name), (params, results)) in enumerate(IMPORTS.items()):
        kinds = (f" (param {' '.join(params)})" if params else "") + (" (result i32)" if results else "")
        imports += f'(import "{module_name}" "{name}" (func $f{i}{kinds}))\n'
        loads = " ".join(f"({p}.load (i32.add (local.get $p) (i32.const {8 + 8 * n})))" for n, p in enumerate(params))
        call = f"(call $f{i} {loads})"
        call = f"(local.set $r {call})" if results else call
        branches += f"(if (i32.eq (local.get $w) (i32.const {i})) (then {call}))\n"
    return wasm(
        f"""(module {imports}
  (memory (export "memory") 3 3)
  (global $room (mut i32) (i32.const {ENVELOPE}))
  (func (export "isolate_alloc") (param $n i32) (result i32) (global.get $room))
  (func (export "isolate_deliver") (param $p i32) (param $n i32) (result i64)
    (local $w i32) (local $r i32) (local $out i64)
    (if (i32.lt_u (local.get $n) (i32.const 64)) (then (return (i64.const 0))))
    (local.set $w (i32.load (local.get $p)))
    (global.set $room (i32.load (i32.add (local.get $p) (i32.const 4))))
    (local.set $out (i64.load (i32.add (local.get $p) (i32.const 48))))
    {branches}
    (i32.store (i32.const {ANSWER}) (local.get $r))
    (local.get $out)))"""
    )


def envelope(which: int, arguments: tuple[int, ...], *, room: int = ENVELOPE, reply: int = ANSWER << 32 | 4) -> bytes:
    words = [*(each & (2**64 - 1) for each in arguments), *([0] * (5 - len(arguments)))]
    return struct.pack("<II5QQQ", which, room & MASK, *words, reply & (2**64 - 1), 0)


class Watched(Host):
    """Answers everything, and says what it was shown."""

    def __init__(self) -> None:
        super().__init__(REPLY)
        self.lines: list[str] = []

    def guest_log(self, level: str, text: str) -> None:
        self.lines.append(text)


class Bench:
    def __init__(self, engine: Engine) -> None:
        self.code: Code = engine.compile(module())
        self.host = Watched()
        self._isolate: Isolate | None = None

    def isolate(self) -> Isolate:
        """One that is alive, with the pattern in its memory."""
        if self._isolate is None or self._isolate.dead:
            self.close()
            self._isolate = Isolate(self.code, Limits(), self.host)
        self._isolate._memory.write(0, PATTERN[:SIZE])
        self.host = self._isolate.host = Watched()
        return self._isolate

    def close(self) -> None:
        if self._isolate is not None:
            self._isolate.close()
            self._isolate = None


@pytest.fixture(scope="module")
def bench(engine: Engine) -> Iterator[Bench]:
    made = Bench(engine)
    yield made
    made.close()


def inside(pointer: int, length: int) -> bool:
    return (pointer & MASK) + (length & MASK) <= SIZE


def changed(before: bytes | bytearray, after: bytes) -> list[int]:
    """Where they differ."""
    found: list[int] = []
    for at in range(0, SIZE, 4_096):
        if before[at : at + 4_096] != after[at : at + 4_096]:
            found += [i for i in range(at, at + 4_096) if before[i] != after[i]]
    return found


def deliver(isolate: Isolate, data: bytes) -> bytes | GuestFault:
    try:
        return isolate.deliver(data)
    except GuestFault as fault:
        assert isolate.dead
        return fault


def out_of(which: int, a: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where the host may write in this call: (pointer, length), as the guest named them."""
    name = NAMES[which][1]
    if name == "host_call":
        return [(a[2], min(a[3] & MASK, len(REPLY)))]
    if name in ("fd_write", "fd_fdstat_get", "clock_time_get"):
        place, length = {"fd_write": (3, 4), "fd_fdstat_get": (1, 24), "clock_time_get": (2, 8)}[name]
        return [(a[place], length)]
    if name == "random_get":
        return [(a[0], a[1])]
    if name.endswith("_sizes_get"):
        return [(a[0], 4), (a[1], 4)]
    return []


def check(bench: Bench, which: int, arguments: tuple[int, ...]) -> None:
    isolate = bench.isolate()
    data = envelope(which, arguments)
    image = bytearray(PATTERN[:SIZE])
    image[ENVELOPE : ENVELOPE + len(data)] = data
    before = bytes(image)
    allowed = out_of(which, arguments)
    answer = deliver(isolate, data)
    after = isolate._memory.read(0, SIZE)
    if isinstance(answer, GuestFault):
        assert answer.code in FAULTS, answer
        assert bench.host.requests == [] or answer.code != "bad_pointer"
    else:
        # an answer may lie where the host was told to write: then it is not the number that the call returned
        assert len(answer) == 4
        number = int.from_bytes(answer, "little", signed=True)
        overlaps = any((p & MASK) < ANSWER + 4 and (p & MASK) + n > ANSWER for p, n in allowed)
        assert overlaps or -5 <= number <= max(len(REPLY), 76)
        image[ANSWER : ANSWER + 4] = after[ANSWER : ANSWER + 4]
    mine = [range(p & MASK, (p & MASK) + (n & MASK)) for p, n in allowed if inside(p, n)]
    assert [at for at in changed(image, after) if not any(at in each for each in mine)] == []
    for request in bench.host.requests:
        pointer, length = arguments[0] & MASK, arguments[1] & MASK
        assert inside(pointer, length)
        assert request == before[pointer : pointer + length]


every = [(i, n) for i, (params, _) in enumerate(IMPORTS.values()) for n in range(len(params))]
GOOD = {
    "host_call": (2_048, 16, 4_096, 256),
    "host_read": (4_096, 256),
    "fd_write": (1, 2_048, 0, 4_096),
    "fd_close": (1,),
    "fd_fdstat_get": (1, 4_096),
    "fd_seek": (1, 0, 0, 4_096),
    "clock_time_get": (0, 0, 4_096),
    "random_get": (4_096, 64),
    "environ_get": (4_096, 8_192),
    "environ_sizes_get": (4_096, 8_192),
    "args_get": (4_096, 8_192),
    "args_sizes_get": (4_096, 8_192),
    "proc_exit": (0,),
}


def test_every_import_with_arguments_is_in_the_table_of_this_file() -> None:
    assert {name for (_, name), (params, _) in IMPORTS.items() if params} == set(GOOD)
    for (_, name), (params, _) in IMPORTS.items():
        assert len(GOOD.get(name, ())) == len(params)


@pytest.mark.parametrize(("which", "place"), every, ids=[f"{NAMES[i][1]}-{n}" for i, n in every])
def test_each_argument_of_each_import_at_each_edge(bench: Bench, which: int, place: int) -> None:
    good = GOOD[NAMES[which][1]]
    for value in EDGES:
        check(bench, which, (*good[:place], value, *good[place + 1 :]))


@pytest.mark.parametrize("which", range(len(NAMES)), ids=[name for _, name in NAMES])
def test_all_arguments_of_an_import_at_the_edges_together(bench: Bench, which: int) -> None:
    count = len(IMPORTS[NAMES[which]][0])
    for i in range(len(EDGES)):
        for j in range(len(EDGES)):
            for k in (0, 4, 7) if count > 2 else (0,):
                chosen = (EDGES[i], EDGES[j], EDGES[k], EDGES[(i + j) % len(EDGES)])
                check(bench, which, chosen[:count])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, len(NAMES) - 1), arguments=st.tuples(numbers, numbers, numbers, numbers))
def test_any_import_with_any_numbers(bench: Bench, which: int, arguments: tuple[int, int, int, int]) -> None:
    check(bench, which, arguments[: len(IMPORTS[NAMES[which]][0])])


def iovecs(*vectors: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", pointer & MASK, length & MASK) for pointer, length in vectors)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(vectors=st.lists(st.tuples(numbers, numbers), max_size=5), at=st.sampled_from([2_048, 2_049, SIZE - 40]))
@example(vectors=[(0, SIZE), (0, SIZE)], at=2_048)
def test_the_vectors_of_a_write_are_arguments_too(bench: Bench, vectors: list[tuple[int, int]], at: int) -> None:
    isolate = bench.isolate()
    table = iovecs(*vectors)[: SIZE - at]
    isolate._memory.write(at, table)
    which = NAMES.index(("wasi_snapshot_preview1", "fd_write"))
    fine = all(inside(p, n) for p, n in vectors) and 8 * len(vectors) <= SIZE - at
    answer = deliver(isolate, envelope(which, (1, at, len(vectors), 512)))
    if isinstance(answer, GuestFault):
        assert answer.code == "bad_pointer"
        assert not fine
        assert bench.host.lines == []
        return
    assert fine
    assert answer == bytes(4)
    written = int.from_bytes(isolate.memory_image()[512:516], "little")
    assert written == min(sum(n & MASK for _, n in vectors), 64 * 1_024)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pointer=numbers, length=numbers)
@example(pointer=-1, length=-1)
@example(pointer=SIZE, length=0)
@example(pointer=SIZE, length=1)
@example(pointer=2**31, length=2**31)
def test_what_deliver_returns(bench: Bench, pointer: int, length: int) -> None:
    isolate = bench.isolate()
    asks = NAMES.index(("isolate", "interrupted"))
    packed = (pointer & MASK) << 32 | (length & MASK)
    image = bytearray(PATTERN[:SIZE])
    data = envelope(asks, (), reply=packed)
    image[ENVELOPE : ENVELOPE + len(data)] = data
    image[ANSWER : ANSWER + 4] = bytes(4)
    answer = deliver(isolate, data)
    if isinstance(answer, GuestFault):
        assert answer.code == "bad_pointer"
        assert not inside(pointer, length)
    else:
        assert answer == image[pointer & MASK : (pointer & MASK) + (length & MASK)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(room=numbers, size=st.sampled_from([0, 1, 63, 64, 65, 65_536, SIZE - 1, SIZE, SIZE + 1]))
@example(room=-1, size=0)
@example(room=-1, size=1)
@example(room=SIZE, size=0)
@example(room=0, size=SIZE)
def test_what_alloc_returns(bench: Bench, room: int, size: int) -> None:
    bench.close()  # the place that the last turn left is not to be the first one here
    isolate = bench.isolate()
    asks = NAMES.index(("isolate", "interrupted"))
    isolate.deliver(envelope(asks, (), room=room))
    before = bytearray(isolate.memory_image())
    data = (envelope(asks, ()) + bytes(size))[:size]
    answer = deliver(isolate, data)
    if isinstance(answer, GuestFault):
        # the guest itself may look for its envelope beyond the end: that is a trap
        assert answer.code == "bad_pointer" if not inside(room, size) else answer.code == "trap"
    after = isolate._memory.read(0, SIZE)
    if inside(room, size):
        before[room & MASK : (room & MASK) + size] = data
    before[ANSWER : ANSWER + 4] = after[ANSWER : ANSWER + 4]
    assert changed(before, after) == []


def test_a_reply_over_the_limit_is_refused_before_it_is_copied(engine: Engine) -> None:
    made = Isolate(Bench(engine).code, Limits(reply=100), Watched())
    try:
        answer = deliver(made, envelope(NAMES.index(("isolate", "interrupted")), (), reply=101))
    finally:
        made.close()
    assert isinstance(answer, GuestFault)
    assert answer.code == "bad_reply"
