"""Deployment images: when they are built, that no start waits for one, and what becomes of a module that has none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import anyio
import pytest
from wasmtime import wat2wasm

from host.isolate.engine import Engine
from host.isolate.executor import Executor
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.definitions import JS_MANIFEST, DefinitionOptions, ModuleRecord
from host.model.errors import InternalError, TenantError, UnavailableError
from host.model.limits import Limits
from host.modules import deployment_images
from host.modules.api import DeploymentImage
from host.modules.cache import ArtifactCache
from host.modules.deployment_images import MAX_TRIES, BuiltImage, DeploymentImages
from host.modules.service import Modules
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry

from .clocks import RealClock

pytestmark = pytest.mark.anyio

# What the ABI of the engine asks for, and nothing behind it.
ENGINE = """(module (memory (export "memory") 1)
  (func (export "isolate_alloc") (param i32) (result i32) (i32.const 0))
  (func (export "isolate_deliver") (param i32 i32) (result i64) (i64.const 0))
  (func (export "boot") (param i32 i32) (result i32) (i32.const 0))
  (func (export "prelude") (param i32 i32) (result i64) (i64.const 0))
  (func (export "load") (param i32 i32) (result i64) (i64.const 0))
  (func (export "reseed") (param i64)) (func (export "gc"))
  (func (export "heap_used") (result i32) (i32.const 0)))"""

JS = b'import { actor } from "rivetkit"; let n = 0; export default actor({ actions: { hi() { return ++n } } });'


def only_image(directory: Path) -> Path:
    (path,) = directory.glob("*.jsimage")
    return path


def digest(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def artifact(engine: Engine) -> bytes:
    return engine.serialize(engine.compile(bytes(wat2wasm(ENGINE))))


class Bench:
    """Images over a builder that the test holds and opens."""

    def __init__(self, engine: Engine, directory: Path, artifact: bytes) -> None:
        self.metrics = MetricsRegistry()
        self.cache = ArtifactCache(directory, b"k" * 32, engine.profile_key, self.metrics)
        self.artifact = artifact
        self.built: list[str] = []
        self.error: Exception | None = None
        self.gate = anyio.Event()
        self.gate.set()
        self.begun = anyio.Event()
        self.images = DeploymentImages(engine, self.cache, self.build, self.source, self.metrics, inputs="00" * 32)

    async def source(self, digest: str) -> bytes:
        await anyio.lowlevel.checkpoint()
        return bytes.fromhex(digest)

    async def build(self, digest: str, source: bytes) -> BuiltImage:
        assert source == bytes.fromhex(digest)
        self.built.append(digest)
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return BuiltImage(self.artifact, 20)

    def shut(self) -> None:
        self.gate = anyio.Event()

    def count(self, reason: str) -> int:
        return self.metrics.counter("deployment_images", reason)


@asynccontextmanager
async def running(bench: Bench) -> AsyncGenerator[Bench]:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.images.run)
            yield bench
            tasks.cancel_scope.cancel()


@pytest.fixture
def bench(engine: Engine, tmp_path: Path, artifact: bytes) -> Bench:
    return Bench(engine, tmp_path, artifact)


async def test_a_start_never_waits_for_a_build_and_the_next_one_has_the_image(bench: Bench) -> None:
    async with running(bench):
        bench.shut()
        assert await bench.images.get(digest(1)) is None
        await bench.begun.wait()
        assert await bench.images.get(digest(1)) is None
        bench.gate.set()
        await bench.images.idle()
        image = await bench.images.get(digest(1))
    assert image is not None
    assert image.load_ms == 20
    assert bench.built == [digest(1)]
    assert (bench.count("built"), bench.count("used")) == (1, 1)


async def test_an_image_is_built_once_however_often_it_is_wanted(bench: Bench) -> None:
    async with running(bench):
        bench.shut()
        for _ in range(3):
            bench.images.want(digest(1))
        await bench.begun.wait()
        bench.images.want(digest(1))
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(bench.images.get, digest(1))
        bench.gate.set()
        await bench.images.idle()
        bench.images.want(digest(1))
        await bench.images.idle()
    assert bench.built == [digest(1)]


async def test_one_build_at_a_time_in_the_order_of_wishes(bench: Bench) -> None:
    async with running(bench):
        bench.shut()
        for number in range(3):
            bench.images.want(digest(number))
        await bench.begun.wait()
        assert bench.built == [digest(0)]
        bench.gate.set()
        await bench.images.idle()
    assert bench.built == [digest(number) for number in range(3)]


async def test_another_process_takes_the_image_from_its_file(
    bench: Bench, engine: Engine, tmp_path: Path, artifact: bytes
) -> None:
    async with running(bench):
        bench.images.want(digest(1))
        await bench.images.idle()
    again = Bench(engine, tmp_path, artifact)
    found: list[DeploymentImage | None] = []

    async def look() -> None:
        found.append(await again.images.get(digest(1)))

    async with running(again), anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(look)
    assert {one.load_ms for one in found if one is not None} == {20}
    assert None not in found
    assert again.built == []
    assert (again.count("loaded"), again.count("used")) == (1, 10)


@pytest.mark.parametrize("spoil", ["a byte", "the key", "the engine", "the note"])
async def test_a_file_that_is_not_this_hosts_is_built_again(
    bench: Bench, engine: Engine, tmp_path: Path, artifact: bytes, spoil: str
) -> None:
    async with running(bench):
        bench.images.want(digest(1))
        await bench.images.idle()
    path = only_image(tmp_path)
    if spoil == "a byte":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o400)
    again = Bench(engine, tmp_path, artifact)
    if spoil == "the key":
        again.cache = ArtifactCache(tmp_path, b"other" * 8, engine.profile_key, again.metrics)
        again.images = DeploymentImages(engine, again.cache, again.build, again.source, again.metrics, inputs="00" * 32)
    if spoil == "the engine":
        again.cache.store("jsimage", path.name.partition("-")[0], b"no machine code", bytes(4))
    if spoil == "the note":
        again.cache.store("jsimage", path.name.partition("-")[0], artifact, b"")
    async with running(again):
        assert await again.images.get(digest(1)) is None
        await again.images.idle()
        assert await again.images.get(digest(1)) is not None
    assert again.built == [digest(1)]
    assert again.metrics.counter("artifact_cache_errors") == (0 if spoil == "the note" else 2)


async def test_another_engine_has_other_images(bench: Bench, engine: Engine, tmp_path: Path, artifact: bytes) -> None:
    async with running(bench):
        bench.images.want(digest(1))
        await bench.images.idle()
    again = Bench(engine, tmp_path, artifact)
    again.images = DeploymentImages(engine, again.cache, again.build, again.source, again.metrics, inputs="01" * 32)
    async with running(again):
        assert await again.images.get(digest(1)) is None


@pytest.mark.parametrize(
    "error",
    [
        TenantError("module", "js_threw", "no"),
        TenantError("module", "compile_budget", "too long"),
        InternalError("a bug"),
        RuntimeError("an error that nobody raised on purpose"),
    ],
)
async def test_a_build_that_failed_is_not_tried_again(bench: Bench, error: Exception) -> None:
    bench.error = error
    async with running(bench):
        for _ in range(3):
            assert await bench.images.get(digest(1)) is None
            bench.images.want(digest(1))
            await bench.images.idle()
        bench.error = None
        bench.images.want(digest(2))
        await bench.images.idle()
        assert await bench.images.get(digest(2)) is not None
    assert bench.built == [digest(1), digest(2)]
    assert (bench.count("refused"), bench.count("built")) == (1, 1)


async def test_a_build_without_a_verdict_is_tried_again_by_later_starts_and_not_for_ever(bench: Bench) -> None:
    bench.error = UnavailableError("node", "compiler_down", "later")
    async with running(bench):
        for _ in range(MAX_TRIES + 2):
            assert await bench.images.get(digest(1)) is None
            await bench.images.idle()
    assert bench.built == [digest(1)] * MAX_TRIES
    assert bench.count("put_off") == MAX_TRIES


async def test_what_waits_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_images, "MAX_WAITING", 2)
    async with running(bench):
        bench.shut()
        bench.images.want(digest(0))
        await bench.begun.wait()
        for number in range(1, 6):
            bench.images.want(digest(number))
        bench.gate.set()
        await bench.images.idle()
        assert await bench.images.get(digest(5)) is None
        await bench.images.idle()
    assert bench.built == [digest(number) for number in (0, 1, 2, 5)]
    assert bench.count("put_off") == 3


async def test_a_forgotten_image_is_taken_from_its_file_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, engine: Engine, tmp_path: Path, artifact: bytes
) -> None:
    monkeypatch.setattr(deployment_images, "KEPT_BYTES", len(artifact) + 100)
    small = Bench(engine, tmp_path, artifact)
    async with running(small):
        for number in (1, 2, 1):
            small.images.want(digest(number))
            await small.images.idle()
            assert await small.images.get(digest(number)) is not None
    assert small.built == [digest(1), digest(2)]
    assert small.count("loaded") == 1


def test_an_image_is_used_under_limits_that_its_top_level_would_have_kept(engine: Engine, artifact: bytes) -> None:
    code = engine.deserialize(artifact)
    code.check_abi("js")
    image = DeploymentImage(code, 200)
    assert image.fits(Limits())
    assert not image.fits(Limits(turn_deadline=100))
    assert not image.fits(Limits(memory=65_535))


# --- the whole way, through the jail ----------------------------------------------------------------------------------


class Whole:
    """The module service with its jail and its builder, over a directory."""

    def __init__(self, engine: Engine, executor: Executor, directory: Path, limits: Limits) -> None:
        self.driver = MemoryDriver()
        self.metrics = MetricsRegistry()
        self.modules = Modules(
            self.driver, engine, executor, directory, b"k" * 32, limits, RealClock(), False, self.metrics, images=True
        )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests here: the JavaScript engine is compiled once."""
    return tmp_path_factory.mktemp("cache")


@asynccontextmanager
async def whole(engine: Engine, directory: Path, limits: Limits | None = None) -> AsyncGenerator[Whole]:
    with anyio.fail_after(150):
        async with Executor() as executor, anyio.create_task_group() as tasks:
            host = Whole(engine, executor, directory, limits or Limits(compile_time=120_000))
            tasks.start_soon(host.modules.images.run)
            try:
                yield host
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await host.modules.close()


async def test_a_deployment_has_its_image_built_in_the_jail(engine: Engine, directory: Path) -> None:
    async with whole(engine, directory) as host:
        record = await host.modules.upload("t", JS, "text/javascript")
        await host.modules.deploy("t", "x", record.digest, DefinitionOptions(), {})
        assert (await host.modules.code_for("t", record.digest)).image is None
        await host.modules.images.idle()
        runnable = await host.modules.code_for("t", record.digest)
        assert host.metrics.counter("jail_jobs", "done") == 2
    assert runnable.image is not None
    assert runnable.source == JS
    assert runnable.image.code is not runnable.code
    isolate = Isolate(runnable.image.code, Limits(), NullTurnHost(b""))
    isolate.close()


async def test_two_tenants_with_the_same_bytes_share_an_image(engine: Engine, directory: Path) -> None:
    async with whole(engine, directory) as host:
        found = []
        for tenant in ("t", "u"):
            record = await host.modules.upload(tenant, JS, "text/javascript")
            await host.modules.deploy(tenant, "x", record.digest, DefinitionOptions(), {})
            await host.modules.images.idle()
            found.append((await host.modules.code_for(tenant, record.digest)).image)
    assert found[0] is not None
    assert found[0] is found[1]


async def test_a_stop_in_the_middle_of_a_build_leaves_no_process(engine: Engine, directory: Path) -> None:
    async with whole(engine, directory) as host:
        record = await host.modules.upload("t", JS + b"//", "text/javascript")
        await host.modules.deploy("t", "x", record.digest, DefinitionOptions(), {})
    assert host.modules.jail.zygote_pid is None


@pytest.mark.parametrize(
    "source",
    [
        b"for (;;);",
        b"const a = []; for (;;) a.push(new Uint8Array(1 << 20));",
        b"function f() { f(); } f();",
        b"await new Promise(() => {});",
        b"throw new Error('no');",
        b"let x = ;",
    ],
)
async def test_a_module_that_has_come_to_fail_gets_no_image_and_the_host_goes_on(
    engine: Engine, directory: Path, source: bytes
) -> None:
    """Admission refuses these; they stand for a top level that passed there, by luck or under another engine."""
    digest = sha256(source).hexdigest()
    async with whole(engine, directory, Limits(turn_deadline=200)) as host:
        await host.driver.put_module(ModuleRecord("t", digest, "js", len(source), JS_MANIFEST, 0, None), source)
        for _ in range(2):
            assert (await host.modules.code_for("t", digest)).image is None
            await host.modules.images.idle()
        assert host.metrics.counter("deployment_images", "refused") == 1
        assert host.metrics.counter("deployment_images") == 1
