"""The compile jail over real processes: results, budgets, deaths of every kind, and nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from host.isolate.engine import Engine
from host.model.errors import CallerError, DormiceError, TenantError, UnavailableError
from host.model.limits import Limits
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import Admit, Compile, Job

from .bombs import FUNCTIONS, LOOPS
from .clocks import HandClock, RealClock
from .guests import guest, with_manifest
from .jail_events import Happenings, ToldMetrics, clean, told_of_work
from .processes import children_of, environment_of, exists, gone, open_files, resident

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

ROOT = Path(__file__).parent.parent.parent
SMALL = Compile(guest(), "default")
BOMB = Compile(LOOPS, "default")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


class Bench:
    def __init__(self, clock: RealClock | None = None, places: int | None = 2, **limits: int) -> None:
        self.happenings = Happenings()
        self.metrics = ToldMetrics(self.happenings.tell)
        if isinstance(clock, HandClock):
            clock.on_wait = self.happenings.tell
        # a machine that is busy with other tests may take its time
        limits.setdefault("compile_time", 100_000)
        self.jail = Jail(clock or RealClock(), Limits(**limits), self.metrics, places=places)
        self.failed: list[DormiceError] = []

    async def run(self, job: Job = SMALL, tenant: str = "t") -> bytes:
        return (await self.jail.run(tenant, job, "a job")).artifact

    async def fails(self, job: Job, tenant: str = "t") -> None:
        try:
            await self.run(job, tenant)
        except DormiceError as error:
            self.failed.append(error)
            self.happenings.tell()

    def zygote(self) -> int:
        assert self.jail.zygote_pid is not None
        return self.jail.zygote_pid

    def children(self) -> list[int]:
        return [] if self.jail.zygote_pid is None else children_of(self.zygote())

    async def child(self) -> int:
        """The one child, when there is one and it has begun with its job."""
        (child,) = await self.some(1)
        return child

    async def some(self, count: int) -> list[int]:
        """The children, when there are so many."""
        await self.happenings.until(lambda: len(self.children()) == count)
        return self.children()

    async def counted(self, name: str, reason: str, count: int) -> None:
        await self.happenings.until(lambda: self.metrics.counter(name, reason) == count)


@asynccontextmanager
async def jailed(
    clock: RealClock | None = None, places: int | None = 2, patience: float = 120.0, **limits: int
) -> AsyncIterator[Bench]:
    bench = Bench(clock, places, **limits)
    with anyio.fail_after(patience), told_of_work(bench.happenings.tell):
        try:
            yield bench
        finally:
            await bench.jail.close()


async def test_the_artifact_is_what_the_host_itself_would_have_made(engine: Engine) -> None:
    async with jailed() as bench:
        artifact = await bench.run()
    code = engine.deserialize(artifact)
    code.check_abi()
    assert artifact == engine.serialize(engine.compile(SMALL.wasm))


async def test_an_artifact_of_one_profile_is_refused_by_the_other(engine: Engine) -> None:
    async with jailed() as bench:
        artifact = await bench.run(Compile(SMALL.wasm, "dense"))
    with pytest.raises(DormiceError):
        engine.deserialize(artifact)


async def test_admission_comes_with_its_report() -> None:
    wasm = with_manifest(guest(), b'{"abi":1,"name":"x"}')
    async with jailed() as bench:
        done = await bench.jail.run("t", Admit(wasm, "default", Limits().as_dict()), "a job")
    assert done.report is not None
    assert (done.report.size, done.report.manifest.name) == (len(wasm), "x")


async def test_the_error_of_a_module_comes_back_whole() -> None:
    async with jailed() as bench:
        with pytest.raises(TenantError) as caught:
            await bench.run(Compile(b"\0asm\1\0\0\0\7", "default"))
        assert bench.metrics.counter("jail_jobs", "malformed") == 1
        await bench.run()
    assert caught.value.name == "module/malformed"
    assert "unexpected end" in (caught.value.detail or "")


async def test_a_survey_refuses_in_the_jail_as_it_does_outside() -> None:
    async with jailed() as bench:
        with pytest.raises(DormiceError) as caught:
            await bench.run(Admit(LOOPS, "default", Limits().as_dict()))
    assert caught.value.group == "module"
    told = msgspec.json.decode(caught.value.metadata or b"{}")
    assert told == {"limit": "module_body", "used": told["used"], "allowed": Limits().module_body}


@pytest.mark.parametrize("wasm", [LOOPS, FUNCTIONS], ids=["loops", "functions"])
async def test_too_much_cpu_is_told_with_limit_used_and_allowed(wasm: bytes) -> None:
    async with jailed(compile_cpu=1_000) as bench:
        with pytest.raises(CallerError) as caught:
            await bench.run(Compile(wasm, "default"))
        await bench.run()
    assert caught.value.name == "module/compile_budget"
    told = msgspec.json.decode(caught.value.metadata or b"{}")
    assert (told["limit"], told["allowed"]) == ("compile_cpu", 1_000)
    assert 1_000 <= told["used"] < 2_500


@pytest.mark.parametrize("mebibytes", [90, 120, 160])
async def test_too_much_memory_is_told_with_limit_used_and_allowed(mebibytes: int) -> None:
    allowed = mebibytes * 1024 * 1024
    async with jailed(compile_memory=allowed) as bench:
        with pytest.raises(CallerError) as caught:
            await bench.run(BOMB)
    assert caught.value.name == "module/compile_budget"
    told = msgspec.json.decode(caught.value.metadata or b"{}")
    assert (told["limit"], told["allowed"]) == ("compile_memory", allowed)
    assert told["used"] >= allowed


async def test_a_bomb_leaves_the_event_loop_alone() -> None:
    worst = 0.0
    clock = RealClock()

    async def tick() -> None:
        nonlocal worst
        while True:
            due = clock.monotonic() + 0.005
            await clock.sleep_until(due)
            worst = max(worst, clock.monotonic() - due)

    async with jailed(compile_cpu=1_000) as bench, anyio.create_task_group() as tasks:
        await bench.run()
        tasks.start_soon(tick)
        await bench.fails(BOMB)
        tasks.cancel_scope.cancel()
    assert [error.name for error in bench.failed] == ["module/compile_budget"]
    # in this process it would be a second; the room is for a machine that has other things to do
    assert worst < 0.25


async def test_a_child_that_is_killed_has_its_job_done_by_another() -> None:
    async with jailed(compile_cpu=1_000) as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB)
        os.kill(await bench.child(), signal.SIGKILL)
        await bench.counted("jail_jobs", "lost", 1)
    assert [error.name for error in bench.failed] == ["module/compile_budget"]


async def test_a_job_that_is_lost_twice_is_nobodys_verdict() -> None:
    async with jailed() as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB)
        for lost in (1, 2):
            os.kill(await bench.child(), signal.SIGKILL)
            await bench.counted("jail_jobs", "lost", lost)
    (error,) = bench.failed
    assert (error.name, error.retryable, error.retry_after) == ("node/compiler_down", True, 1.0)
    assert isinstance(error, UnavailableError)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGTERM])
async def test_a_compiler_that_crashes_has_failed_on_this_module(number: signal.Signals) -> None:
    async with jailed() as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB)
        os.kill(await bench.child(), number)
    (error,) = bench.failed
    assert error.name == "module/compile_failed"
    assert f"signal {number.value}" in (error.detail or "")


async def test_a_zygote_that_dies_takes_its_children_along_and_is_started_anew() -> None:
    async with jailed(compile_cpu=1_000) as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB)
        child, first = await bench.child(), bench.zygote()
        os.kill(first, signal.SIGKILL)
        await gone(child)
        await bench.happenings.until(lambda: bench.jail.zygote_pid not in (None, first))
    assert [error.name for error in bench.failed] == ["module/compile_budget"]
    assert bench.metrics.counter("jail_restarts") == 1


async def test_who_stops_waiting_has_the_child_killed() -> None:
    async with jailed() as bench:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.run, BOMB)
            child = await bench.child()
            tasks.cancel_scope.cancel()
        await gone(child)
        await clean(bench.jail)
        assert bench.children() == []
        await bench.run()


async def test_a_job_that_does_not_end_by_the_clock_is_given_up() -> None:
    clock = HandClock()
    async with jailed(clock, compile_time=30_000) as bench, anyio.create_task_group() as tasks:
        await bench.run()
        tasks.start_soon(bench.fails, BOMB)
        child = await bench.child()
        os.kill(child, signal.SIGSTOP)
        clock.advance(31)
        await gone(child)
        await clean(bench.jail)
        assert bench.children() == []
    (error,) = bench.failed
    assert error.name == "node/compiler_down"
    assert "30.0 s" in (error.detail or "")


async def test_a_zygote_that_hangs_is_replaced_after_two_jobs_without_an_end() -> None:
    clock = HandClock()
    async with jailed(clock, compile_time=30_000) as bench:
        await bench.run()
        first = bench.zygote()
        os.kill(first, signal.SIGSTOP)
        try:
            for failures in (1, 2):
                assert bench.jail.zygote_pid == first
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(bench.fails, SMALL)
                    await bench.happenings.until(lambda: clock.waits == 1)
                    clock.advance(31)
                assert len(bench.failed) == failures
            assert not exists(first)
        finally:
            if exists(first):  # the jail would wait for it, by a clock that stands still
                os.kill(first, signal.SIGKILL)
        await bench.run()
        assert bench.metrics.counter("jail_restarts") == 1
    assert [error.name for error in bench.failed] == ["node/compiler_down"] * 2


async def test_a_child_that_hangs_between_others_that_end_costs_no_zygote() -> None:
    clock = HandClock()
    async with jailed(clock, compile_time=30_000) as bench:
        await bench.run()
        first = bench.zygote()
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.fails, BOMB)
                os.kill(await bench.child(), signal.SIGSTOP)
                clock.advance(31)
            await bench.run()
        assert bench.jail.zygote_pid == first
    assert len(bench.failed) == 3


async def test_closing_ends_every_process_also_while_jobs_run() -> None:
    before = open_files(os.getpid()), children_of(os.getpid())
    async with jailed(places=2) as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB, "a")
        tasks.start_soon(bench.fails, BOMB, "b")
        processes = [*await bench.some(2), bench.zygote()]
        await bench.jail.close()
    assert [error.name for error in bench.failed] == ["node/draining"] * 2
    assert [pid for pid in processes if exists(pid)] == []
    assert (len(open_files(os.getpid())), children_of(os.getpid())) == (len(before[0]), before[1])


async def test_a_jail_that_was_never_used_costs_no_process() -> None:
    before = children_of(os.getpid())
    async with jailed() as bench:
        assert children_of(os.getpid()) == before
        assert bench.jail.zygote_pid is None


async def test_two_hundred_jobs_leave_no_trace() -> None:
    async with jailed(places=2) as bench:
        await bench.run()
        ours = len(open_files(os.getpid()))
        size = resident(bench.zygote())

        async def some(tenant: str) -> None:
            for _ in range(100):
                await bench.run(tenant=tenant)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(some, "a")
            tasks.start_soon(some, "b")
        await clean(bench.jail)
        assert bench.children() == []
        assert len(open_files(bench.zygote())) <= 6
        assert len(open_files(os.getpid())) == ours
        assert resident(bench.zygote()) - size < 1024 * 1024
        assert bench.metrics.counter("jail_jobs", "done") == 201


async def test_the_zygote_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMICE_ADMIN_TOKEN", "a-token-that-nobody-knows")
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    try:
        async with jailed() as bench:
            await bench.run()
            names = environment_of(bench.zygote())
            # the control socket and the pipe of its signals; 0 and 1 are /dev/null, 2 is the host's
            await clean(bench.jail)
            assert len(open_files(bench.zygote())) <= 6
            assert os.getsid(bench.zygote()) == bench.zygote()
            assert os.getpriority(os.PRIO_PROCESS, bench.zygote()) > os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        os.close(secret)
        os.close(other)
    assert names <= {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "PYTHONHOME", "LC_CTYPE"}


# A host of its own, that says whom it started and waits to be killed.
HOST = """
import anyio, sys
from host.clock import SystemClock
from host.model.limits import Limits
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import Compile
from host.telemetry.metrics import MetricsRegistry
from tests.modules.bombs import LOOPS
from tests.modules.jail_events import told_of_work
from tests.modules.processes import children_of

async def main():
    jail, begun = Jail(SystemClock(), Limits(), MetricsRegistry()), anyio.Event()
    with told_of_work(begun.set):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(jail.run, "t", Compile(LOOPS, "default"), "a job")
            await begun.wait()
            sys.stdout.write(f"{jail.zygote_pid} {children_of(jail.zygote_pid)[0]}\\n")
            sys.stdout.flush()

anyio.run(main)
"""


async def test_a_host_that_is_killed_leaves_no_process() -> None:
    with anyio.fail_after(60):
        async with await anyio.open_process([sys.executable, "-c", HOST], cwd=ROOT, stderr=None) as host:
            assert host.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await host.stdout.receive()
            processes = [int(pid) for pid in line.split()]
            assert [exists(pid) for pid in processes] == [True, True]
            host.kill()
            await gone(*processes)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
async def test_a_zygote_that_does_not_start_is_nobodys_verdict(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    before = len(open_files(os.getpid())), children_of(os.getpid())
    async with jailed() as bench:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", program)
            with pytest.raises(UnavailableError) as caught:
                await bench.run()
        assert (len(open_files(os.getpid())), children_of(os.getpid())) == before
        await bench.run()
    assert caught.value.name == "node/compiler_down"


async def test_no_more_wait_than_there_is_room_for() -> None:
    async with jailed(places=1, compile_queue=1, compile_cpu=1_000) as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fails, BOMB, "a")
        await bench.child()
        tasks.start_soon(bench.fails, SMALL, "b")
        await anyio.lowlevel.checkpoint()
        assert bench.jail.waiting == 1
        with pytest.raises(UnavailableError) as caught:
            await bench.run(tenant="c")
    assert caught.value.name == "node/full"
    assert caught.value.retry_after == 1.0
    assert msgspec.json.decode(caught.value.metadata or b"") == {"limit": "compile_queue", "used": 1, "allowed": 1}
