"""The guest threads: fair, bounded, patient with jobs and with those who stop waiting."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable

import pytest

from host.isolate.executor import Executor
from host.isolate.fair_queue import FairQueue
from host.isolate.guest_thread import STACK_BYTES, run_on_guest_thread
from host.model.errors import InternalError, UnavailableError

pytestmark = pytest.mark.anyio

WAIT = 10.0


class Gate:
    """Jobs that say that they began and stay until they are let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.began = threading.Semaphore(0)
        self.inside = 0

    def job(self) -> str:
        self.inside += 1
        self.began.release()
        assert self.open.wait(WAIT)
        self.inside -= 1
        return "done"

    async def until_began(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.began.acquire, True, WAIT)


async def test_a_job_returns_or_raises_to_whoever_waits() -> None:
    def fails() -> None:
        raise KeyError("mine")

    async with Executor(2) as executor:
        assert await executor.run("t", lambda: 42) == 42
        with pytest.raises(KeyError):
            await executor.run("t", fails)
        with pytest.raises(InternalError):
            await executor.run("t", lambda: next(iter(())))
        assert await executor.run("t", lambda: threading.current_thread().name.startswith("dormice-guest")) is True


async def test_there_are_twice_as_many_threads_as_cores_and_at_least_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 4), (2, 4), (8, 16), (None, 4)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert (Executor().threads, Executor().share) == (threads, threads // 2)
    with pytest.raises(ValueError, match="thread"):
        Executor(0)


def stack_bytes_of_this_thread() -> int:
    """What the C library says of the calling thread."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    attributes, size = ctypes.create_string_buffer(64), ctypes.c_size_t()
    assert libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes) == 0
    assert libc.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
    libc.pthread_attr_destroy(attributes)
    return size.value


async def test_rule_2_guest_threads_have_stacks_of_16_mib_and_the_setting_of_others_is_left_alone() -> None:
    before = threading.stack_size()
    async with Executor(2) as executor:
        assert threading.stack_size() == before
        assert await executor.run("t", stack_bytes_of_this_thread) >= STACK_BYTES == 16 * 1024 * 1024
    assert run_on_guest_thread(stack_bytes_of_this_thread) >= STACK_BYTES


async def test_rule_10_one_tenant_gets_at_most_half_of_the_threads() -> None:
    gate, other = Gate(), Gate()
    other.open.set()
    async with Executor(4) as executor:
        flood = [asyncio.ensure_future(executor.run("greedy", gate.job)) for _ in range(20)]
        await gate.until_began(2)
        assert (executor.running, executor.waiting) == (2, 18)
        assert await asyncio.wait_for(executor.run("modest", other.job), WAIT) == "done"
        assert gate.inside == 2
        gate.open.set()
        assert await asyncio.wait_for(asyncio.gather(*flood), WAIT) == ["done"] * 20


async def test_a_full_queue_answers_node_full_at_once() -> None:
    gate = Gate()
    async with Executor(2, queue_limit=3) as executor:
        jobs = [asyncio.ensure_future(executor.run("t", gate.job)) for _ in range(1)]
        await gate.until_began(1)
        jobs += [asyncio.ensure_future(executor.run("t", gate.job)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError) as caught:
            await executor.run("t", gate.job)
        assert caught.value.name == "node/full"
        assert "3 allowed" in caught.value.message
        gate.open.set()
        await asyncio.gather(*jobs)


async def test_whoever_stops_waiting_gives_up_the_outcome_but_not_the_slot() -> None:
    gate = Gate()
    async with Executor(2) as executor:
        waiter = asyncio.ensure_future(executor.run("t", gate.job))
        await gate.until_began(1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert executor.running == 1, "the job goes on"
        behind = asyncio.ensure_future(executor.run("t", lambda: "behind"))
        await asyncio.sleep(0)
        assert executor.waiting == 1, "its tenant's only slot is taken"
        gate.open.set()
        assert await asyncio.wait_for(behind, WAIT) == "behind"
        assert gate.inside == 0


async def test_a_job_whose_waiter_left_may_fail_without_harm() -> None:
    gate = Gate()

    def fails() -> None:
        gate.job()
        raise KeyError("nobody hears it")

    async with Executor(2) as executor:
        waiter = asyncio.ensure_future(executor.run("t", fails))
        await gate.until_began(1)
        waiter.cancel()
        gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_closing_waits_for_every_job_and_takes_no_more() -> None:
    gate = Gate()
    executor = Executor(2)
    await executor.__aenter__()
    jobs = [asyncio.ensure_future(executor.run("t", gate.job)) for _ in range(3)]
    await gate.until_began(1)
    closing = asyncio.ensure_future(executor.__aexit__(None, None, None))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as caught:
        await executor.run("t", gate.job)
    assert caught.value.name == "node/draining"
    assert not closing.done()
    gate.open.set()
    await asyncio.wait_for(closing, WAIT)
    assert [job.result() for job in jobs] == ["done"] * 3
    assert not [t for t in threading.enumerate() if t.name.startswith("dormice-guest-")]


async def test_an_executor_is_entered_once() -> None:
    executor = Executor(1)
    with pytest.raises(UnavailableError):
        await executor.run("t", lambda: None)
    async with executor:
        with pytest.raises(InternalError):
            await executor.__aenter__()


async def test_thousands_of_jobs_of_many_tenants_all_come_back() -> None:
    async with Executor(4) as executor:

        def job(number: int) -> Callable[[], int]:
            return lambda: number

        results = await asyncio.gather(*(executor.run(f"t{n % 7}", job(n)) for n in range(3_000)))
        assert results == list(range(3_000))
        assert (executor.running, executor.waiting) == (0, 0)


def test_a_job_on_a_thread_of_its_own_raises_to_its_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        run_on_guest_thread(lambda: 1 // 0)


def test_tenants_take_turns_in_the_queue() -> None:
    queue: FairQueue[int] = FairQueue(10)
    for n in range(4):
        queue.put("a", n)
    queue.put("b", 10)
    queue.put("c", 20)
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    assert taken == [("a", 0), ("b", 10), ("c", 20), ("a", 1), ("a", 2), ("a", 3)]


def test_a_tenant_over_its_share_waits_until_one_of_its_jobs_is_done() -> None:
    queue: FairQueue[int] = FairQueue(2)
    for n in range(4):
        queue.put("a", n)
    assert [queue.take(), queue.take(), queue.take()] == [("a", 0), ("a", 1), None]
    assert (queue.running, queue.waiting) == (2, 2)
    queue.done("a")
    assert queue.take() == ("a", 2)
    assert queue.take() is None
    for _ in range(2):
        queue.done("a")
    assert queue.take() == ("a", 3)
    queue.done("a")
    assert (queue.running, queue.waiting) == (0, 0)
    assert not queue._lines
