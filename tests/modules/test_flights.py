"""Work that outlives those who ask: done once, for all, by whoever comes to its turn first."""

from __future__ import annotations

import anyio
import pytest

from host.model.errors import CallerError, DormiceError, UnavailableError
from host.modules.flights import Begin, Flights

from .clocks import RealClock

pytestmark = pytest.mark.anyio


class Work:
    """A rider's: it stands in line until `turn`, begins, and ends with `end`."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun = 0
        self.turn = anyio.Event()
        self.end = anyio.Event()
        self.fails: Exception | None = None

    async def __call__(self, begin: Begin) -> str:
        self.asked += 1
        await self.turn.wait()
        begin()
        self.begun += 1
        await self.end.wait()
        if self.fails is not None:
            raise self.fails
        return "made"


class Bench:
    def __init__(self) -> None:
        self.flights: Flights[str] = Flights()
        self.got: dict[str, str] = {}

    async def join(self, name: str, work: Work) -> None:
        try:
            self.got[name] = await self.flights.join("key", name, work)
        except DormiceError as error:
            self.got[name] = error.name


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_what_nobody_could_wait_for_is_there_for_the_next() -> None:
    bench, work = Bench(), Work()
    with pytest.raises(TimeoutError), RealClock().fail_after(0):
        await bench.join("a", work)
    work.turn.set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "a", work)
        await settle()
        work.end.set()
    assert (bench.got, work.begun) == ({"a": "made"}, 1)


async def test_a_rider_whose_turn_comes_first_does_it_for_one_that_asked_earlier() -> None:
    bench, slow, quick = Bench(), Work(), Work()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "slow", slow)
        await settle()
        tasks.start_soon(bench.join, "quick", quick)
        quick.turn.set()
        quick.end.set()
    assert (bench.got, slow.begun, quick.begun) == ({"slow": "made", "quick": "made"}, 0, 1)
    slow.turn.set()
    await settle()
    assert slow.begun == 0
    await bench.flights.close()


async def test_whose_turn_comes_while_another_is_at_work_waits_for_that() -> None:
    bench, first, second = Bench(), Work(), Work()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "first", first)
        tasks.start_soon(bench.join, "second", second)
        for work in (first, second):
            work.turn.set()
            await settle()
        assert (first.begun, second.begun) == (1, 0)
        first.end.set()
    assert (bench.got, second.begun) == ({"first": "made", "second": "made"}, 0)


async def test_a_refusal_is_for_all_and_is_not_kept() -> None:
    bench, first, second, later = Bench(), Work(), Work(), Work()
    first.fails = CallerError("module", "malformed", "no module")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "first", first)
        tasks.start_soon(bench.join, "second", second)
        first.turn.set()
        first.end.set()
    assert bench.got == {"first": "module/malformed", "second": "module/malformed"}
    later.turn.set()
    later.end.set()
    await bench.join("third", later)
    assert bench.got["third"] == "made"
    await bench.flights.close()


async def test_no_room_for_one_leaves_the_others_to_go_on() -> None:
    bench, first, second = Bench(), Work(), Work()
    first.fails = UnavailableError("node", "full", "no room")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "first", first)
        tasks.start_soon(bench.join, "second", second)
        for work in (first, second):
            work.turn.set()
            await settle()
        first.end.set()
        await settle()
        assert (bench.got, second.asked, second.begun) == ({"first": "node/full"}, 2, 1)
        second.end.set()
    assert bench.got["second"] == "made"


async def test_at_the_end_everybody_is_told_and_no_task_is_left() -> None:
    bench, work = Bench(), Work()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.join, "a", work)
        tasks.start_soon(bench.join, "b", Work())
        await settle()
        before = len(anyio.get_running_tasks())
        tasks.start_soon(bench.join, "c", Work())
        await bench.flights.close()
        await settle()
        assert len(anyio.get_running_tasks()) < before
    await bench.join("d", work)
    assert bench.got == dict.fromkeys("abcd", "node/draining")
