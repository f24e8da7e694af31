"""Compile bombs as a tenant uploads them: a verdict in time, at a price that is paid once, and the host never stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import anyio
import msgspec
import pytest

from host.isolate.engine import Engine
from host.isolate.executor import Executor
from host.model.errors import DormiceError
from host.model.limits import Limits
from host.modules.service import Modules
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry

from .bombs import FUNCTIONS, LOOPS
from .clocks import RealClock
from .guests import guest, with_manifest

pytestmark = pytest.mark.anyio

# Rules that let the bombs through to the compiler.
LAX = {"module_body": 8 << 20, "module_functions": 200_000, "compile_cpu": 1_000, "compile_time": 100_000}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


class Bench:
    def __init__(self, engine: Engine, executor: Executor, cache: Path, limits: Limits) -> None:
        self.metrics = MetricsRegistry()
        self.modules = Modules(
            MemoryDriver(), engine, executor, cache, b"k" * 32, limits, RealClock(), True, self.metrics
        )

    async def refused(self, wasm: bytes, tenant: str = "t") -> tuple[str, dict[str, object]]:
        with pytest.raises(DormiceError) as caught:
            await self.modules.upload(tenant, wasm, "application/wasm")
        told: dict[str, object] = msgspec.json.decode(caught.value.metadata or b"{}")
        return caught.value.name, told

    def jobs(self) -> int:
        return self.metrics.counter("jail_jobs")


@asynccontextmanager
async def running(engine: Engine, cache: Path, **limits: int) -> AsyncIterator[Bench]:
    with anyio.fail_after(120):
        async with Executor() as executor:
            bench = Bench(engine, executor, cache, Limits(**limits))
            try:
                yield bench
            finally:
                await bench.modules.close()


async def test_the_rules_refuse_the_bombs_before_a_compiler_sees_them(engine: Engine, tmp_path: Path) -> None:
    async with running(engine, tmp_path) as bench:
        _, told = await bench.refused(FUNCTIONS)
        assert (told["limit"], told["used"], bench.jobs()) == ("module_functions", 100_002, 0)
        _, told = await bench.refused(LOOPS)
        assert told["limit"] == "module_body"
        assert bench.metrics.counter("codes_loaded") == 0


@pytest.mark.parametrize("wasm", [LOOPS, FUNCTIONS], ids=["loops", "functions"])
async def test_a_bomb_that_the_rules_let_through_is_paid_for_once(engine: Engine, tmp_path: Path, wasm: bytes) -> None:
    async with running(engine, tmp_path, **LAX) as bench:
        name, told = await bench.refused(wasm)
        assert (name, told["limit"], told["allowed"]) == ("module/compile_budget", "compile_cpu", 1_000)
        assert await bench.refused(wasm, "other") == (name, told)
        assert bench.jobs() == 1
    async with running(engine, tmp_path, **LAX) as again:
        assert await again.refused(wasm) == (name, told)
        assert again.jobs() == 0
        assert again.metrics.counter("modules_refused", "module.compile_budget") == 1


async def test_a_bomb_of_one_tenant_does_not_keep_another_from_uploading(engine: Engine, tmp_path: Path) -> None:
    async with running(engine, tmp_path, **LAX) as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.refused, LOOPS)
        wasm = with_manifest(guest())
        record = await bench.modules.upload("other", wasm, "application/wasm")
        assert record.digest == sha256(wasm).hexdigest()
        code = await bench.modules.code_for("other", record.digest)
        assert code.code.kind == "wasm"
        tasks.cancel_scope.cancel()


async def test_javascript_needs_no_jail_to_be_uploaded(engine: Engine, tmp_path: Path) -> None:
    source = b'import { actor } from "rivetkit"; export default actor({ actions: {} })'
    async with running(engine, tmp_path) as bench:
        await bench.modules.upload("t", source, "text/javascript")
        assert (bench.jobs(), bench.modules.jail.zygote_pid) == (0, None)
