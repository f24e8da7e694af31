"""An actor of which three different events fault within a minute has failed: it rests, and its sockets wait."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from host.model.definitions import DefinitionOptions
from host.model.errors import CallerError
from host.model.limits import Limits
from tests.actor.fake_gateway import Socket
from tests.actor.harness import PROBE, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

# The isolate goes, whatever woke it; which event it was of the three decides.
FAULT = "guest/budget"


async def crash(h: Harness, actor: str) -> None:
    assert (await h.error(actor, "act", "crash")).name == FAULT
    await h.rest()


async def crash_later(h: Harness, actor: str) -> None:
    """A fault in a turn of a timer alone, long after the event that set it has settled."""
    await h.call(actor, "crashLater", 1_000)
    await h.advance(1)


async def lifecycle(h: Harness, actor: str) -> str:
    """As operators see it: an actor that has failed and for which nothing waits is nothing but rows."""
    return (await h.placement.snapshot(actor)).lifecycle


async def failed(h: Harness, sockets: int = 1) -> tuple[str, list[Socket]]:
    actor = await h.probe()
    opened = [await h.open(actor) for _ in range(sockets)]
    for _ in range(3):
        await crash(h, actor)
    assert await lifecycle(h, actor) == "failed"
    return actor, opened


async def test_the_third_event_that_faults_makes_it_fail_with_a_time_to_try_again(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "inc", 5)
    for number in (1, 2):
        await crash(h, actor)
        assert h.state(actor) == "running", number
        assert (await h.record(actor)).lifecycle == "asleep"
    await crash(h, actor)
    assert await lifecycle(h, actor) == "failed"
    record = await h.record(actor)
    assert (record.lifecycle, record.attempt, record.started_once) == ("failed", 1, True)
    assert record.retry_at == h.clock.now_ms() + 1_000
    assert record.last_error is not None
    assert record.last_error.name == "actor/start_failed"
    assert FAULT in record.last_error.message
    assert "given up after three faults of different events within a minute" in record.last_error.message
    # Nothing that was committed before is lost.
    assert (await h.document(actor))["n"] == 5


async def test_until_then_requests_and_upgrades_are_refused_at_once_and_after_it_they_start_it(h: Harness) -> None:
    actor, _ = await failed(h)
    hydrated = h.storage.hydrations
    error = await h.error(actor, "inc", 1)
    assert (error.name, error.retryable, error.retry_after) == ("actor/start_failed", True, 1.0)
    with pytest.raises(CallerError) as refused:
        await h.open(actor)
    assert refused.value.name == "actor/start_failed"
    assert h.storage.hydrations <= hydrated + 2
    await h.advance(1.1)
    assert await h.call(actor, "inc", 1) == 1
    record = await h.record(actor)
    assert (record.lifecycle, record.attempt, record.retry_at, record.last_error) == ("asleep", 0, None, None)


async def test_nothing_tries_again_without_a_cause(h: Harness) -> None:
    actor = await h.probe()
    for _ in range(3):
        await crash(h, actor)
    starts = h.storage.hydrations
    await h.advance(100)
    assert (h.storage.hydrations, (await h.record(actor)).lifecycle) == (starts, "failed")


async def test_three_faults_that_are_further_apart_than_a_minute_are_not_counted_together(h: Harness) -> None:
    actor = await h.probe()
    for _ in range(6):
        await crash(h, actor)
        assert h.state(actor) == "running"
        # It falls asleep in between, or not: the minute goes on.
        await h.call(actor, "inc", 1)
        await h.advance(29)
        await h.call(actor, "inc", 1)
        await h.advance(2)
    assert h.count("start_failures") == 0


async def test_all_attempts_of_one_event_count_once(h: Harness) -> None:
    actor = await h.probe()
    socket, other = await h.open(actor), await h.open(actor)
    socket.send("crash")
    assert await socket.ended() == (1011, "actor.poison_message")
    await h.rest()
    assert (h.count("guest_faults", FAULT), h.state(actor)) == (3, "running")
    await crash(h, actor)
    assert h.state(actor) == "running"
    other.send("crash<2")
    await h.rest()
    assert await lifecycle(h, actor) == "failed"


async def test_an_alarm_that_faults_again_and_again_counts_once(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "bad", 1_000, {"do": "crash"})
    await h.advance(58)
    assert h.count("guest_faults", FAULT) >= 4
    assert h.count("start_failures") == 0


async def test_faults_of_timers_count_each(h: Harness) -> None:
    actor = await h.probe()
    for state in ("running", "running", "failed"):
        await crash_later(h, actor)
        assert await lifecycle(h, actor) == state


async def test_events_of_different_kinds_count_together(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await crash_later(h, actor)
    socket.send("crash<2")
    await h.rest()
    assert h.state(actor) == "running"
    await crash(h, actor)
    assert await lifecycle(h, actor) == "failed"


async def test_after_a_recovery_the_count_begins_anew(h: Harness) -> None:
    actor, _ = await failed(h)
    await h.advance(1.1)
    for _ in range(2):
        await crash(h, actor)
        assert h.state(actor) == "running"
    await crash(h, actor)
    assert await lifecycle(h, actor) == "failed"
    assert (await h.record(actor)).attempt == 1


async def test_a_failed_actor_keeps_its_sockets_and_what_they_send_waits(h: Harness) -> None:
    actor, (one, two) = await failed(h, sockets=2)
    one.send("echo a")
    two.send("echo b")
    one.send("echo c")
    await h.advance(0.9)
    assert [socket.frames for socket in (one, two)] == [["welcome"], ["welcome"]]
    assert [socket.closed for socket in (one, two)] == [None, None]
    await h.advance(0.2)
    assert one.frames == ["welcome", "echo a", "echo c"]
    assert two.frames == ["welcome", "echo b"]
    assert (await h.document(actor))["got"] == ["echo a", "echo b", "echo c"]
    assert (await h.index(one), await h.index(two)) == (2, 1)
    assert h.count("socket_closes") == 0


async def test_a_message_that_the_third_fault_interrupted_is_delivered_again_after_the_rest(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await crash(h, actor)
    await crash(h, actor)
    socket.send("wait:500")
    socket.send("echo after")
    await h.rest()
    await crash(h, actor)
    assert await lifecycle(h, actor) == "failed"
    assert (await h.image(actor)).attempts != ()
    await h.advance(2)
    assert socket.frames == ["welcome", "did wait:500", "echo after"]
    assert (await h.document(actor))["got"] == ["wait:500", "wait:500", "echo after"]
    assert await h.call(actor, "kv", "message 1") == "attempt 2"
    assert (await h.image(actor)).attempts == ()


async def test_a_client_that_leaves_while_it_rests_is_told_once(h: Harness) -> None:
    actor, (leaving, staying) = await failed(h, sockets=2)
    leaving.close(4001, "tired")
    await h.advance(2)
    assert (await h.document(actor))["closes"] == [[4001, "tired"]]
    assert [row.conn_id for row in (await h.image(actor)).connections] == [staying.conn]


async def test_a_due_alarm_ends_the_rest_at_its_end_and_not_before(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "soon", 300)
    for _ in range(3):
        await crash(h, actor)
    await h.advance(0.9)
    assert (await lifecycle(h, actor), (await h.document(actor))["fired"]) == ("failed", [])
    await h.advance(0.3)
    assert [fired[0] for fired in (await h.document(actor))["fired"]] == ["soon"]


async def test_a_connection_that_cannot_hibernate_is_closed_by_the_first_fault(h: Harness) -> None:
    await h.define(PROBE, limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
    actor = await h.actor()
    socket = await h.open(actor)
    for _ in range(3):
        await crash(h, actor)
    assert socket.closed == (1012, "actor.restarted")
    await h.advance(1.1)
    assert (await h.call(actor, "get"))["closes"] == [[1012, "actor.restarted"]]


async def test_a_destroy_ends_the_rest(h: Harness) -> None:
    actor, (socket,) = await failed(h)
    socket.send("echo a")
    await h.placement.destroy(actor)
    assert socket.closed == (1000, "actor.destroyed")
    assert (await h.error(actor, "get")).name == "actor/not_found"


async def test_only_the_latest_that_was_given_up_is_kept_beyond_the_bound(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(dead_letters=1)) as h:
        actor = await h.probe()
        first, second = await h.open(actor), await h.open(actor)
        with capture_logs() as logs:
            for socket in (first, second):
                socket.send("crash")
                assert await socket.ended() == (1011, "actor.poison_message")
                await h.rest()
        assert [letter.ref for letter in await h.storage.driver.dead_letters(actor)] == [second.conn]
        assert h.count("dead_letters_dropped", "dead_letters") == 1
        assert [line["dropped"] for line in logs if line["event"] == "dead letters dropped"] == [1]
