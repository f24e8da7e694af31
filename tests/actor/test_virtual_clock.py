"""The clock that the other tests stand on."""

from __future__ import annotations

import threading

import anyio
import pytest

from tests.virtual_clock import START_MS, VirtualClock

pytestmark = pytest.mark.anyio


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock()
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0.0)
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0.0)


async def test_timers_fire_in_the_order_of_their_times_and_see_the_time_at_which_they_are_due() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float, int]] = []
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 2.0), ("late", 9.0)):
        clock.timer(when, lambda name=name: seen.append((name, clock.monotonic(), clock.now_ms())))  # type: ignore[misc]
    await clock.advance(3)
    assert seen == [("a", 1.0, START_MS + 1000), ("b", 2.0, START_MS + 2000), ("c", 2.0, START_MS + 2000)]
    assert clock.monotonic() == 3.0
    assert clock.pending == 1


async def test_a_timer_that_a_timer_sets_within_the_span_fires_in_it_too() -> None:
    clock = VirtualClock()
    seen: list[float] = []

    def again() -> None:
        seen.append(clock.monotonic())
        if len(seen) < 3:
            clock.timer(clock.monotonic() + 1, again)

    clock.timer(1, again)
    await clock.advance(2)
    assert seen == [1.0, 2.0]
    await clock.advance(1)
    assert seen == [1.0, 2.0, 3.0]


async def test_a_cancelled_timer_does_not_fire() -> None:
    clock = VirtualClock()
    fired: list[int] = []
    clock.timer(1, lambda: fired.append(1)).cancel()
    assert clock.pending == 0
    await clock.advance(2)
    assert fired == []


async def test_what_a_timer_wakes_has_run_before_the_next_timer_fires() -> None:
    clock = VirtualClock()
    order: list[str] = []
    woken = anyio.Event()

    async def sleeper() -> None:
        await woken.wait()
        await anyio.lowlevel.checkpoint()
        order.append("sleeper")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        clock.timer(1, woken.set)
        clock.timer(2, lambda: order.append("second"))
        await clock.advance(2)
    assert order == ["sleeper", "second"]


async def test_sleep_until_returns_at_its_time_and_at_once_when_it_has_passed() -> None:
    clock = VirtualClock()
    done: list[float] = []

    async def sleeper(when: float) -> None:
        await clock.sleep_until(when)
        done.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, 5.0)
        await clock.advance(4.999)
        assert done == []
        await clock.advance(0.001)
        assert done == [5.0]
    with anyio.fail_after(1):
        await clock.sleep_until(1.0)


async def test_fail_after_raises_when_the_time_is_over_and_lets_a_quick_block_be() -> None:
    clock = VirtualClock()
    outcome: list[str] = []

    async def waits() -> None:
        try:
            with clock.fail_after(2):
                await anyio.sleep_forever()
        except TimeoutError:
            outcome.append("timeout")

    with clock.fail_after(1):
        await anyio.lowlevel.checkpoint()
    assert clock.pending == 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits)
        await clock.advance(1)
        assert outcome == []
        await clock.advance(1)
    assert outcome == ["timeout"]


async def test_it_can_be_asked_from_other_threads_while_it_moves() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.append(clock.now_ms())

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(50):
        await clock.advance(0.01)
    stop.set()
    thread.join(5)
    assert seen == sorted(seen)
    assert clock.now_ms() == START_MS + 500


async def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        await VirtualClock().advance(-1)
