"""How deploys go, in every driver: versions, failures, and actors that are held back."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from host.model.definitions import Definition, DefinitionOptions, DeployFailure
from host.storage.driver import KEPT_FAILURES, KEPT_VERSIONS, Driver
from tests.storage.samples import MODULE, change, create, ident, unit

pytestmark = pytest.mark.anyio


async def deploy(driver: Driver, *, tenant: str = "default", name: str = "room", percent: int = 100) -> Definition:
    return await driver.put_definition(tenant, name, MODULE, DefinitionOptions(), {}, 7, percent=percent)


async def test_a_new_version_is_live_for_the_percent_that_was_asked_for(driver: Driver) -> None:
    plain, canary = await deploy(driver), await deploy(driver, percent=10)
    assert (plain.status, plain.percent, plain.reason) == ("live", 100, None)
    assert (canary.status, canary.percent) == ("live", 10)
    assert await driver.get_definition("default", "room") == canary
    assert await driver.list_definitions("default") == [canary]


async def test_versions_come_newest_first_and_those_of_one_name_only(driver: Driver) -> None:
    made = [await deploy(driver) for _ in range(3)]
    await deploy(driver, name="other")
    await deploy(driver, tenant="other")
    assert list(await driver.definition_versions("default", "room")) == made[::-1]
    assert list(await driver.definition_versions("default", "none")) == []


async def test_the_latest_versions_are_given_and_the_one_that_is_asked_for(driver: Driver) -> None:
    for _ in range(KEPT_VERSIONS + 3):
        await deploy(driver)
    newest = list(range(KEPT_VERSIONS + 3, 3, -1))
    found = await driver.definition_versions("default", "room")
    assert [each.version for each in found] == newest
    for also, more in ((2, [2]), (4, []), (KEPT_VERSIONS, []), (0, []), (10_000, [])):
        found = await driver.definition_versions("default", "room", also)
        assert [each.version for each in found] == newest + more


async def test_what_is_given_of_a_deploy_changes_and_the_rest_stays(driver: Driver) -> None:
    made = await deploy(driver, percent=10)
    wider = await driver.set_deploy("default", "room", 1, percent=50)
    assert wider == replace(made, percent=50)
    failed = await driver.set_deploy("default", "room", 1, status="failed", reason="because")
    assert failed == replace(made, percent=50, status="failed", reason="because")
    assert await driver.get_definition("default", "room", 1) == failed
    assert await driver.set_deploy("default", "room", 2, percent=50) is None
    assert await driver.set_deploy("other", "room", 1, percent=50) is None


async def test_a_failure_counts_once_an_actor_at_its_latest_time(driver: Driver) -> None:
    note = driver.note_deploy_failure
    for number in (1, 2):
        await create(driver, number)
    assert await note("default", "room", 2, ident(1), 30, "a") == [30]
    assert await note("default", "room", 2, ident(2), 20, "b") == [20, 30]
    assert await note("default", "room", 2, ident(1), 40, "c") == [20, 40]
    assert await note("default", "room", 3, ident(1), 50, "d") == [50]
    assert await note("default", "other", 2, ident(1), 60, "e") == [60]
    assert await note("other", "room", 2, ident(1), 70, "f") == [70]
    assert list(await driver.deploy_failures("default", "room", 10)) == [
        DeployFailure(3, ident(1), 50, "d"),
        DeployFailure(2, ident(1), 40, "c"),
        DeployFailure(2, ident(2), 20, "b"),
    ]
    assert len(await driver.deploy_failures("default", "room", 1)) == 1
    assert list(await driver.deploy_failures("default", "none", 10)) == []


async def test_of_a_version_the_latest_failures_are_kept(driver: Driver) -> None:
    for number in range(KEPT_FAILURES + 3):
        await create(driver, number)
        times = await driver.note_deploy_failure("default", "room", 1, ident(number), 50 + number // 2, "x")
    assert times == [50 + number // 2 for number in range(3, KEPT_FAILURES + 3)]
    await driver.note_deploy_failure("default", "room", 2, ident(1), 1, "x")
    found = await driver.deploy_failures("default", "room", 1_000)
    assert [each.actor_id for each in found if each.version == 1] == [
        ident(number) for number in range(KEPT_FAILURES + 2, 2, -1)
    ]
    assert len(found) == KEPT_FAILURES + 1


async def test_failures_at_once_are_all_counted(driver: Driver) -> None:
    actors = [await create(driver, number) for number in range(10)]
    noted = (driver.note_deploy_failure("default", "room", 1, actor, 5, "x") for actor in actors)
    assert max(map(len, await asyncio.gather(*noted))) == 10


async def test_a_destroyed_actor_leaves_no_failure(driver: Driver) -> None:
    actor, other = await create(driver, 1), await create(driver, 9)
    await driver.note_deploy_failure("default", "room", 1, actor, 5, "x")
    await driver.note_deploy_failure("default", "room", 1, other, 6, "x")
    assert await driver.finish_destroy(actor)
    # Nor does one that is told of too late.
    assert await driver.note_deploy_failure("default", "room", 1, actor, 7, "x") == [6]
    found = await driver.deploy_failures("default", "room", 10)
    assert [each.actor_id for each in found] == [other]


async def test_actors_of_a_name_are_counted_up_to_a_number(driver: Driver) -> None:
    actors = [await create(driver, number) for number in range(4)]
    await create(driver, 5, name="other")
    assert await driver.count_actors("default", "room", 10) == 4
    assert await driver.count_actors("default", "room", 2) == 2
    assert await driver.count_actors("default", "none", 2) == 0
    assert await driver.count_actors("other", "room", 2) == 0
    await driver.finish_destroy(actors[0])
    assert await driver.count_actors("default", "room", 10) == 3


async def held_version(driver: Driver, actor: str) -> int | None:
    record = await driver.get_actor(actor)
    assert record is not None
    return record.held_version


async def test_an_actor_is_held_back_by_its_own_change_until_the_next_or_its_release(driver: Driver) -> None:
    actor = await create(driver, 1)
    assert await held_version(driver, actor) is None
    await driver.commit(unit(actor, 1, actor=change(held_version=2)))
    assert await held_version(driver, actor) == 2
    image = await driver.hydrate(actor)
    assert image is not None
    assert image.record == await driver.get_actor(actor)
    await driver.commit(unit(actor, 2))
    assert await held_version(driver, actor) == 2
    assert await driver.release_held(actor) is True
    assert await driver.release_held(actor) is False
    assert await driver.release_held(ident(9)) is False
    assert await driver.get_actor(actor) == replace(image.record, hop_seq=2, held_version=None)
    await driver.commit(unit(actor, 3, actor=change(held_version=3)))
    await driver.commit(unit(actor, 4, actor=change()))
    assert await held_version(driver, actor) is None
