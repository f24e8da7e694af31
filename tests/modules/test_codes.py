"""Compiled code: once per digest, from the artifact where there is one, with its ABI checked."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

from host.isolate.abi import Kind
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.model.errors import TenantError, UnavailableError
from host.modules.cache import ArtifactCache
from host.modules.codes import ARTIFACT, CodeStore
from host.modules.compile import Compiler
from host.modules.machine_code import Loaded, MachineCode
from host.telemetry.metrics import MetricsRegistry

from .guests import guest, wat

pytestmark = pytest.mark.anyio

WASM = guest()
DIGEST = sha256(WASM).hexdigest()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def files(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


class Bench:
    """A code store over a directory, and what it did."""

    def __init__(self, engine: Engine, directory: Path, key: bytes = b"k" * 32) -> None:
        self.metrics = MetricsRegistry()
        self.seen: list[tuple[str, bool]] = []
        self.compiler = Compiler(engine, progress=self.progress)
        self.cache = ArtifactCache(directory, key, engine.profile_key, self.metrics)
        self.codes = CodeStore(engine, self.compiler, self.cache, self.metrics)

    def progress(self, what: str, *, done: bool) -> None:
        self.seen.append((what, done))

    async def get(self, wasm: bytes = WASM) -> Code:
        async def given() -> bytes:
            return wasm

        with anyio.fail_after(10):
            return await self.codes.get(sha256(wasm).hexdigest(), given, "module x")

    def loaded(self) -> tuple[int, int]:
        return self.metrics.counter("codes_loaded", "compiled"), self.metrics.counter("codes_loaded", "artifact")


async def test_many_who_want_the_same_code_have_it_compiled_once(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    got: list[Code] = []

    async def want() -> None:
        got.append(await bench.get())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(want)
    assert len({id(code) for code in got}) == 1
    assert bench.loaded() == (1, 0)
    assert bench.seen == [("compiling module x", False), ("compiling module x", True)]


async def test_who_comes_while_the_artifact_is_written_waits_for_its_code_and_does_not_map_another(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(engine, tmp_path)
    written, go = threading.Event(), threading.Event()
    keep, load = MachineCode.keep, MachineCode.load
    looked: list[str] = []
    got: list[Code] = []

    def keep_slowly(self: MachineCode, key: str, artifact: bytes, abi: Kind, note: bytes = b"") -> Code:
        code = keep(self, key, artifact, abi, note)
        written.set()
        assert go.wait(10)
        return code

    def looked_for(self: MachineCode, key: str, abi: Kind) -> Loaded | None:
        looked.append("after" if written.is_set() else "before")
        return load(self, key, abi)

    monkeypatch.setattr(MachineCode, "keep", keep_slowly)
    monkeypatch.setattr(MachineCode, "load", looked_for)

    async def want() -> None:
        got.append(await bench.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(want)
        assert await run_sync(written.wait, 10)
        tasks.start_soon(want)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert looked == ["before"]
    assert got[0] is got[1]
    assert bench.loaded() == (1, 0)


async def test_the_first_going_away_leaves_the_others_with_their_code(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    got: list[Code] = []

    async def want() -> None:
        got.append(await bench.get())

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:
            first.cancel()
            await want()
        tasks.start_soon(want)
        tasks.start_soon(want)
    assert len(got) == 2
    assert got[0] is got[1]


async def test_a_new_process_takes_the_artifact_and_compiles_nothing(engine: Engine, tmp_path: Path) -> None:
    await Bench(engine, tmp_path).get()
    again = Bench(engine, tmp_path)
    code = await again.get()
    assert code.kind == "wasm"
    assert again.loaded() == (0, 1)
    assert again.seen == []


async def test_an_artifact_with_a_changed_byte_is_compiled_anew_and_never_loaded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Bench(engine, tmp_path)
    await first.get()
    path = first.cache.path(ARTIFACT, DIGEST)
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    path.chmod(0o400)
    spoilt = path.stat().st_ino
    taken: list[int] = []
    map_file = engine.map

    def spy(file: int) -> Code:
        taken.append(os.fstat(file).st_ino)
        return map_file(file)

    monkeypatch.setattr(engine, "map", spy)
    monkeypatch.setattr(engine, "deserialize", None)
    again = Bench(engine, tmp_path)
    await again.get()
    assert len(taken) == 1  # the new file, after it was compiled
    assert taken != [spoilt]
    assert again.loaded() == (1, 0)
    assert again.cache.load(ARTIFACT, DIGEST) == engine.serialize(engine.compile(WASM))


async def test_an_artifact_of_another_data_directory_is_compiled_anew(engine: Engine, tmp_path: Path) -> None:
    await Bench(engine, tmp_path).get()
    other = Bench(engine, tmp_path, key=b"o" * 32)
    await other.get()
    assert other.loaded() == (1, 0)


async def test_an_artifact_that_the_engine_will_not_have_is_compiled_anew(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    bench.cache.store(ARTIFACT, DIGEST, b"of some other version")
    await bench.get()
    assert bench.loaded() == (1, 0)
    assert bench.metrics.counter("artifact_cache_errors", "refused") == 1
    again = Bench(engine, tmp_path)
    await again.get()
    assert again.loaded() == (0, 1)


async def test_a_module_that_does_not_compile_is_an_error_each_time_and_leaves_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    bench = Bench(engine, tmp_path)
    for _ in range(2):
        with pytest.raises(TenantError) as caught:
            await bench.get(WASM[:-3])
        assert caught.value.name == "module/malformed"
    assert files(tmp_path) == []
    assert bench.seen[-1][1] is True


async def test_a_module_that_misses_the_abi_is_not_kept(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path)
    with pytest.raises(TenantError) as caught:
        await bench.get(wat('(module (memory (export "memory") 1))'))
    assert caught.value.name == "module/bad_export"
    assert files(tmp_path) == []


async def test_compilations_come_one_after_another_and_those_that_wait_are_bounded(engine: Engine) -> None:
    compiler = Compiler(engine, max_waiting=2)
    gate = threading.Event()
    running: list[int] = []
    most: list[int] = []

    def job() -> None:
        running.append(1)
        most.append(len(running))
        gate.wait(5)
        running.pop()

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(compiler.run, job, "a job")
        await anyio.lowlevel.checkpoint()
        with pytest.raises(UnavailableError) as caught:
            await compiler.run(job, "one too many")
        gate.set()
    assert caught.value.name == "node/full"
    assert most == [1, 1]
