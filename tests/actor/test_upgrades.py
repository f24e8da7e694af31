"""Versions of a definition: who runs which, how an actor gets from one to the next, and back if it cannot start."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from host.model.deploys import DEPLOY_WINDOW_MS, bucket_of
from host.model.errors import UnavailableError
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness
from tests.actor.test_starts import until_failed
from tests.actor.versions import BROKEN, deploy, status_of

pytestmark = pytest.mark.anyio


async def test_a_deploy_is_taken_up_at_the_next_wake_with_one_upgrade(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    assert await h.call(actor, "version") == 1
    await deploy(h, 2)
    assert await h.call(actor, "version") == 1  # it is awake, and stays as it is
    await h.asleep(actor)
    assert await h.call(actor, "version") == 2
    assert await h.call(actor, "log") == ["wake 1", "sleep 1", "1 to 2", "wake 2"]
    await h.asleep(actor)
    assert await h.call(actor, "log") == ["wake 1", "sleep 1", "1 to 2", "wake 2", "sleep 2", "wake 2"]
    record = await h.record(actor)
    assert (record.version, record.held_version) == (2, None)


async def test_a_new_actor_is_created_on_the_newest_version_and_not_upgraded(h: Harness) -> None:
    await deploy(h, 1)
    await deploy(h, 2)
    actor = await h.actor()
    assert await h.call(actor, "log") == ["wake 2"]


@pytest.mark.parametrize("hook", ["upgrade", "wake"])
@pytest.mark.parametrize("code", [BROKEN, "for (;;) c.kv.get('x').catch(() => {})"])
async def test_an_actor_that_cannot_start_on_a_version_goes_back_at_once(h: Harness, hook: str, code: str) -> None:
    await deploy(h, 1)
    actor, other = await h.actor(), await h.actor(key="other")
    assert await h.call(actor, "inc") == 1
    await h.asleep(actor)
    await (deploy(h, 2, upgrade=code) if hook == "upgrade" else deploy(h, 2, wake=code))
    now = h.clock.now_ms()
    # whoever asks is answered as if nothing had been
    assert await h.call(actor, "inc") == 2
    assert h.clock.now_ms() == now
    assert await h.call(actor, "log") == ["wake 1", "sleep 1", "wake 1"]
    record = await h.record(actor)
    assert (record.version, record.held_version, record.attempt, record.retry_at) == (1, 2, 0, None)
    assert h.count("start_failures") == 0
    assert h.count("fall_backs") == 1
    assert h.count("upgrade_failures") == 1
    # one of two actors does not fail a deploy
    assert await status_of(h, 2) == ("live", None)
    assert [each.actor_id for each in await h.storage.deploy_failures(TENANT, "a", 9)] == [actor]
    assert other


async def test_an_actor_that_went_back_is_held_back_until_a_newer_deploy(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.actor(key="other")
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake=BROKEN)
    assert await h.call(actor, "version") == 1
    await h.asleep(actor)
    assert (await h.record(actor)).held_version == 2
    assert await h.call(actor, "version") == 1
    assert h.count("fall_backs") == 1  # it was not tried again
    await h.asleep(actor)
    await deploy(h, 3, wake=BROKEN)
    assert await h.call(actor, "version") == 1
    await h.asleep(actor)
    assert (await h.record(actor)).held_version == 3
    assert await h.call(actor, "version") == 1  # nor the one between them
    assert h.count("fall_backs") == 2
    await h.asleep(actor)
    await deploy(h, 4)
    assert await h.call(actor, "version") == 4
    record = await h.record(actor)
    assert (record.version, record.held_version) == (4, None)
    assert "1 to 4" in await h.call(actor, "log")


async def test_a_hundred_callers_of_an_upgrade_that_fails_make_two_starts_together(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake=BROKEN)
    starts, answers = h.storage.hydrations, list[Any]()

    async def ask() -> None:
        answers.append(await h.call(actor, "inc"))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert sorted(answers) == list(range(2, 102))
    assert h.storage.hydrations == starts + 2  # one for each version


async def test_sockets_stay_open_and_messages_wait_while_an_upgrade_fails(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    socket = await h.open(actor)
    socket.send("a")
    assert await socket.received(1) == ["1 a 1"]
    await h.asleep(actor)
    await deploy(h, 2, wake=BROKEN)
    socket.send("b")
    assert await socket.received(2) == ["1 a 1", "1 b 2"]
    await h.asleep(actor)
    await deploy(h, 3)
    socket.send("c")
    assert await socket.received(3) == ["1 a 1", "1 b 2", "3 c 3"]
    assert socket.closed is None


async def test_three_actors_that_cannot_start_fail_a_deploy_and_no_further_one_is_upgraded(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(5)]
    for actor in actors:
        await h.call(actor, "inc")
        await h.asleep(actor)
    await deploy(h, 2, upgrade=BROKEN)
    for actor in actors[:2]:
        assert await h.call(actor, "version") == 1
    assert await status_of(h, 2) == ("live", None)
    assert await h.call(actors[2], "version") == 1
    status, reason = await status_of(h, 2)
    assert status == "failed"
    assert reason is not None
    assert reason == "internal/internal_error: Error: broken"
    assert h.count("deploys_failed") == 1
    for actor in actors[3:]:
        assert await h.call(actor, "version") == 1
    assert h.count("fall_backs") == 3
    # nor does anybody begin on it
    assert await h.call(await h.actor(key="new"), "log") == ["wake 1"]


async def test_failures_that_are_far_apart_do_not_fail_a_deploy(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(3)]
    for actor in actors:
        await h.call(actor, "inc")
        await h.asleep(actor)
    await deploy(h, 2, upgrade=BROKEN)
    for actor in actors:
        assert await h.call(actor, "version") == 1
        await h.asleep(actor)
        await h.advance(DEPLOY_WINDOW_MS / 1_000 / 2 + 1)
    assert await status_of(h, 2) == ("live", None)


async def test_the_only_actor_of_a_definition_fails_its_deploy(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake=BROKEN)
    assert await h.call(actor, "version") == 1
    assert (await status_of(h, 2))[0] == "failed"


async def test_a_first_start_that_fails_is_made_on_the_last_good_version(h: Harness) -> None:
    await deploy(h, 1)
    await h.actor(key="other")
    await deploy(h, 2, create=BROKEN)
    actor = await h.actor()
    assert (await h.record(actor)).version == 2
    assert await h.call(actor, "log") == ["wake 1"]
    record = await h.record(actor)
    assert (record.version, record.held_version, record.started_once) == (1, 2, True)


async def test_a_first_start_with_nothing_to_go_back_to_has_failed_and_the_deploy_stays(h: Harness) -> None:
    await deploy(h, 1, wake=BROKEN)
    actor = await h.actor()
    assert (await h.error(actor, "inc")).name == "actor/start_failed"
    assert h.state(actor) in ("failed", "absent")
    assert await status_of(h, 1) == ("live", None)
    assert len(await h.storage.deploy_failures(TENANT, "a", 9)) == 1


async def test_a_first_start_goes_back_once_and_then_there_is_a_delay(h: Harness) -> None:
    for version in (1, 2, 3):
        await deploy(h, version, wake=BROKEN)
    actor = await h.actor()
    await h.actor(key="other")
    starts = h.storage.hydrations
    assert (await h.error(actor, "inc")).name == "actor/start_failed"
    assert h.storage.hydrations == starts + 2
    record = await h.record(actor)
    assert (record.lifecycle, record.attempt, record.held_version) == ("failed", 1, 3)


async def test_bad_inputs_do_not_undo_a_deploy_that_has_been_out_for_long(h: Harness) -> None:
    await deploy(h, 1)
    await deploy(h, 2, create=BROKEN)
    await h.advance(DEPLOY_WINDOW_MS / 1_000 + 1)
    for number in range(4):
        assert (await h.error(await h.actor(key=str(number)), "inc")).name == "actor/start_failed"
    assert await status_of(h, 2) == ("live", None)


async def test_what_the_host_is_short_of_is_not_held_against_a_deploy(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2)
    h.executor.break_next.append(UnavailableError("node", "busy", "no thread"))
    assert (await h.error(actor, "version")).name == "actor/start_failed"
    assert list(await h.storage.deploy_failures(TENANT, "a", 9)) == []
    await h.advance(1)
    assert await h.call(actor, "version") == 2


async def test_a_version_that_an_actor_has_run_before_is_not_blamed_for_a_start(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake=f"if (c.state.n > 1) {BROKEN}")
    assert await h.call(actor, "inc") == 2
    await h.asleep(actor)
    error = await until_failed(h, actor, "throw")
    assert error.name == "actor/start_failed"
    assert (await h.record(actor)).version == 2
    assert h.count("fall_backs") == 0


async def test_a_canary_upgrades_its_share_and_the_rest_when_it_is_raised(h: Harness) -> None:
    await deploy(h, 1)
    actors = [await h.actor(key=str(number)) for number in range(12)]
    for actor in actors:
        await h.call(actor, "inc")
        await h.asleep(actor)
    await deploy(h, 2, percent=40)
    inside = {actor for actor in actors if bucket_of(actor, "a", 2) < 40}
    assert inside
    assert inside < set(actors)
    for actor in actors:
        assert await h.call(actor, "version") == (2 if actor in inside else 1)
        await h.asleep(actor)
    await h.storage.set_deploy(TENANT, "a", 2, percent=100)
    for actor in actors:
        assert await h.call(actor, "version") == 2


async def test_an_actor_that_is_destroyed_while_it_goes_back_is_not_started(h: Harness) -> None:
    await deploy(h, 1)
    actor = await h.actor()
    await h.call(actor, "inc")
    await h.asleep(actor)
    await deploy(h, 2, wake=BROKEN)
    h.executor.hold()
    async with anyio.create_task_group() as tasks:
        errors: list[str] = []

        async def ask() -> None:
            errors.append((await h.error(actor, "inc")).name)

        tasks.start_soon(ask)
        await h.executor.until_held()
        tasks.start_soon(h.placement.destroy, actor)
        await h.rest()
        h.executor.release()
    assert errors[0] in ("actor/not_found", "actor/aborted")
    await h.rest()
    assert h.state(actor) == "absent"


async def test_the_host_that_shuts_down_does_not_wait_for_a_fall_back(shelf: CodeShelf) -> None:
    async with open_harness(shelf) as h:
        await deploy(h, 1)
        actor = await h.actor()
        await h.call(actor, "inc")
        await h.asleep(actor)
        await deploy(h, 2, wake=BROKEN)
        h.executor.hold()
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await h.error(actor, "inc")

            tasks.start_soon(ask)
            await h.executor.until_held()
            tasks.start_soon(h.placement.drain)
            await h.rest()
            h.executor.release()
        assert (await h.record(actor)).version == 1
