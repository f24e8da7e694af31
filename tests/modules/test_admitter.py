"""Admission with its memory: what is compiled once, what is refused without compiling, and when that is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import anyio
import msgspec
import pytest

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.model.errors import DormiceError, InternalError, UnavailableError, limit_error
from host.model.limits import Limits
from host.model.report import ModuleReport
from host.modules.admission import survey
from host.modules.admitter import REPORT, VERDICT, Admitter
from host.modules.cache import ArtifactCache
from host.modules.codes import ARTIFACT, CodeStore
from host.modules.compile import Compiler
from host.modules.flights import Begin, anyhow
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import Admit, Done, Job
from host.telemetry.metrics import MetricsRegistry

from .clocks import RealClock
from .guests import guest, with_manifest

pytestmark = pytest.mark.anyio

WASM = with_manifest(guest())
DIGEST = sha256(WASM).hexdigest()
KEY = b"k" * 32
OVER = limit_error("compile_cpu", 10_010, 10_000, "split it", name="module/compile_budget")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


class ScriptedJail(Jail):
    """Compiles in this process, or raises what it is told to; counts its jobs."""

    def __init__(self, engine: Engine, limits: Limits, metrics: MetricsRegistry) -> None:
        super().__init__(RealClock(), limits, metrics)
        self._engine = engine
        self.jobs: list[str] = []
        self.raises: DormiceError | None = None
        self.report: ModuleReport | None = None
        self.gate: anyio.Event | None = None
        self.asked = anyio.Event()
        self.lines: dict[str, anyio.Event] = {}

    async def run(self, tenant: str, job: Job, what: str, *, behind: bool = False, begin: Begin = anyhow) -> Done:
        self.asked.set()
        if tenant in self.lines:
            await self.lines[tenant].wait()
        begin()
        self.jobs.append(tenant)
        await anyio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.raises is not None:
            raise self.raises
        assert isinstance(job, Admit)
        report = self.report or survey(job.wasm, Limits(**job.limits))
        return Done(self._engine.serialize(self._engine.compile(job.wasm)), report)


class Bench:
    def __init__(self, engine: Engine, directory: Path, limits: Limits | None = None, key: bytes = KEY) -> None:
        limits = limits or Limits()
        self.metrics = MetricsRegistry()
        self.jail = ScriptedJail(engine, limits, self.metrics)
        self.cache = ArtifactCache(directory, key, engine.profile_key, self.metrics)
        admitter = Admitter(self.jail, self.cache, limits, engine.profile, self.metrics)
        self.codes = CodeStore(engine, Compiler(engine), self.cache, self.metrics, admitter)

    async def admit(self, tenant: str = "t") -> ModuleReport:
        return await self.codes.admit(tenant, DIGEST, WASM, "module x")

    async def refused(self) -> DormiceError:
        with pytest.raises(DormiceError) as caught:
            await self.admit()
        return caught.value

    def file(self, directory: Path, kind: str) -> Path:
        (path,) = directory.glob(f"*.{kind}")
        return path

    def names(self, directory: Path) -> list[str]:
        return sorted(path.suffix[1:] for path in directory.iterdir())


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(20):
        yield


async def test_the_same_bytes_are_admitted_and_compiled_once(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    async with bounded():
        first = await bench.admit()
        assert await bench.admit("other") == first
        again = Bench(engine, tmp_path)
        assert await again.admit() == first
    assert first.digest == DIGEST
    assert (bench.jail.jobs, again.jail.jobs) == (["t"], [])
    assert again.metrics.counter("codes_loaded", "artifact") == 1


async def test_many_uploads_of_one_module_are_one_job(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    async with bounded(), anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(bench.admit, f"t{number}")
    assert len(bench.jail.jobs) == 1


async def test_a_start_without_artifact_goes_through_the_jail_too(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)

    async def given() -> bytes:
        return WASM

    async with bounded():
        code = await bench.codes.get(DIGEST, given, "module x", tenant="t")
    assert (code.kind, bench.jail.jobs) == ("wasm", ["t"])
    assert bench.names(tmp_path) == [ARTIFACT, REPORT]


async def test_a_compilation_outlives_a_start_that_has_no_time_for_it(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    bench.jail.gate = gate = anyio.Event()

    async def given() -> bytes:
        return WASM

    async def start() -> Code:
        return await bench.codes.get(DIGEST, given, "module x", tenant="t")

    async with bounded():
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start)
                while not bench.jail.jobs:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        gate.set()
        assert (await start()).kind == "wasm"
    assert bench.jail.jobs == ["t"]


async def test_a_tenants_place_in_the_line_is_not_that_of_another_who_came_first(
    engine: Engine, tmp_path: Path
) -> None:
    bench = Bench(engine, tmp_path)
    bench.jail.lines["slow"] = line = anyio.Event()
    async with bounded(), anyio.create_task_group() as tasks:
        tasks.start_soon(bench.admit, "slow")
        await bench.jail.asked.wait()
        await bench.admit("quick")
        line.set()
    assert bench.jail.jobs == ["quick"]


async def test_a_verdict_over_budget_is_remembered_across_processes(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    bench.jail.raises = OVER
    async with bounded():
        first = await bench.refused()
        again = Bench(engine, tmp_path)
        second = await again.refused()
    assert (first.info, bench.jail.jobs, again.jail.jobs) == (second.info, ["t"], [])
    assert msgspec.json.decode(second.metadata or b"")["limit"] == "compile_cpu"
    assert again.metrics.counter("verdicts_remembered", "compile_budget") == 1
    assert bench.names(tmp_path) == [VERDICT]


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("node", "compiler_down", "not now"),
        UnavailableError("node", "full", "not now"),
        DormiceError("module", "compile_failed", "crashed"),
    ],
)
async def test_nothing_else_is_remembered(engine: Engine, tmp_path: Path, error: DormiceError) -> None:
    bench = Bench(engine, tmp_path)
    bench.jail.raises = error
    async with bounded():
        await bench.refused()
        assert bench.names(tmp_path) == []
        bench.jail.raises = None
        await bench.admit()


@pytest.mark.parametrize("changed", ["compile_cpu", "compile_memory", "module_functions", "table_elements"])
async def test_a_verdict_is_forgotten_when_a_rule_changes(engine: Engine, tmp_path: Path, changed: str) -> None:
    bench = Bench(engine, tmp_path)
    bench.jail.raises = OVER
    more = Bench(engine, tmp_path, Limits(**{changed: 2 * Limits().as_dict()[changed]}))
    async with bounded():
        await bench.refused()
        await more.admit()
    assert more.jail.jobs == ["t"]


async def test_a_stricter_rule_admits_again_even_if_the_code_is_there(engine: Engine, tmp_path: Path) -> None:
    strict = Bench(engine, tmp_path, Limits(module_functions=1))
    async with bounded():
        await Bench(engine, tmp_path).admit()
        error = await strict.refused()
    assert error.group == "module"
    assert "module_functions" in error.message


@pytest.mark.parametrize("kind", [VERDICT, REPORT])
async def test_what_was_changed_on_disk_is_forgotten(engine: Engine, tmp_path: Path, kind: str) -> None:
    bench = Bench(engine, tmp_path)
    if kind == VERDICT:
        bench.jail.raises = OVER
    async with bounded():
        await (bench.refused() if kind == VERDICT else bench.admit())
        path = bench.file(tmp_path, kind)
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        again = Bench(engine, tmp_path)
        await again.admit()
    assert again.jail.jobs == ["t"]
    assert again.metrics.counter("artifact_cache_errors", "tampered") >= 1


async def test_another_data_directorys_verdict_counts_for_nothing(engine: Engine, tmp_path: Path) -> None:
    bench, other = Bench(engine, tmp_path), Bench(engine, tmp_path, key=b"o" * 32)
    bench.jail.raises = OVER
    async with bounded():
        await bench.refused()
        await other.admit()


async def test_a_report_on_another_module_is_believed_by_nobody(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    other = with_manifest(guest(pages=2))
    bench.jail.report = survey(other, Limits())
    async with bounded():
        with pytest.raises(InternalError):
            await bench.admit()
    assert bench.names(tmp_path) == []
