"""Reload, upgrades now, and the status of an actor: what operators do about versions and failed starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from host.model.errors import DormiceError, UnavailableError
from host.model.sources import Dynamic, LoadContext, ModuleSource
from host.model.status import ActorStatus
from tests.actor.harness import PROBE, TENANT, CodeShelf, Harness, open_harness
from tests.actor.test_starts import until_failed
from tests.actor.versions import BROKEN, deploy, status_of

pytestmark = pytest.mark.anyio


async def together(h: Harness, times: int, work: Callable[[], Awaitable[Any]], seconds: float = 0) -> list[Any]:
    """Results, or the names of errors."""
    results: list[Any] = []

    async def one() -> None:
        try:
            results.append(await work())
        except DormiceError as error:
            results.append(error.name)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            for _ in range(times):
                tasks.start_soon(one)
            if seconds:
                await h.advance(seconds)
    return results


# --- reload ---------------------------------------------------------------------------------------------------------


async def test_a_reload_of_a_running_actor_stops_and_starts_it_with_its_sockets_open(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    socket = await h.open(actor)
    status = await h.placement.reload(actor)
    assert (status.state, status.version) == ("running", 1)
    assert await h.call(actor, "log") == ["wake 1", "sleep 1", "wake 1"]
    socket.send("a")
    assert await socket.received(1) == ["1 a 1"]
    assert socket.closed is None


async def test_reloads_at_once_are_one(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    starts = h.storage.hydrations
    found = await together(h, 50, lambda: h.placement.reload(actor))
    assert {status.state for status in found} == {"running"}
    assert h.storage.hydrations == starts + 1
    assert await h.call(actor, "log") == ["wake 1", "sleep 1", "wake 1"]


async def test_a_reload_of_one_that_sleeps_does_not_wake_it_and_forgets_what_it_was_held_back_from(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake="if (c.state.n < 2) " + BROKEN)
    await h.actor(key="other")
    assert await h.call(actor, "inc") == 2
    await h.asleep(actor)
    assert (await h.record(actor)).held_version == 2
    starts = h.storage.hydrations
    status = await h.placement.reload(actor)
    assert (status.state, status.held_version) == ("asleep", None)
    assert h.storage.hydrations == starts
    assert await h.call(actor, "version") == 2


@pytest.mark.parametrize("read_only", [True, False])
async def test_an_actor_that_wakes_during_its_reload_does_not_write_back_what_it_was_held_back_from(
    h: Harness, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake="if (c.state.n < 9) " + BROKEN)
    await h.actor(key="other")
    assert await h.call(actor, "version") == 1
    await h.asleep(actor)
    assert (await h.record(actor)).held_version == 2
    release = h.storage.driver.release_held
    times = 0
    async with anyio.create_task_group() as tasks:

        async def releasing(actor_id: str) -> bool:
            nonlocal times
            times += 1
            if times == 1 and read_only:
                h.storage.hold_starts()
                tasks.start_soon(h.call, actor, "inc")
                await h.storage.until_start_held()
            elif times == 1:
                await h.call(actor, "inc")
            return await release(actor_id)

        monkeypatch.setattr(h.storage.driver, "release_held", releasing)
        assert (await h.placement.reload(actor)).held_version is None
        h.storage.release()
        await h.rest()
    monkeypatch.setattr(h.storage.driver, "release_held", release)
    if not read_only:
        assert (await h.record(actor)).held_version is None
        await h.asleep(actor)
        assert (await h.record(actor)).held_version is None
    else:
        # it tried the version again, in vain, as it was asked to
        assert h.count("fall_backs") == 2


async def test_a_reload_of_a_running_actor_tries_the_version_again_that_it_was_held_back_from(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.actor(key="other")
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake="if (c.state.n < 2) " + BROKEN)
    assert await h.call(actor, "version") == 1
    still = await h.placement.reload(actor)
    assert (still.state, still.version, still.held_version) == ("running", 1, 2)
    assert h.count("fall_backs") == 2
    await h.call(actor, "inc")
    status = await h.placement.reload(actor)
    assert (status.state, status.version, status.held_version) == ("running", 2, None)


async def test_a_reload_of_a_failed_actor_tries_now_and_counts_from_the_beginning(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    for attempt in (1, 2, 3):
        await until_failed(h, actor, "throw")
        record = await h.record(actor)
        assert record.attempt == attempt
        assert record.retry_at is not None
        if attempt < 3:
            await h.advance((record.retry_at - h.clock.now_ms()) / 1_000)
    status = await h.placement.reload(actor)
    assert (status.state, status.attempt) == ("failed", 1)
    assert status.retry_at == h.clock.now_ms() + 1_000
    assert status.last_error is not None
    assert status.last_error.name == "actor/start_failed"


async def test_a_reload_that_fails_again_answers_with_the_record_of_its_own_attempt(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    await until_failed(h, actor, "throw")
    await h.rest()
    before = await h.record(actor)
    await h.advance(0.5)
    found: list[ActorStatus] = []

    async def ask() -> None:
        found.append(await h.placement.reload(actor))

    h.storage.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.storage.until_held()
        await h.rest()
        assert found == []
        h.storage.release()
    (status,) = found
    assert before.retry_at is not None
    assert (status.state, status.attempt, status.retry_at) == ("failed", 1, before.retry_at + 500)


async def test_a_reload_before_retry_at_brings_an_actor_up_whose_reason_is_gone(h: Harness) -> None:
    ready = h.clock.now_ms() + 100
    actor = await h.probe(input={"start": f"until:{ready}"})
    await until_failed(h, actor, "throw")
    await h.advance(0.2)
    assert (await h.error(actor, "inc", 1)).name == "actor/start_failed"
    status = await h.placement.reload(actor)
    assert (status.state, status.attempt, status.retry_at, status.last_error) == ("running", 0, None, None)
    assert await h.call(actor, "inc", 1) == 1


async def test_a_message_that_waits_is_delivered_by_a_reload_of_the_failed_actor(h: Harness) -> None:
    actor = await h.probe()
    socket = await h.open(actor)
    await h.call(actor, "put", "start", f"until:{h.clock.now_ms() + 100}")
    await h.asleep(actor)
    socket.send("echo a")
    await h.rest()
    assert h.state(actor) == "failed"
    await h.advance(0.2)
    assert h.state(actor) == "failed"
    assert (await h.placement.reload(actor)).state == "running"
    assert await socket.received(2) == ["welcome", "echo a"]


async def test_a_reload_of_an_actor_that_gave_up_after_three_faults_starts_it(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    for _ in range(3):
        assert (await h.error(actor, "crash")).group == "guest"
    await h.rest()
    assert (await h.placement.status(actor)).state == "failed"
    status = await h.placement.reload(actor)
    assert status.state == "running"
    assert (await h.error(actor, "crash")).group == "guest"
    assert await h.call(actor, "inc") == 1  # the faults of before count no more


async def test_a_reload_while_it_starts_joins_that_start(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    h.storage.hold_starts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "inc")
        await h.storage.until_start_held()
        found: list[ActorStatus] = []

        async def ask() -> None:
            found.append(await h.placement.reload(actor))

        for _ in range(20):
            tasks.start_soon(ask)
        await h.rest()
        assert found == []
        h.storage.release()
    assert {status.state for status in found} == {"running"}
    assert h.storage.hydrations == 1
    assert await h.call(actor, "log") == ["wake 1"]


async def test_a_reload_while_it_falls_asleep_leaves_it_asleep(h: Harness) -> None:
    await deploy(h, 1, sleep="await new Promise((done) => setTimeout(done, 1000))")
    actor = await h.actor()
    await h.call(actor, "inc")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, actor)
        await h.rest()
        assert h.state(actor) == "stopping"
        found: list[ActorStatus] = []

        async def ask() -> None:
            found.append(await h.placement.reload(actor))

        tasks.start_soon(ask)
        await h.rest()
        await h.advance(1)
    assert [status.state for status in found] == ["asleep"]
    assert h.storage.hydrations == 1


async def test_an_unknown_actor_is_not_found_by_reload_and_status(h: Harness) -> None:
    for ask in (h.placement.reload, h.placement.status):
        for actor in ("0" * 32, "no id"):
            with pytest.raises(DormiceError) as refused:
                await ask(actor)
            assert refused.value.name == "actor/not_found"


async def test_a_reload_ends_when_the_actor_is_destroyed_meanwhile(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    h.storage.hold_starts()
    async with anyio.create_task_group() as tasks:
        found: list[Any] = []

        async def ask() -> None:
            found.extend(await together(h, 1, lambda: h.placement.reload(actor)))

        tasks.start_soon(ask)
        await h.storage.until_start_held()
        tasks.start_soon(h.placement.destroy, actor)
        await h.rest()
        h.storage.release()
    assert found == ["actor/not_found"]


# --- status ---------------------------------------------------------------------------------------------------------


async def test_the_status_follows_an_actor_through_its_life_and_never_wakes_it(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()

    async def state() -> str:
        return (await h.placement.status(actor)).state

    assert await state() == "absent"
    await h.call(actor, "inc")
    assert await state() == "running"
    await h.asleep(actor)
    assert await state() == "asleep"
    status = await h.placement.status(actor)
    assert (status.version, status.generation, status.name, status.key) == (1, 1, "a", ["k"])
    assert status.module.startswith("sha256:")
    assert h.storage.hydrations == 1


async def test_the_status_of_a_failed_actor_tells_attempt_error_and_when_it_is_tried_again(h: Harness) -> None:
    actor = await h.probe(input={"start": "throw"})
    await until_failed(h, actor, "throw")
    await h.rest()
    status = await h.placement.status(actor)
    assert (status.state, status.attempt) == ("failed", 1)
    assert status.retry_at == h.clock.now_ms() + 1_000
    assert status.last_error is not None
    assert status.last_error.name == "actor/start_failed"
    assert h.storage.hydrations == 1


async def test_falling_asleep_clears_a_failure(h: Harness) -> None:
    ready = h.clock.now_ms() + 100
    actor = await h.probe(input={"start": f"until:{ready}"})
    await until_failed(h, actor, "throw")
    await h.advance(1)
    await h.call(actor, "inc", 1)
    await h.asleep(actor)
    status = await h.placement.status(actor)
    assert (status.state, status.attempt, status.retry_at, status.last_error) == ("asleep", 0, None, None)


# --- now ------------------------------------------------------------------------------------------------------------


async def test_a_rollout_upgrades_those_awake_at_its_rate_and_leaves_the_others_asleep(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(6)]
    sockets = [await h.open(actor) for actor in actors]
    await h.asleep(actors[5])
    await deploy(h, 2)
    assert await h.placement.behind(TENANT, "a") == 5
    assert h.placement.roll_out(TENANT, "a", 2) == 5
    await h.rest()
    done = []
    for _ in range(3):
        done.append(sum([(await h.record(actor)).version == 2 for actor in actors]))
        await h.advance(1)
    assert done == [1, 3, 5]
    assert await h.placement.behind(TENANT, "a") == 0
    assert (await h.record(actors[5])).version == 1
    assert h.count("upgrades_asked") == 5
    for socket in sockets:
        socket.send("a")
        assert await socket.received(1) == ["2 a 1"]
    assert await h.call(actors[0], "log") == ["wake 1", "sleep 1", "1 to 2", "wake 2"]


async def test_what_is_in_work_ends_before_an_upgrade_and_messages_meanwhile_are_kept(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    socket = await h.open(actor)
    answers: list[Any] = []

    async def ask(action: str, *args: Any) -> None:
        answers.append((action, await h.call(actor, action, *args)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "wait", 2_000)
        await h.rest()
        await deploy(h, 2)
        h.placement.roll_out(TENANT, "a", 20)
        await h.rest()
        assert h.state(actor) == "stopping"
        socket.send("late")
        tasks.start_soon(ask, "version")
        await h.rest()
        assert answers == []
        await h.advance(2)
    assert sorted(answers) == [("version", 2), ("wait", 0)]
    assert await socket.received(1) == ["2 late 1"]


async def test_a_rollout_of_a_version_that_cannot_start_stops_when_the_deploy_has_failed(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(10)]
    sockets = [await h.open(actor) for actor in actors]
    await deploy(h, 2, upgrade=BROKEN)
    h.placement.roll_out(TENANT, "a", 2)
    await h.advance(10)
    assert (await status_of(h, 2))[0] == "failed"
    assert h.count("fall_backs") == 3
    assert h.count("upgrades_asked") == 3
    for actor, socket in zip(actors, sockets, strict=True):
        assert await h.call(actor, "version") == 1
        socket.send("a")
        assert await socket.received(1) == ["1 a 1"]


async def test_an_actor_that_starts_during_a_rollout_is_upgraded_as_well(h: Harness) -> None:
    await deploy(h, 1, wake="await new Promise((done) => setTimeout(done, 1500))")
    actor = await h.actor()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, actor, "inc")
        await h.rest()
        assert h.state(actor) == "starting"
        await deploy(h, 2)
        h.placement.roll_out(TENANT, "a", 20)
        await h.rest()
        await h.advance(4)
    assert await h.call(actor, "version") == 2


async def test_a_connection_that_cannot_hibernate_does_not_hold_an_upgrade_up_and_is_closed(h: Harness) -> None:
    await deploy(h, 1, hibernate=False)
    actor = await h.actor()
    socket = await h.open(actor)
    await deploy(h, 2, hibernate=False)
    h.placement.roll_out(TENANT, "a", 20)
    await h.rest()
    assert (await h.placement.status(actor)).version == 2
    assert socket.closed == (1012, "actor.restarted")


async def test_a_rollout_that_is_begun_again_takes_the_place_of_the_first(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(5)]
    for actor in actors:
        await h.call(actor, "inc")
    await deploy(h, 2)
    h.placement.roll_out(TENANT, "a", 1)
    await h.rest()
    h.placement.roll_out(TENANT, "a", 20)
    await h.rest()
    await h.advance(0.5)
    assert [(await h.record(actor)).version for actor in actors] == [2] * 5
    assert h.count("upgrades_asked") == 5


async def test_a_rollout_waits_for_storage_that_does_not_answer(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await deploy(h, 2)
    answers = h.storage.driver.definition_versions
    asked = 0

    async def broken(*args: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise UnavailableError("storage", "unavailable", "not now")
        return await answers(*args, **more)

    monkeypatch.setattr(h.storage.driver, "definition_versions", broken)
    h.placement.roll_out(TENANT, "a", 20)
    await h.advance(5)
    assert (await h.record(actor)).version == 2


async def test_a_rollout_passes_over_those_that_are_on_their_version_already(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    h.placement.roll_out(TENANT, "a", 20)
    await h.advance(2)
    assert h.count("upgrades_asked") == 0
    assert await h.call(actor, "log") == ["wake 1"]


async def test_an_alarm_that_comes_due_while_an_actor_upgrades_fires_once_on_the_new_version(h: Harness) -> None:
    await deploy(h, 1, sleep="await new Promise((done) => setTimeout(done, 2000))")
    actor = await h.actor()
    await h.call(actor, "soon", 1_000)
    await deploy(h, 2)
    h.placement.roll_out(TENANT, "a", 20)
    await h.rest()
    await h.advance(5)
    log = await h.call(actor, "log")
    assert log == ["wake 1", "sleep 1", "1 to 2", "wake 2", "alarm 2"]


# --- loaders --------------------------------------------------------------------------------------------------------


async def test_a_loader_is_asked_at_every_start_and_not_more_often(shelf: CodeShelf) -> None:
    asked: list[LoadContext] = []

    async def load(context: LoadContext) -> ModuleSource:
        asked.append(context)
        return ModuleSource.javascript(PROBE)

    async with open_harness(shelf, registered={"a": Dynamic(load)}) as h:
        actor = await h.actor()
        await together(h, 100, lambda: h.call(actor, "inc", 1))
        assert len(asked) == 1
        await h.placement.reload(actor)
        assert len(asked) == 2
        await h.asleep(actor)
        await h.placement.reload(actor)
        assert len(asked) == 2


async def test_a_loader_that_takes_too_long_is_cancelled_with_the_deadline_of_the_start(shelf: CodeShelf) -> None:
    ended: list[str] = []

    async def load(context: LoadContext) -> ModuleSource:
        try:
            await anyio.Event().wait()
        finally:
            ended.append("cancelled")
        return ModuleSource.javascript(PROBE)

    async with open_harness(shelf, registered={"a": Dynamic(load)}) as h:
        actor = await h.actor()
        error = await until_failed(h, actor, "never")
        assert error.name == "actor/start_failed"
        assert ended == ["cancelled"]
        record = await h.record(actor)
        assert (record.lifecycle, record.attempt) == ("failed", 1)
