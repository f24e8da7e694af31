"""Starts that fail: what is written, who is told what, and when it is tried again."""

from __future__ import annotations

import math

import anyio
import pytest

from host.model.errors import DormiceError, ErrorInfo
from tests.actor.harness import Failed, Harness

pytestmark = pytest.mark.anyio

WAYS = ["throw", "crash", "never"]


async def until_failed(h: Harness, actor: str, how: str) -> ErrorInfo:
    """Fails the first start and gives back what the action that caused it got."""
    errors: list[ErrorInfo] = []

    async def ask() -> None:
        errors.append(await h.error(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.advance(15 if how == "never" else 0)
    return errors[0]


@pytest.mark.parametrize("how", WAYS)
async def test_a_start_that_throws_faults_or_takes_too_long_has_failed(h: Harness, how: str) -> None:
    actor = await h.probe(input={"start": how})
    error = await until_failed(h, actor, how)
    assert (error.name, error.retryable) == ("actor/start_failed", True)
    assert error.retry_after == 1.0
    assert "on purpose" not in error.message
    record = await h.record(actor)
    assert (record.lifecycle, record.attempt, record.started_once) == ("failed", 1, False)
    assert record.retry_at == h.clock.now_ms() + 1_000
    assert record.last_error is not None
    assert record.last_error.name == "actor/start_failed"
    assert record.input is not None
    assert h.count("start_failures") == 1


@pytest.mark.parametrize("how", ["throw", "crash"])
async def test_nothing_of_a_start_that_fails_in_its_first_turn_is_written(h: Harness, how: str) -> None:
    actor = await h.probe(input={"start": how})
    await until_failed(h, actor, how)
    assert (await h.image(actor)).state is None
    assert await h.storage.kv_size(actor) == (0, 0)


async def test_before_retry_at_everyone_gets_the_stored_error_at_once(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    await until_failed(h, actor, "throw")
    starts = h.storage.hydrations
    jobs = h.executor.jobs
    await h.advance(0.25)
    error = await h.error(actor, "inc", 1)
    assert error.name == "actor/start_failed"
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 1.0
    reply = await h.request(actor)
    assert reply.error is not None
    assert reply.error.name == "actor/start_failed"
    with pytest.raises(DormiceError) as refused:
        await h.gateway.open(actor)
    assert refused.value.name == "actor/start_failed"
    assert h.executor.jobs == jobs
    assert h.storage.hydrations > starts  # the record is what tells a fresh task


async def test_it_is_not_tried_again_without_a_cause(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    await until_failed(h, actor, "throw")
    starts = h.storage.hydrations
    await h.advance(1_000)
    assert h.storage.hydrations == starts
    assert h.state(actor) == "absent"
    assert (await h.placement.snapshot(actor)).lifecycle == "failed"


async def test_the_delay_doubles_from_attempt_to_attempt_up_to_thirty_seconds(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    delays = []
    for attempt in range(1, 23):
        assert (await until_failed(h, actor, "throw")).name == "actor/start_failed"
        record = await h.record(actor)
        assert record.attempt == (attempt if attempt <= 20 else attempt - 20)
        assert record.retry_at is not None
        delays.append(record.retry_at - h.clock.now_ms())
        await h.advance(delays[-1] / 1_000)
    assert delays == [1_000, 2_000, 4_000, 8_000, 16_000, *[30_000] * 15, 1_000, 2_000]


async def test_jitter_is_added_to_the_delay(h: Harness) -> None:
    h.jitter = b"\xff"
    actor = await h.probe(input={"start": "throw"})
    await until_failed(h, actor, "throw")
    record = await h.record(actor)
    assert record.retry_at is not None
    assert 1_240 <= record.retry_at - h.clock.now_ms() <= 1_250


async def test_a_message_that_waits_makes_one_attempt_with_others_and_is_delivered_after_recovery(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    ready = h.clock.now_ms() + 6_000
    await h.call(actor, "put", "start", f"until:{ready}")
    await h.asleep(actor)
    starts = h.count("start_failures")
    jobs = h.storage.hydrations
    socket.send("echo a")
    await h.rest()
    assert h.state(actor) == "failed"
    assert h.count("start_failures") == starts + 1
    socket.send("echo b")
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "get")).name)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert errors == ["actor/start_failed"] * 3
    assert h.storage.hydrations == jobs + 1
    await h.advance(1)  # attempt 2 fails, 4 s from here is the third, in time
    assert h.count("start_failures") == starts + 2
    await h.advance(2)
    assert h.count("start_failures") == starts + 3
    assert socket.frames == ["welcome"]
    await h.advance(4)
    assert await socket.received(3) == ["welcome", "echo a", "echo b"]
    await h.rest()
    assert h.storage.hydrations == jobs + 4
    assert await h.index(socket) == 2
    record = await h.record(actor)
    assert (record.attempt, record.retry_at, record.last_error, record.lifecycle) == (0, None, None, "asleep")


async def test_a_due_alarm_tries_again_too(h: Harness) -> None:
    actor = await h.probe()
    await h.call(actor, "alarm", "x", 60_000)
    await h.call(actor, "put", "start", f"until:{h.clock.now_ms() + 62_000}")
    await h.asleep(actor)
    await h.advance(60)
    assert h.state(actor) == "failed"
    await h.advance(5)
    assert [fired[0] for fired in (await h.document(actor))["fired"]] == ["x"]


async def test_all_callers_join_one_start(h: Harness) -> None:
    actor = await h.probe(input={"start": "wait:3000"})
    starts, outputs = h.storage.hydrations, list[int]()

    async def ask() -> None:
        outputs.append(await h.call(actor, "inc", 1))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await h.advance(1)
        assert (h.state(actor), outputs) == ("starting", [])
        tasks.start_soon(h.open, actor)
        await h.rest()
        await h.advance(2)
    assert outputs == [1, 2, 3, 4, 5]
    assert h.storage.hydrations == starts + 1


async def test_an_actor_whose_module_cannot_be_loaded_has_failed(h: Harness) -> None:
    await h.define("import {actor} from 'isolate'; throw new Error('at the top');")
    actor = await h.actor()
    assert (await h.error(actor, "x")).name == "actor/start_failed"
    assert (await h.record(actor)).lifecycle == "failed"


async def test_a_start_that_settles_once_forgets_its_input_and_create_runs_once(h: Harness) -> None:
    actor = await h.probe(input={"start": ""})
    await h.call(actor, "inc", 1)
    assert (await h.record(actor)).input is None
    await h.asleep(actor)
    await h.call(actor, "put", "start", "")
    assert (await h.call(actor, "get"))["wakes"] == 2


async def test_an_unknown_actor_is_not_found_and_leaves_nothing_behind(h: Harness) -> None:
    for actor in ("f" * 32, "nonsense"):
        assert (await h.error(actor, "x")).name == "actor/not_found"
        with pytest.raises(DormiceError) as refused:
            await h.gateway.open(actor)
        assert refused.value.name == "actor/not_found"
    await h.rest()
    assert h.placement.directory.counts() == {}


async def test_retry_after_is_never_beyond_what_is_left(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    for _ in range(4):
        await until_failed(h, actor, "throw")
        record = await h.record(actor)
        assert record.retry_at is not None
        await h.advance((record.retry_at - h.clock.now_ms()) / 1_000)
    await until_failed(h, actor, "throw")
    await h.advance(10)
    with pytest.raises(Failed) as failed:
        await h.call(actor, "get")
    assert math.isclose(failed.value.info.retry_after or 0, 6.0)
