"""Placement: keys, the ways in, and the sweep after a restart."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits
from host.placement.answer import Answer
from host.storage.memory import MemoryDriver
from tests.actor.fake_gateway import Socket
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

QUIET = "import {actor} from 'isolate'; export default actor({actions: {ok: () => 1}});"


async def refusal(what: Any) -> str:
    with pytest.raises(DormiceError) as refused:
        await what
    return refused.value.name


async def test_a_key_names_one_actor_and_creating_runs_no_code(h: Harness) -> None:
    await h.define(QUIET)
    first, created = await h.placement.get_or_create(TENANT, "a", ("k", "1"), b"7")
    again, created_again = await h.placement.get_or_create(TENANT, "a", ("k", "1"), None)
    assert (created, created_again) == (True, False)
    assert first.actor_id == again.actor_id
    assert (await h.placement.find(TENANT, "a", ("k", "1"))) == again
    assert (await h.placement.find(TENANT, "a", ("k", "2"))) is None
    assert (await h.placement.record(first.actor_id)).input == b"7"
    assert h.executor.jobs == 0
    assert h.state(first.actor_id) == "absent"
    assert (await h.placement.snapshot(first.actor_id)).lifecycle == "absent"


async def test_concurrent_creators_of_one_key_get_one_actor(h: Harness) -> None:
    await h.define(QUIET)
    found: list[tuple[str, bool]] = []

    async def create() -> None:
        record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
        found.append((record.actor_id, created))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(create)
    assert len({actor for actor, _ in found}) == 1
    assert [created for _, created in found].count(True) == 1


async def test_what_cannot_be_created_is_refused_with_a_reason(h: Harness) -> None:
    await h.define(QUIET)
    h.services.limits.input = 3  # type: ignore[attr-defined]
    assert await refusal(h.placement.create(TENANT, "", ("k",), None)) == "actor/empty_name"
    assert await refusal(h.placement.create(TENANT, "b", ("k",), None)) == "definition/not_found"
    assert await refusal(h.placement.create("other", "a", ("k",), None)) == "definition/not_found"
    assert await refusal(h.placement.create(TENANT, "a", ("k",), b"1234")) == "actor/input_too_large"
    await h.placement.create(TENANT, "a", ("k",), b"123")
    assert await refusal(h.placement.create(TENANT, "a", ("k",), None)) == "actor/duplicate_key"


async def test_an_actor_that_serves_neither_requests_nor_sockets_says_so_asleep_and_awake(h: Harness) -> None:
    await h.define(QUIET)
    actor = await h.actor()
    reply = await h.request(actor)  # asleep: it is known only once it runs
    assert reply.error is not None
    assert reply.error.name == "actor/method_not_allowed"
    assert await refusal(h.request(actor)) == "actor/method_not_allowed"
    assert await refusal(h.gateway.open(actor)) == "actor/method_not_allowed"
    assert (await h.error(actor, "nope")).name == "actor/action_not_found"


async def test_a_mailbox_has_a_bound_and_says_which(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(mailbox=2)) as h:
        await h.define(QUIET)
        actor = await h.actor()
        assert await h.call(actor, "ok") == 1
        h.executor.hold()
        outputs: list[int] = []

        async def ask() -> None:
            outputs.append(await h.call(actor, "ok"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await h.executor.until_held()
            tasks.start_soon(ask)
            tasks.start_soon(ask)
            await h.rest()
            error = await h.error(actor, "ok")
            h.executor.release()
        assert error.name == "limit/exceeded"
        assert error.metadata == b'{"limit":"mailbox","used":2,"allowed":2}'
        assert outputs == [1, 1, 1]
        assert h.count("events_refused", "mailbox") == 1


async def test_a_node_has_a_bound_of_actors_awake_and_room_again_when_one_sleeps(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        await h.define(QUIET)
        second = await h.actor(key="2")
        _first, end = await h.busy()
        error = await h.error(second, "ok")
        assert (error.name, error.retryable, error.retry_after) == ("node/full", True, 5.0)
        assert error.metadata == b'{"limit":"actors","used":1,"allowed":1}'
        assert h.count("starts_refused", "node.full") == 1
        await end()
        assert await h.call(second, "ok") == 1


async def test_the_directory_counts_what_is_awake(h: Harness) -> None:
    await h.define(QUIET)
    actors = [await h.actor(key=str(number)) for number in range(3)]
    for actor in actors:
        await h.call(actor, "ok")
    assert h.placement.directory.counts() == {"running": 3}
    assert h.placement.directory.waiting() == 0
    await h.advance(31)
    assert h.placement.directory.counts() == {}


async def test_after_a_restart_lost_connections_become_one_close_each(shelf: CodeShelf) -> None:
    driver: Any = MemoryDriver()
    actors: list[str] = []
    async with open_harness(shelf, driver) as h:
        for number in range(60):
            await h.probe()
            actors.append(await h.actor(key=f"k{number}"))
            socket = await h.open(actors[-1])
            assert isinstance(socket, Socket)
            await h.asleep(actors[-1])
    async with open_harness(shelf, driver) as h:
        h.gateway.gateway_id = "8" * 32  # the gateway of the new process
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.placement.sweep_strays)
            await h.rest()
            told = [actor for actor in actors if not (await h.image(actor)).connections]
            assert len(told) == 50
            await h.advance(2)
        for actor in actors:
            assert (await h.image(actor)).connections == ()
            assert (await h.document(actor))["closes"] == [[1006, "ws.stale_metadata"]]


async def test_a_snapshot_shows_what_is_on_disk(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor, path="/room?x=1", params=b'{"p":1}')
    socket.send("state")
    await h.rest()
    await h.call(actor, "put", "key", "value")
    await h.call(actor, "alarm", "x", 60_000, {"a": 1})
    snapshot = await h.placement.snapshot(actor)
    assert (snapshot.lifecycle, snapshot.generation, snapshot.epoch) == ("running", 1, 1)
    (row,) = snapshot.connections
    assert (row.conn_id, row.path, row.msg_index) == (socket.conn, "/room?x=1", 1)
    assert (bytes(row.params), bytes(row.state)) == (b'{"p":1}', b'{"seen":1}')
    assert [(one.alarm, bytes(one.payload)) for one in snapshot.alarms] == [("x", b'{"a":1}')]
    assert snapshot.kv.keys == 3
    assert snapshot.state_bytes > 0
    with pytest.raises(CallerError):
        await h.placement.snapshot("nonsense")


async def test_a_snapshot_shows_crons_with_their_runs_and_not_as_alarms(h: Harness) -> None:
    guest = """
    import { actor, UserError } from "isolate";
    export default actor({
      actions: {
        async set(c) {
          await c.cron.every({ name: "tick", interval: 60000, action: "go", maxHistory: 2 });
          await c.cron.set({ name: "never", expression: "0 0 29 2 *", timezone: "Asia/Kolkata", action: "go" });
        },
        go(c, fire) { throw new UserError("no", { code: "no" }); },
      },
    });
    """
    actor = await h.new(guest)
    began = h.clock.now_ms()
    await h.call(actor, "set")
    await h.advance(67)
    snapshot = await h.placement.snapshot(actor)
    assert snapshot.alarms == []
    tick, never = snapshot.crons
    assert (tick.name, tick.kind, tick.interval, tick.expression, tick.attempt) == ("tick", "every", 60_000, None, 3)
    assert (tick.scheduled_at - began, tick.due_at - began) == (60_000, 74_000)
    assert [(run.result, run.attempt, run.error, run.scheduled_at - began) for run in tick.runs] == [
        ("error", 3, "user/no", 60_000),
        ("error", 2, "user/no", 60_000),
    ]
    assert (never.expression, never.time_zone, never.interval, never.runs) == ("0 0 29 2 *", "Asia/Kolkata", None, [])


async def test_an_answer_is_waited_for_by_one_caller() -> None:
    answer = Answer[int]()
    answer.set(7)
    with anyio.fail_after(1):
        assert await answer.wait() == 7
