"""Who may compile now: in turns, one of a tenant, and never more than there is room for."""

from __future__ import annotations

import anyio
import pytest

from host.model.errors import UnavailableError
from host.modules.jail.line import Line

pytestmark = pytest.mark.anyio


class Bench:
    """Jobs that hold a place until they are let go; `order` is who got one, in turn."""

    def __init__(self, places: int, room: int = 64) -> None:
        self.line = Line(places, room)
        self.order: list[str] = []
        self.held: dict[str, anyio.Event] = {}

    async def job(self, tenant: str, name: str, behind: bool = False) -> None:
        async with self.line.place(tenant, behind=behind):
            self.order.append(name)
            gate = self.held[name] = anyio.Event()
            await gate.wait()

    async def settle(self) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    async def let_go(self, name: str) -> None:
        self.held.pop(name).set()
        await self.settle()


async def started(bench: Bench, tasks: anyio.abc.TaskGroup, *jobs: tuple[str, str] | tuple[str, str, bool]) -> None:
    for job in jobs:
        tasks.start_soon(bench.job, *job)
        await bench.settle()


async def test_a_tenant_has_one_place_and_others_pass_it() -> None:
    bench = Bench(2)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"))
        assert bench.order == ["a1", "b1"]
        await bench.let_go("b1")
        assert bench.order == ["a1", "b1", "c1"]
        await bench.let_go("a1")
        await bench.let_go("a2")
        assert bench.order == ["a1", "b1", "c1", "a2", "a3"]
        assert bench.line.waiting == 0
        tasks.cancel_scope.cancel()


async def test_tenants_take_turns() -> None:
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"))
        for name in ("a1", "b1", "a2", "b2", "a3"):
            await bench.let_go(name)
    assert bench.order == ["a1", "b1", "a2", "b2", "a3"]


async def test_what_is_done_behind_goes_when_nobody_else_can() -> None:
    bench = Bench(1)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"), ("b", "back", True), ("c", "c1"), ("d", "d1"))
        for name in ("a1", "c1", "d1", "back"):
            await bench.let_go(name)
    assert bench.order == ["a1", "c1", "d1", "back"]


async def test_who_goes_away_leaves_its_place_to_others() -> None:
    bench = Bench(1, room=2)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"))
        async with anyio.create_task_group() as leaving:
            await started(bench, leaving, ("b", "b1"), ("c", "c1"))
            assert bench.line.waiting == 2
            leaving.cancel_scope.cancel()
        assert bench.line.waiting == 0
        await started(bench, tasks, ("b", "b2"), ("d", "d1"))
        for name in ("a1", "d1", "b2"):
            await bench.let_go(name)
        async with anyio.create_task_group() as leaving:
            await started(bench, leaving, ("a", "a2"))
            leaving.cancel_scope.cancel()
        await started(bench, tasks, ("a", "a3"))
        await bench.let_go("a3")
    assert bench.order == ["a1", "d1", "b2", "a2", "a3"]


async def test_a_full_line_says_so() -> None:
    bench = Bench(1, room=1)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"), ("b", "b1"))
        with pytest.raises(UnavailableError) as caught:
            await bench.job("c", "c1")
        await started(bench, tasks, ("c", "back", True))
        assert bench.line.waiting == 2
        tasks.cancel_scope.cancel()
    assert (caught.value.name, caught.value.retryable) == ("node/full", True)
    assert "compile_queue: 1" in caught.value.message


async def test_one_tenant_does_not_fill_the_line_for_the_others() -> None:
    bench = Bench(2, room=4)
    async with anyio.create_task_group() as tasks:
        await started(bench, tasks, ("a", "a1"), ("a", "a2"), ("a", "a3"))
        with pytest.raises(UnavailableError) as caught:
            await bench.job("a", "a4")
        await started(bench, tasks, ("b", "b1"))
        assert bench.order == ["a1", "b1"]
        await bench.let_go("a1")
        await started(bench, tasks, ("a", "a4"))
        assert bench.line.waiting == 2
        tasks.cancel_scope.cancel()
    assert "compile_queue: 2 compilations of one tenant wait, 2 allowed" in caught.value.message
