"""The guest threads: jobs go over from the event loop, outcomes come back, in the fewest wake-ups.

* max(4, 2 x cores) threads with 16 MiB stacks; one tenant occupies at most half of them, and tenants take turns.
* A bounded queue: past it, `run` raises `node/full` at once.
* A job goes straight into the hands of an idle thread, the one that was busy last (its caches are warm); a thread that
  ends a job takes the next one by itself. Outcomes are collected, and the loop is woken once for all that are there.
* The CPU time of each job on its thread is charged to its tenant before its outcome is handed over.
* A job is never interrupted. Whoever stops waiting for one gives up its outcome only; the thread, and the tenant's
  share, are free when the job has ended. Guests end by their deadline, so closing waits for all of them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import anyio

from host.isolate.fair_queue import FairQueue
from host.isolate.guest_thread import start_guest_thread
from host.model.errors import InternalError, UnavailableError

__all__ = ["CpuMeter", "Executor"]

T = TypeVar("T")

QUEUE_LIMIT = 16_384


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """`thread_time` is the CPU time of the calling thread, in seconds; `charge` is called on the event loop."""

    thread_time: Callable[[], float]
    charge: Callable[[str, float], None]


NO_METER = CpuMeter(lambda: 0.0, lambda tenant, seconds: None)


class _Job:
    __slots__ = ("call", "cpu", "error", "future", "result", "tenant")

    def __init__(self, tenant: str, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.tenant = tenant
        self.call = call
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.cpu = 0.0


class _Worker:
    """A thread's mailbox: `wake` is held while there is nothing for it to do."""

    __slots__ = ("job", "thread", "wake")

    def __init__(self) -> None:
        self.job: _Job | None = None
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread: threading.Thread | None = None


class Executor:
    """An async context manager; `run` belongs to the event loop that entered it."""

    def __init__(
        self, threads: int | None = None, *, queue_limit: int = QUEUE_LIMIT, meter: CpuMeter = NO_METER
    ) -> None:
        self.threads = threads if threads is not None else max(4, 2 * (os.cpu_count() or 1))
        if self.threads < 1:
            raise ValueError("an executor needs a thread")
        self.share = max(1, self.threads // 2)
        self._queue_limit = queue_limit
        self._meter = meter
        self._lock = threading.Lock()
        self._queue: FairQueue[_Job] = FairQueue(self.share)
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._outcomes: deque[_Job] = deque()
        self._collecting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty: asyncio.Event | None = None
        self._closing = False

    async def __aenter__(self) -> Executor:
        if self._loop is not None:
            raise InternalError("an executor is entered once")
        self._loop = asyncio.get_running_loop()
        for number in range(self.threads):
            worker = _Worker()
            self._workers.append(worker)
            self._idle.append(worker)
            worker.thread = start_guest_thread(f"dormice-guest-{number}", lambda worker=worker: self._work(worker))  # type: ignore[misc]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes no more jobs, waits for those that it has (also when its own task is cancelled), ends the threads."""
        self._closing = True
        self._empty = asyncio.Event()
        with anyio.CancelScope(shield=True):
            while self.waiting or self.running or self._collecting:
                self._empty.clear()
                await self._empty.wait()
        for worker in self._workers:
            worker.wake.release()
        for worker in self._workers:
            if worker.thread is not None:
                worker.thread.join()

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return self._queue.waiting

    @property
    def running(self) -> int:
        """Jobs on a thread."""
        return self._queue.running

    async def run(self, tenant: str, job: Callable[[], T]) -> T:
        """Runs the job on a guest thread and returns or raises what it does; `node/full` when too many wait."""
        loop = self._loop
        if loop is None or self._closing:
            raise UnavailableError("node", "draining", "this node takes no more work; try another, or again later")
        queue = self._queue
        if queue.waiting >= self._queue_limit:
            raise UnavailableError(
                "node",
                "full",
                f"executor queue: {queue.waiting} jobs wait, {self._queue_limit} allowed; try again later",
            )
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            queue.put(tenant, _Job(tenant, job, future))
            worker = self._next_worker()
        if worker is not None:
            worker.wake.release()
        return await future

    def _next_worker(self) -> _Worker | None:
        """Under the lock: an idle worker with the next job in its hands, if there are both."""
        if not self._idle:
            return None
        taken = self._queue.take()
        if taken is None:
            return None
        worker = self._idle.pop()
        worker.job = taken[1]
        return worker

    def _work(self, worker: _Worker) -> None:
        """The life of a thread; woken without a job, it ends."""
        wait, lock, queue = worker.wake.acquire, self._lock, self._queue
        cpu = self._meter.thread_time
        while True:
            wait()
            job, worker.job = worker.job, None
            if job is None:
                return
            while job is not None:
                began = cpu()
                try:
                    job.result = job.call()
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the job
                    job.error = error
                job.cpu = cpu() - began
                with lock:
                    queue.done(job.tenant)
                    taken = queue.take()
                    if taken is None:
                        self._idle.append(worker)
                        after = None
                    else:
                        after = self._next_worker()
                    self._outcomes.append(job)
                    first, self._collecting = not self._collecting, True
                if first and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._collect)
                if after is not None:
                    after.wake.release()
                job = taken[1] if taken is not None else None

    def _collect(self) -> None:
        """On the loop: hands over every outcome that is there."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, deque()
            self._collecting = False
        for job in outcomes:
            future = job.future
            self._meter.charge(job.tenant, job.cpu)
            if future.done():  # nobody waits any more
                continue
            error = job.error
            if error is None:
                future.set_result(job.result)
            elif isinstance(error, StopIteration):  # a future cannot carry it
                future.set_exception(InternalError("a job raised StopIteration"))
            else:
                future.set_exception(error)
        if self._empty is not None:
            self._empty.set()
