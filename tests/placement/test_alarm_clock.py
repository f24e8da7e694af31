"""The alarm clock: who is woken when, with storage as the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from host.model.errors import UnavailableError
from host.model.records import ActorRecord
from host.placement.alarms import AlarmClock
from host.storage.driver import Driver
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Table:
    """Storage, as far as alarms need it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.rows: dict[str, ActorRecord] = {}
        self.failing = False
        self.looks = 0
        self.slow: anyio.Event | None = None

    def set(self, actor_id: str, after: float | None) -> int | None:
        """`after` is in seconds from now."""
        wake_at = None if after is None else self._clock.now_ms() + int(after * 1_000)
        self.rows[actor_id] = ActorRecord(actor_id, "t", "n", ("k",), 1, 1, 1, 1, "m", 0, wake_at=wake_at)
        return wake_at

    async def due_actors(
        self, before: int, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[tuple[int, str]]:
        self.looks += 1
        self._refuse()
        found = [(row.wake_at, actor_id) for actor_id, row in self.rows.items() if row.wake_at is not None]
        read = sorted(row for row in found if row[0] < before and (after is None or row > after))[:limit]
        if self.slow is not None:
            await self.slow.wait()
        return read

    async def get_actor(self, actor_id: str) -> ActorRecord | None:
        self._refuse()
        return self.rows.get(actor_id)

    def _refuse(self) -> None:
        if self.failing:
            raise UnavailableError("storage", "unavailable", "no")


class Scene:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.table = Table(self.clock)
        self.awake: set[str] = set()
        self.woken: list[tuple[str, float]] = []
        self.alarms = AlarmClock(cast(Driver, self.table), self.clock, self._wake, self.awake.__contains__)

    def _wake(self, actor_id: str) -> None:
        self.woken.append((actor_id, self.clock.monotonic()))
        self.table.rows[actor_id] = replace(self.table.rows[actor_id], wake_at=None)

    def set(self, actor_id: str, after: float | None) -> None:
        self.alarms.changed(actor_id, self.table.set(actor_id, after))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with anyio.create_task_group() as tasks:
        made.run = lambda: tasks.start_soon(made.alarms.run)  # type: ignore[attr-defined]
        yield made
        tasks.cancel_scope.cancel()


def started(scene: Any) -> Scene:
    scene.run()
    assert isinstance(scene, Scene)
    return scene


async def test_what_is_on_disk_at_the_start_fires_at_its_time_and_late_ones_at_once(scene: Scene) -> None:
    scene.table.set("late", -100)
    scene.table.set("soon", 5)
    scene.table.set("far", 300)
    started(scene)
    await scene.clock.advance(4.9)
    assert scene.woken == [("late", 0.0)]
    await scene.clock.advance(600)
    assert scene.woken == [("late", 0.0), ("soon", 5.0), ("far", 300.0)]


async def test_what_a_commit_announces_fires_at_its_time(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 2.5)
    scene.set("far", 1_000)
    await scene.clock.advance(2_000)
    assert scene.woken == [("x", 3.5), ("far", 1_001.0)]


async def test_a_later_announcement_replaces_the_former(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 2)
    scene.set("x", 9)
    scene.set("y", 3)
    scene.set("y", None)
    await scene.clock.advance(20)
    assert scene.woken == [("x", 10.0)]


async def test_a_time_is_checked_against_storage_before_anybody_is_woken(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("cancelled", 2)
    scene.table.set("cancelled", None)
    scene.set("destroyed", 2)
    del scene.table.rows["destroyed"]
    await scene.clock.advance(100)
    assert scene.woken == []


async def test_an_actor_that_is_awake_fires_its_own(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 2)
    scene.awake.add("x")
    await scene.clock.advance(10)
    assert scene.woken == []
    scene.awake.clear()
    await scene.clock.advance(60)
    assert [actor for actor, _ in scene.woken] == ["x"]


async def test_one_that_is_missed_is_found_by_the_next_look(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.table.set("x", 5)  # nobody announced it
    await scene.clock.advance(60)
    assert [actor for actor, _ in scene.woken] == ["x"]


async def test_storage_that_fails_is_asked_again_and_nothing_is_lost(scene: Scene) -> None:
    scene.table.set("x", 5)
    scene.table.failing = True
    with capture_logs() as logs:
        started(scene)
        await scene.clock.advance(10)
    assert 2 <= scene.table.looks <= 12
    assert [line for line in logs if line["event"] == "alarms not read"]
    scene.table.failing = False
    await scene.clock.advance(2)
    assert [actor for actor, _ in scene.woken] == ["x"]


async def test_one_that_could_not_be_checked_is_put_off_and_not_lost(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 5)
    scene.table.failing = True
    with capture_logs() as logs:
        await scene.clock.advance(6)
    assert [line["actor_id"] for line in logs if line["event"] == "alarm put off"] == ["x"]
    scene.table.failing = False
    await scene.clock.advance(60)
    assert [actor for actor, _ in scene.woken] == ["x"]


async def test_it_does_not_look_more_often_than_it_has_to(scene: Scene) -> None:
    for number in range(50):
        scene.table.set(f"a{number}", number / 10)
    started(scene)
    await scene.clock.advance(300)
    assert len(scene.woken) == 50
    assert scene.table.looks <= 12


async def test_what_is_announced_while_the_first_look_is_under_way_is_not_missed(scene: Scene) -> None:
    scene.table.slow = anyio.Event()
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 3)
    scene.table.slow.set()
    await scene.clock.advance(10)
    assert scene.woken == [("x", 4.0)]


async def test_a_look_does_not_put_what_it_read_in_the_place_of_what_was_announced_since(scene: Scene) -> None:
    scene.table.set("x", 3)
    scene.table.slow = anyio.Event()
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 8)
    scene.table.slow.set()
    await scene.clock.advance(10)
    assert scene.woken == [("x", 9.0)]


async def test_one_that_was_put_off_without_a_word_fires_at_its_new_time(scene: Scene) -> None:
    started(scene)
    await scene.clock.advance(1)
    scene.set("x", 3)
    scene.table.set("x", 6)
    await scene.clock.advance(10)
    assert scene.woken == [("x", 7.0)]
