"""Guests that end their isolate: that event fails, all other actors work on, and the same one comes back as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host
from tests.isolate.guests import IMPORTS, guest
from tests.modules.guests import with_manifest

pytestmark = pytest.mark.anyio

HOSTILE = (Path(__file__).parent / "hostile.js").read_bytes()

FAULTS = [
    ("loop", "deadline"),
    ("grow", "memory"),
    ("nest", "stack"),
    ("manyCalls", "budget"),
    ("largeState", "budget"),
]


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("hostile", HOSTILE, limits={"turn_deadline": 300})
        await host.deploy("unhurried", HOSTILE, limits={"turn_deadline": 5_000})
        yield host


async def fails_alone(host: TestHost, fault: Callable[[], Awaitable[None]]) -> int:
    """Runs `fault` while another actor is called without a pause; gives the number of its answers meanwhile."""
    other = await host.actor("unhurried", "bystander")
    before: int = await host.call(other, "add", 0)
    over = anyio.Event()

    async def bystander() -> None:
        while not over.is_set():
            await host.call(other, "add", 1)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bystander)
            await fault()
            over.set()
    after: int = await host.call(other, "add", 0)
    return after - before


@pytest.mark.parametrize(("what", "code"), FAULTS)
async def test_an_action_that_ends_its_isolate_fails_alone(host: TestHost, what: str, code: str) -> None:
    actor = await host.actor("hostile" if what == "loop" else "unhurried", what)
    assert await host.call(actor, "add", 7) == 7

    async def fault() -> None:
        with capture_logs() as lines:
            refused(await host.try_call(actor, "wrong", what), 500, f"guest/{code}")
        assert any(line["event"] == "guest fault" and line.get("actor_id") == actor for line in lines)

    answered = await fails_alone(host, fault)
    assert answered >= 1
    if what == "loop":
        assert answered >= 5  # the loop takes 300 ms, of one thread
    assert await host.call(actor, "add", 1) == 8, "the turn that faulted is rolled back"
    assert await host.call(actor, "half") is None


async def test_plain_recursion_is_an_error_of_the_handler(host: TestHost) -> None:
    actor = await host.actor("unhurried", "recursion")
    with capture_logs() as lines:
        refused(await host.try_call(actor, "wrong", "recurse"), 500, "internal/internal_error")
    assert any("Maximum call stack" in str(line.get("detail")) for line in lines)
    assert await host.call(actor, "add", 1) == 1_001, "a throw is no fault: what was written before it is kept"


async def test_a_request_that_ends_its_isolate_fails_alone(host: TestHost) -> None:
    actor = await host.actor("hostile", "request-loop")
    await host.call(actor, "add", 3)

    async def fault() -> None:
        refused(await host.http.get(f"/gateway/{actor}/request/loop"), 500, "guest/deadline")

    assert await fails_alone(host, fault) >= 5
    assert (await host.http.get(f"/gateway/{actor}/request/any")).text == "count 3"


async def test_calls_that_wait_behind_a_fault_are_answered_by_the_next_isolate(host: TestHost) -> None:
    actor = await host.actor("hostile", "behind")
    await host.call(actor, "add", 1)
    got: list[httpx.Response] = []

    async def call(action: str, *args: object) -> None:
        got.append(await host.try_call(actor, action, *args))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, "wrong", "loop")
            for _ in range(10):
                tasks.start_soon(call, "add", 1)
    failed = [answer for answer in got if answer.status_code != 200]
    assert [answer.json()["code"] for answer in failed] == ["deadline"]
    assert await host.call(actor, "add", 0) == 11


async def test_a_message_that_faults_thrice_is_a_dead_letter_and_closes_its_socket_alone(host: TestHost) -> None:
    actor = await host.actor("unhurried", "poison")
    await host.call(actor, "add", 5)
    with anyio.fail_after(15):
        async with host.socket(actor) as socket, host.socket(actor) as other:
            await other.send("before")
            assert await other.recv() == "1 1 before"
            for text in ("first", "largeState", "after"):
                await socket.send(text)
            assert await socket.recv() == "1 1 first"
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason.split("#")[0]) == (1011, "actor.poison_message")
            await other.send("after")
            assert await other.recv() == "2 1 after"
    assert await host.call(actor, "add", 0) == 5
    found = await host.snapshot(actor)
    letters = [(row["kind"], row["index"], row["reason"], row["attempts"]) for row in found["dead_letters"]]
    assert letters == [("message", 2, "guest/budget", 3)]


async def test_an_actor_whose_events_fault_again_and_again_fails_and_comes_back(host: TestHost) -> None:
    actor = await host.actor("unhurried", "again-and-again")
    await host.call(actor, "add", 2)
    for _ in range(3):
        refused(await host.try_call(actor, "wrong", "largeState"), 500, "guest/budget")
    answer = await host.try_call(actor, "add", 1)
    refused(answer, 503, "actor/start_failed")
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 3
    with anyio.fail_after(10):
        while (answer := await host.try_call(actor, "add", 1)).status_code == 503:
            await anyio.lowlevel.checkpoint()
    assert answer.json()["output"] == 3


def data(at: int, text: str) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{escaped}")'


STARTED = '{"settled":[{"event":1}],"pending":0}'
WELL = '{"settled":[{"event":2,"result":"well"}],"pending":0}'
REFUSED = '{"settled":[{"event":2,"result":"refused"}],"pending":0}'
BAD_BODY = '{"settled":[{"event":2,"result":{"status":200,"headers":[],"body":"no base64!"}}],"pending":0}'
BAD_PUT = '{"call":"kv_put","entries":[["!!!!","AAAA"]]}'


def marked(mark: str, then: str) -> str:
    """Wasm text: does `then` if the incoming envelope holds the character."""
    return f"""
      (local.set $i (local.get $p))
      (block $none (loop $next
        (br_if $none (i32.ge_u (local.get $i) (i32.add (local.get $p) (local.get $n))))
        (if (i32.eq (i32.load8_u (local.get $i)) (i32.const {ord(mark)})) (then {then}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))"""


def reply(at: int, text: str) -> str:
    return f"(return (call $pack (i32.const {at}) (i32.const {len(text)})))"


PUT = f"""
  (local.set $r (call $host_call
    (i32.const 92000) (i32.const {len(BAD_PUT)}) (i32.const 120000) (i32.const 1000)))
  (if (i32.eq (local.get $r) (i32.const -1)) (then {reply(93_000, REFUSED)}))"""

# Settles its start and one event. It looks for a mark in the event: * malformed base64 in the reply, ~ in a host call,
# ^ a pointer to nowhere, | a recursion of its own, and otherwise all is well.
WAT = with_manifest(
    guest(
        f"""
        (if (i32.eqz (global.get $started)) (then (global.set $started (i32.const 1)) {reply(90_000, STARTED)}))
        {marked("*", reply(91_000, BAD_BODY))}
        {marked("^", "(return (call $pack (i32.const -16) (i32.const 64)))")}
        {marked("|", "(return (call $deliver (local.get $p) (local.get $n)))")}
        {marked("~", PUT)}
        (call $pack (i32.const 94000) (i32.const {len(WELL)}))""",
        imports=IMPORTS,
        more="(global $started (mut i32) (i32.const 0))"
        + data(90_000, STARTED)
        + data(91_000, BAD_BODY)
        + data(92_000, BAD_PUT)
        + data(93_000, REFUSED)
        + data(94_000, WELL),
    ),
    b'{"abi":1,"codec":"json","capabilities":["kv"]}',
)


async def test_a_wasm_guest_whose_bytes_are_bad_is_refused_and_comes_back(host: TestHost) -> None:
    await host.deploy("wat", WAT, "application/wasm")
    actor = await host.actor("wat")
    with capture_logs() as lines:
        refused(await host.http.get(f"/gateway/{actor}/request/*"), 500, "guest/bad_reply")
    assert any("base64" in str(line.get("detail")) for line in lines)
    assert await host.call(actor, "any") == "well"


async def test_a_wasm_guest_that_points_nowhere_is_refused_and_comes_back(host: TestHost) -> None:
    await host.deploy("wat", WAT, "application/wasm")
    actor = await host.actor("wat", "pointer")
    refused(await host.try_call(actor, "any", "^"), 500, "guest/bad_pointer")
    assert await host.call(actor, "any") == "well"


async def test_a_wasm_guest_that_recurses_is_stopped_and_comes_back(host: TestHost) -> None:
    await host.deploy("wat", WAT, "application/wasm")
    actor = await host.actor("wat", "recursion")
    refused(await host.try_call(actor, "any", "|"), 500, "guest/stack")
    assert await host.call(actor, "any") == "well"


async def test_malformed_base64_in_a_host_call_changes_nothing(host: TestHost) -> None:
    await host.deploy("wat", WAT, "application/wasm")
    actor = await host.actor("wat", "call")
    assert await host.call(actor, "any", "~") == "refused"
    assert (await host.snapshot(actor))["kv"] == {"keys": 0, "bytes": 0}
