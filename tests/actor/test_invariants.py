"""The invariants D1 to D10 of delivery, each as its sentence says."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from host.model.definitions import DefinitionOptions
from host.model.effects import CommitUnit, KvPut
from host.storage.driver import Fenced
from host.storage.memory import MemoryDriver
from tests.actor.fake_gateway import Socket
from tests.actor.guests import raw, scripted, settle
from tests.actor.harness import PROBE, TENANT, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

OUTPUTS = ("frame", "ack", "reply", "opened", "close")


def indexes_of(h: Harness, socket: Socket) -> list[int]:
    """The index of a connection in every commit that moved it."""
    return [index for unit in h.storage.units for conn, index in moved(unit) if conn == socket.conn]


def moved(unit: CommitUnit) -> list[tuple[str, int]]:
    """(conn, msg_index) of every connection row that a unit writes."""
    whole = [(row.conn_id, row.msg_index) for row in unit.connections]
    return whole + [(row.conn_id, row.msg_index) for row in unit.indexes]


# --- D1 ---------------------------------------------------------------------------------------------------------------


async def test_d1_no_output_leaves_before_the_commit_of_its_turn(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    before = len(h.happened(*OUTPUTS))
    h.storage.hold()
    outputs: list[int] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        socket.send("echo a")
        socket.send("bye")
        await h.storage.until_held()
        await h.rest()
        assert len(h.happened(*OUTPUTS)) == before
        assert (outputs, socket.acked, socket.closed) == ([], 0, None)
        h.storage.release()
    await h.rest()
    assert outputs == [1]
    assert socket.frames == ["welcome", "echo a"]
    assert socket.closed == (4000, "bye")
    places = {line[:3] if line[0] != "commit" else "commit": place for place, line in reversed([*enumerate(h.history)])}
    assert places["frame", socket.conn, "echo a"] < places["ack", socket.conn, 2]


async def test_d1_a_deferred_call_starts_only_after_the_commit_of_its_turn(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 0)
    outputs: list[str] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "act", "wait:1000"))

    h.storage.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.storage.until_held()
        await h.advance(5)
        h.storage.release()
        await h.advance(0.9)
        assert outputs == []
        await h.advance(0.1)
    assert outputs == ["did wait:1000"]


async def test_d1_outputs_of_one_connection_leave_in_order(h: Harness) -> None:
    actor = await h.probe()
    first, second = await h.open(actor), await h.open(actor)
    for number in range(100):
        first.send(f"echo {number}")
        second.send(f"echo {number}")
    for socket in (first, second):
        assert (await socket.received(101))[1:] == [f"echo {number}" for number in range(100)]


async def test_d1_what_a_faulted_turn_sent_never_leaves_and_the_turns_before_it_do(h: Harness) -> None:
    actor = await h.probe()
    one, two = await h.open(actor), await h.open(actor)
    h.executor.hold()
    one.send("index")
    await h.executor.until_held()
    one.send("echo before")
    two.send("crash")
    one.send("echo after")
    h.executor.release()
    assert await one.received(4) == ["welcome", "1", "echo before", "echo after"]
    await two.ended()
    assert two.frames == ["welcome"]


# --- D2 ---------------------------------------------------------------------------------------------------------------


async def test_d2_an_index_settles_in_the_commit_that_holds_its_effects_and_never_goes_back(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    texts = ["echo a", "crash<2", "echo b", "throw", "wait:10", "echo c", "crash<3", "echo d"]
    for number, text in enumerate(texts):
        socket.send(text)
        if number == 4:
            h.storage.unavailable()
        await h.advance(2)
    await h.advance(30)
    assert await h.index(socket) == len(texts)
    puts: dict[str, int] = {}
    last = 0
    for place, line in enumerate(h.happened("commit")):
        unit = line[2]
        assert isinstance(unit, CommitUnit)
        for op in unit.kv:
            if isinstance(op, KvPut) and op.key.startswith(b"message "):
                puts[op.key.decode()] = place
        for _, index in moved(unit):
            assert index >= last
            for settled in range(last + 1, index + 1):
                # One that waits wrote in its first turn, and settled in a later one.
                same = texts[settled - 1] != "wait:10"
                assert puts[f"message {settled}"] == place if same else puts[f"message {settled}"] < place
            last = index
    assert last == len(texts)


async def test_d2_an_event_in_work_over_several_commits_moves_the_index_only_when_it_settles(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:1000")
    await h.rest()
    assert await h.call(actor, "kv", "message 1") == "attempt 1"
    assert await h.index(socket) == 0
    await h.advance(1)
    assert await h.index(socket) == 1


# --- D3 ---------------------------------------------------------------------------------------------------------------


async def test_d3_acknowledgements_come_after_the_commit_and_are_cumulative(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    for number in range(20):
        socket.send("throw" if number % 5 == 4 else f"echo {number}")
    await h.gateway.until(lambda: socket.acked == 20)
    assert socket.buffer == {}
    committed, acked = 0, 0
    for line in h.history:
        if line[0] == "commit":
            assert isinstance(line[2], CommitUnit)
            committed = max([committed, *(row.msg_index for row in line[2].indexes)])
        elif line[0] == "ack":
            assert isinstance(line[2], int)
            assert acked <= line[2] <= committed
            acked = line[2]
    assert acked == 20
    # One hop took what was there in one go, and was acknowledged once.
    assert len(h.happened("ack")) < 20


async def test_d3_the_buffer_is_kept_until_then(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.storage.hold()
    socket.send("echo a")
    await h.storage.until_held()
    assert list(socket.buffer) == [1]
    h.storage.release()
    await h.rest()
    assert socket.buffer == {}


# --- D4 ---------------------------------------------------------------------------------------------------------------


async def test_d4_messages_of_one_connection_come_one_after_another_and_others_interleave(h: Harness) -> None:
    actor = await h.probe()
    one, two = await h.open(actor), await h.open(actor)
    one.send("wait:5000")
    one.send("echo held up")
    one.close(4000, "")
    two.send("echo passes")
    assert await two.received(2) == ["welcome", "echo passes"]
    assert await h.call(actor, "inc", 1) == 1
    await h.rest()
    state = await h.call(actor, "get")
    assert (state["got"], state["closes"]) == (["wait:5000", "echo passes"], [])
    await h.advance(5)
    state = await h.call(actor, "get")
    assert (state["got"], state["closes"]) == (["wait:5000", "echo passes", "echo held up"], [[4000, ""]])


SLOW = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
export default actor({
  state: { log: [] },
  async onWebSocket(c, ws, { restored }) {
    c.state.log.push("opening");
    await later(1000);
    ws.onmessage = (e) => { c.state.log.push(e.data); };
    ws.onclose = () => { c.state.log.push("closed"); };
    c.state.log.push(restored ? "restored" : "opened");
  },
});
"""


async def test_d4_opened_is_first_and_closed_is_last(h: Harness) -> None:
    actor = await h.new(SLOW)
    socket = await h.gateway.open(actor)
    socket.send("a")
    socket.send("b")
    socket.close()
    await h.advance(0.9)
    assert (await h.document(actor))["log"] == ["opening"]
    await h.advance(0.2)
    assert (await h.document(actor))["log"] == ["opening", "opened", "a", "b", "closed"]


async def test_d4_after_a_wake_the_start_settles_only_when_every_socket_has_been_set_up_again(h: Harness) -> None:
    actor = await h.new(SLOW)
    sockets = [await h.gateway.open(actor) for _ in range(3)]
    await h.advance(1)
    await h.asleep(actor)
    sockets[0].send("a")
    await h.advance(0.9)
    assert h.state(actor) == "starting"
    await h.advance(0.2)
    assert (await h.document(actor))["log"][6:] == ["opening"] * 3 + ["restored"] * 3 + ["a"]


# --- D5 ---------------------------------------------------------------------------------------------------------------


async def test_d5_a_message_that_faults_three_times_is_given_up_and_its_socket_closed(h: Harness) -> None:
    actor = await h.probe()
    socket, other = await h.open(actor), await h.open(actor)
    socket.send("echo a")
    socket.send("crash")
    assert await socket.ended() == (1011, "actor.poison_message")
    await h.rest()
    assert h.count("guest_faults", "guest/budget") == 3
    (letter,) = await h.letters(actor)
    assert (letter.kind, letter.ref, letter.index, letter.reason) == ("message", socket.conn, 2, "guest/budget")
    assert (letter.attempts, letter.payload) == (3, b"crash")
    assert indexes_of(h, socket)[-1] == 2
    # The actor is told of the close, in the line of the connection, and the row goes.
    assert (await h.document(actor))["closes"] == [[1011, "actor.poison_message"]]
    assert [row.conn_id for row in (await h.image(actor)).connections] == [other.conn]
    assert (await h.image(actor)).attempts == ()
    other.send("echo lives")
    assert (await other.received(2))[1] == "echo lives"


async def test_d5_each_further_attempt_is_on_record_before_it_starts_and_the_first_writes_nothing(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("crash<3")
    assert await socket.received(2) == ["welcome", "well at 3"]
    await h.rest()
    recorded = [row for unit in h.storage.units for row in unit.attempts]
    assert [(row.kind, row.ref, row.index, row.attempt, row.faults) for row in recorded] == [
        ("message", socket.conn, 1, 2, 1),
        ("message", socket.conn, 1, 3, 2),
    ]
    assert [key for unit in h.storage.units for key in unit.attempts_gone] == [("message", socket.conn, 1)]
    assert await h.call(actor, "kv", "message 1") == "attempt 3"
    assert (await h.image(actor)).attempts == ()


async def test_d5_the_turns_before_the_fault_in_its_hop_are_committed_with_the_attempt(h: Harness) -> None:
    actor = await h.probe()
    one, two = await h.open(actor), await h.open(actor)
    h.executor.hold()
    two.send("index")
    await h.executor.until_held()
    one.send("echo before")
    two.send("crash<2")
    h.executor.release()
    await two.received(3)
    (unit,) = [unit for unit in h.storage.units if unit.attempts]
    assert [(index.conn_id, index.msg_index) for index in unit.indexes] == [(one.conn, 1)]


async def test_d5_attempts_count_faults_and_not_deaths_of_the_host(shelf: CodeShelf) -> None:
    driver: Any = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        actor = await h.probe()
        socket = await h.open(actor)
        socket.send("crash<3")
        await socket.received(2)
        socket.send("wait:5000")
        await h.rest()
    for _ in range(3):  # the host dies with the message in work
        async with open_harness(shelf, driver) as h:
            h.gateway.held[socket.conn] = again = Socket(h.gateway, socket.opened)
            again.last, again.acked, again.open_acked, again.buffer = 2, 1, True, dict(socket.buffer)
            assert list(again.buffer) == [2]
            again.frames = socket.frames[:]
            await h.call(actor, "inc", 1)
            assert await h.call(actor, "kv", "message 2") == "attempt 1"
    async with open_harness(shelf, driver) as h:
        assert (await h.image(actor)).attempts == ()


@pytest.mark.parametrize("what", ["crash", "waitcrash:1000"])
async def test_d5_an_action_whose_turn_faults_gets_the_code_and_is_never_retried(h: Harness, what: str) -> None:
    actor = await h.probe()
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "act", what)).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.advance(1)
    assert errors == ["guest/budget"]
    assert h.count("guest_faults") == 1
    state = await h.call(actor, "get")
    # The faulted turn is rolled back; one that ended well before it stays.
    assert (state["n"], state["wakes"]) == (0 if what == "crash" else 1, 2)


async def test_d5_a_fault_in_a_turn_of_completions_is_charged_to_the_event_that_made_the_call(h: Harness) -> None:
    actor = await h.probe()
    culprit, bystander = await h.open(actor), await h.open(actor)
    bystander.send("wait:20000")
    culprit.send("waitcrash:1000")
    await h.advance(3.5)
    assert culprit.closed == (1011, "actor.poison_message")
    assert [(letter.ref, letter.attempts) for letter in await h.letters(actor)] == [(culprit.conn, 3)]
    await h.advance(20)
    assert bystander.frames == ["welcome", "did wait:20000"]


async def test_d5_a_fault_after_its_event_settled_is_charged_to_nobody(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "crashLater", 1_000)
    await h.advance(1)
    assert h.count("guest_faults") == 1
    socket.send("echo lives")
    assert (await socket.received(2))[1] == "echo lives"
    assert await h.letters(actor) == []


async def test_d5_a_close_that_faults_three_times_is_given_up_and_the_row_goes(h: Harness) -> None:
    js = PROBE.replace("sockets.delete(ws.id);", "sockets.delete(ws.id); crash(c);")
    actor = await h.new(js, limits={"host_calls": 64})
    socket = await h.open(actor)
    socket.close()
    await h.rest()
    assert [(letter.kind, letter.attempts) for letter in await h.letters(actor)] == [("closed", 3)]
    assert (await h.image(actor)).connections == ()


async def test_d5_an_alarm_has_six_attempts(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 1_000, {"do": "crash"})
    await h.advance(60)
    assert h.count("guest_faults") == 6
    assert [(letter.kind, letter.ref, letter.attempts) for letter in await h.letters(actor)] == [("alarm", "x", 6)]
    assert (await h.image(actor)).alarms == ()


async def test_d5_three_different_events_that_fault_within_a_minute_fail_the_actor(h: Harness) -> None:
    actor = await h.probe()
    for _ in range(2):
        assert (await h.error(actor, "act", "crash")).name == "guest/budget"
    await h.advance(61)
    await h.call(actor, "inc", 1)
    for _ in range(3):
        assert (await h.error(actor, "act", "crash")).name == "guest/budget"
    await h.rest()
    assert (await h.record(actor)).lifecycle == "failed"
    assert (await h.error(actor, "inc", 1)).name == "actor/start_failed"
    await h.advance(1)
    assert await h.call(actor, "inc", 1) == 2


# --- D6 ---------------------------------------------------------------------------------------------------------------


async def test_d6_other_events_in_work_are_delivered_again_or_aborted(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:5000")
    errors: dict[str, str] = {}

    async def ask(what: str) -> None:
        errors[what] = (await h.error(actor, "act", what)).name

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "wait:9000")
        await h.rest()
        tasks.start_soon(ask, "crash")
    assert errors == {"wait:9000": "actor/aborted", "crash": "guest/budget"}
    await h.rest()
    assert [(row.index, row.attempt, row.faults) for row in (await h.image(actor)).attempts] == [(1, 2, 0)]
    await h.advance(4.9)
    assert socket.frames == ["welcome"]
    await h.advance(0.1)
    assert socket.frames == ["welcome", "did wait:5000"]
    assert await h.call(actor, "kv", "message 1") == "attempt 2"
    assert socket.closed is None


async def test_d6_the_faults_of_others_do_not_count_towards_giving_an_event_up(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.send("wait:30000")
    await h.rest()
    for _ in range(5):
        await h.error(actor, "act", "crash")
        await h.advance(25)
    await h.advance(30)
    assert socket.frames == ["welcome", "did wait:30000"]
    assert await h.call(actor, "kv", "message 1") == "attempt 6"
    assert await h.letters(actor) == []


async def test_d6_events_that_had_not_begun_are_delivered_for_the_first_time(h: Harness) -> None:
    actor = await h.probe()
    one, two = await h.open(actor), await h.open(actor)
    h.executor.hold()
    one.send("index")
    await h.executor.until_held()
    one.send("crash<2")
    two.send("echo waits behind")
    h.executor.release()
    await one.received(3)
    await two.received(2)
    assert await h.call(actor, "kv", "message 1") == "attempt 1"
    assert [row.ref for unit in h.storage.units for row in unit.attempts] == [one.conn]


async def test_d6_deferred_calls_of_the_lost_isolate_are_cancelled(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "timer", 5_000)
    await h.error(actor, "act", "crash")
    await h.advance(10)
    state = await h.call(actor, "get")
    assert (state["n"], state["wakes"]) == (0, 2)


async def test_d6_connections_are_rebound_as_at_a_wake_and_those_that_cannot_are_closed(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.error(actor, "act", "crash")
    await h.rest()
    assert ("rebind", socket.conn, 0) in h.history
    socket.send("echo on")
    assert (await socket.received(2)) == ["welcome", "echo on"]
    await h.define(PROBE, "fixed", limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
    fixed = await h.actor("fixed")
    socket = await h.open(fixed)
    await h.error(fixed, "act", "crash")
    assert await socket.ended() == (1012, "actor.restarted")
    await h.rest()
    assert (await h.document(fixed))["closes"] == [[1012, "actor.restarted"]]
    assert (await h.image(fixed)).connections == ()


# --- D7 ---------------------------------------------------------------------------------------------------------------


async def test_d7_a_guest_that_lies_or_traps_does_not_change_the_connection_table(h: Harness) -> None:
    conn = "c" * 32
    lies = raw('{"settled":[{"event":3}],"pending":0,"connections":[]}')
    actor = await h.new(scripted(settle(1), settle(2), lies, lies, lies))
    socket = await h.open(actor, conn_id=conn)
    before = (await h.image(actor)).connections
    assert (await h.error(actor, "x")).name == "guest/bad_reply"
    assert (await h.image(actor)).connections == before
    snapshot = await h.placement.snapshot(actor)
    assert [(row.conn_id, row.msg_index) for row in snapshot.connections] == [(conn, 0)]
    assert socket.closed is None


async def test_d7_the_table_is_the_hosts_even_if_the_guest_never_lives_again(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "put", "start", "crash")
    await h.asleep(actor)
    socket.send("x")
    await h.rest()
    assert h.state(actor) == "failed"
    snapshot = await h.placement.snapshot(actor)
    assert [(row.conn_id, row.path) for row in snapshot.connections] == [(socket.conn, "/")]
    assert socket.closed is None
    assert list(socket.buffer) == [1]


# --- D8 ---------------------------------------------------------------------------------------------------------------


async def claim(h: Harness, actor: str) -> None:
    """As another node would: starts an instance of its own."""
    record = await h.record(actor)
    await h.storage.driver.commit(
        CommitUnit(actor, record.generation, record.epoch + 1, record.hop_seq + 1, claims=True)
    )


async def test_d8_an_instance_that_another_start_has_fenced_out_cannot_write_or_send(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.executor.hold()
    socket.send("echo a")
    await h.executor.until_held()
    await claim(h, actor)
    h.executor.release()
    assert await socket.received(2) == ["welcome", "echo a"]  # from the instance after it, whose epoch is higher
    await h.rest()
    assert h.count("commits_refused", "fenced") == 1
    assert (await h.document(actor))["wakes"] == 2
    assert (await h.document(actor))["got"] == ["echo a"]
    assert (await h.record(actor)).epoch == 3


async def test_d8_two_owners_that_fence_each_other_off_start_ever_more_rarely(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    for n in range(1, 6):
        await claim(h, actor)
        socket.send(f"echo {n}")
        await h.rest()
        before = h.storage.hydrations
        await h.advance(0.2)
        assert h.storage.hydrations == before  # no loop meanwhile
        await h.advance(5)
    assert h.count("commits_refused", "fenced") == 5
    assert [frame for frame in socket.frames if frame != "welcome"] == [f"echo {n}" for n in range(1, 6)]
    # fences that are far apart have nothing to do with each other
    await h.advance(70)
    await claim(h, actor)
    socket.send("echo 6")
    await h.rest()
    assert socket.frames[-1] == "echo 6"


async def test_d8_every_start_has_a_higher_epoch_and_hops_are_numbered_without_a_gap(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    await h.asleep(actor)
    await h.error(actor, "act", "crash")
    await h.call(actor, "inc", 1)
    units = [unit for unit in h.storage.units if unit.actor_id == actor]
    assert [unit.hop_seq for unit in units] == list(range(1, len(units) + 1))
    assert [unit.epoch for unit in units if unit.claims] == [1, 2, 3]
    assert all(before.epoch <= after.epoch for before, after in itertools.pairwise(units))


@pytest.mark.parametrize("change", [{"epoch": 0}, {"epoch": 2}, {"generation": 2}, {"hop_seq": 0}, {"hop_seq": 99}])
async def test_d8_a_unit_that_does_not_fit_is_refused_whole(h: Harness, change: dict[str, int]) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    record = await h.record(actor)
    good = CommitUnit(actor, record.generation, record.epoch, record.hop_seq + 1, state=b'"forged"')
    with pytest.raises(Fenced):
        await h.storage.driver.commit(msgspec.structs.replace(good, **change))
    assert (await h.document(actor))["n"] == 1
    assert await h.call(actor, "inc", 1) == 2


async def test_d8_a_hop_that_still_runs_when_its_actor_is_destroyed_writes_nothing(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    h.executor.hold()
    socket.send("echo a")
    await h.executor.until_held()
    await h.destroy(actor, 5)
    record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
    units = len(h.storage.units)
    h.executor.release()
    await h.rest()
    assert (created, record.generation) == (True, 2)
    assert len(h.storage.units) == units
    assert socket.frames == ["welcome"]
    assert await h.storage.driver.hydrate(actor) is None
    assert h.count("commits_refused", "actor.destroyed") == 1
    assert await h.call(record.actor_id, "inc", 1) == 1


# --- D9 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        {"call": "socket_send", "text": "forged"},
        {"call": "socket_close"},
        {"call": "socket_set_state", "state": 1},
        {"call": "socket_set_tags", "tags": ["t"]},
    ],
    ids=lambda call: call["call"],
)
async def test_d9_a_connection_of_another_actor_is_the_same_error_as_an_unknown_one(
    h: Harness, call: dict[str, Any]
) -> None:
    theirs, unknown = "a" * 32, "b" * 32
    victim = await h.probe()
    socket = await h.open(victim, conn_id=theirs)
    calls = [settle(n + 2, call={**call, "conn": conn}) for n, conn in enumerate((theirs, unknown))]
    await h.define(scripted(settle(1), *calls), "spy")
    spy = await h.actor("spy")
    answers = [await h.call(spy, "x"), await h.call(spy, "x")]
    assert answers[0] == answers[1]
    assert answers[0]["error"]["code"] == "unknown_connection"
    await h.rest()
    assert (socket.frames, socket.closed) == (["welcome"], None)


async def test_d9_what_an_actor_reads_and_writes_is_its_own(h: Harness) -> None:
    first = await h.probe()
    second = await h.actor(key="other")
    await h.call(first, "put", "secret", "mine")
    await h.call(first, "alarm", "x", 60_000)
    assert await h.call(second, "kv", "secret") is None
    assert await h.call(second, "alarms") == []
    assert await h.call(second, "cancel", "x") is False
    assert await h.call(first, "alarms") == ["x"]


# --- D10 --------------------------------------------------------------------------------------------------------------

Scene = Callable[[Harness], Awaitable[None]]


async def a_gap(h: Harness) -> None:
    socket = await h.open(await h.probe())
    h.gateway.resends = False
    socket.last = 5
    socket.send("x")
    await h.rest()
    assert socket.closed == (1008, "ws.message_index_skip")


async def a_poisonous_message(h: Harness) -> None:
    socket = await h.open(await h.probe())
    socket.send("crash")
    await socket.ended()


async def an_open_that_fails(h: Harness) -> None:
    await h.open(await h.probe(), path="/throw")


async def a_close_by_the_actor(h: Harness) -> None:
    socket = await h.open(await h.probe())
    socket.send("bye")
    await socket.ended()


async def an_eviction(h: Harness) -> None:
    await h.call(await h.probe(), "inc", 1)
    await h.placement.drain()


async def a_node_that_drains(h: Harness) -> None:
    actor = await h.probe()
    await h.placement.drain()
    await h.error(actor, "inc", 1)


async def a_full_node(h: Harness) -> None:
    actor = await h.probe()
    h.services.limits.actors = 0  # type: ignore[attr-defined]
    await h.error(actor, "inc", 1)


async def a_full_mailbox(h: Harness) -> None:
    actor = await h.probe()
    h.services.limits.mailbox = 0  # type: ignore[attr-defined]
    await h.error(actor, "inc", 1)


async def a_message_for_nobody(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    socket.close()
    await h.rest()
    socket.send("late")
    await h.rest()


async def a_destroy(h: Harness) -> None:
    actor = await h.probe()
    await h.open(actor)
    await h.placement.destroy(actor)


async def a_row_without_a_client(h: Harness) -> None:
    actor = await h.probe()
    await h.open(actor)
    await h.asleep(actor)
    h.gateway.held.clear()
    await h.call(actor, "inc", 1)
    await h.rest()
    assert (await h.document(actor))["closes"] == [[1006, "ws.stale_metadata"]]


async def a_client_without_a_row(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.asleep(actor)
    stranger = Socket(h.gateway, msgspec.structs.replace(socket.opened, conn_id="f" * 32))
    stranger.open_acked = True
    h.gateway.held["f" * 32] = stranger
    await h.call(actor, "inc", 1)


async def a_binding_that_fails(h: Harness) -> None:
    actor = await h.probe()
    socket, other = await h.open(actor), await h.open(actor)
    await h.asleep(actor)
    h.gateway.rebind_fails.add(socket.conn)
    await h.call(actor, "inc", 1)
    assert (socket.closed, other.closed) == ((1011, "ws.restore_error"), None)


async def a_failed_start(h: Harness) -> None:
    await h.error(await h.probe(input={"start": "throw"}), "inc", 1)


async def a_fenced_commit(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 1)
    h.storage.fenced()
    await h.error(actor, "inc", 1)


@pytest.mark.parametrize(
    ("scene", "counter", "reason"),
    [
        (a_gap, "socket_closes", "ws.message_index_skip"),
        (a_poisonous_message, "dead_letters", "guest/budget"),
        (a_poisonous_message, "socket_closes", "actor.poison_message"),
        (an_open_that_fails, "socket_closes", "open_failed"),
        (a_close_by_the_actor, "socket_closes", "by_actor"),
        (an_eviction, "evictions", "draining"),
        (a_node_that_drains, "starts_refused", "node.draining"),
        (a_full_node, "starts_refused", "node.full"),
        (a_full_mailbox, "events_refused", "mailbox"),
        (a_message_for_nobody, "messages_refused", "unknown_connection"),
        (a_destroy, "socket_closes", "actor.destroyed"),
        (a_row_without_a_client, "socket_closes", "ws.stale_metadata"),
        (a_client_without_a_row, "socket_closes", "ws.meta_not_found_during_restore"),
        (a_binding_that_fails, "socket_closes", "ws.restore_error"),
        (a_failed_start, "start_failures", "internal/internal_error"),
        (a_fenced_commit, "commits_refused", "fenced"),
    ],
    ids=lambda given: given.__name__ if callable(given) else str(given),
)
async def test_d10_nothing_is_dropped_without_a_counter_and_a_log_line(
    h: Harness, scene: Scene, counter: str, reason: str
) -> None:
    with capture_logs() as logs:
        await scene(h)
        await h.rest()
    assert h.count(counter, reason) == 1
    assert [line for line in logs if line["log_level"] != "debug"] != []


async def test_d10_a_binding_that_fails_ends_in_a_close_event_and_the_row_goes(h: Harness) -> None:
    await a_binding_that_fails(h)
    await h.rest()
    (actor,) = {line[1] for line in h.happened("commit")}
    assert isinstance(actor, str)
    assert (await h.document(actor))["closes"] == [[1011, "ws.restore_error"]]
    assert len((await h.image(actor)).connections) == 1
