"""The module service over a real engine: what is admitted, what is refused and how, and what a start gets."""

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
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.definitions import JS_MANIFEST, DefinitionOptions
from host.model.errors import DormiceError, InternalError
from host.model.limits import Limits
from host.modules.api import ModuleService
from host.modules.service import Modules
from host.placement.tenants import Tenants
from host.storage.memory import MemoryDriver
from host.telemetry.metrics import MetricsRegistry
from tests.outbound.web import answer, saying, serving

from .clocks import RealClock
from .guests import guest, wat, with_manifest

pytestmark = pytest.mark.anyio

JS = b'import { actor } from "rivetkit"; export default actor({ actions: { hi() { return 1 } } })'
GOOD = with_manifest(guest())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests here: the JavaScript engine's image is built once."""
    return tmp_path_factory.mktemp("cache")


class Bench:
    def __init__(self, engine: Engine, executor: Executor, cache_dir: Path, limits: Limits) -> None:
        self.driver = MemoryDriver()
        self.metrics = MetricsRegistry()
        self.tenants = Tenants(self.driver, RealClock(), limits, self.metrics)
        self.seen: list[str] = []
        self.modules = Modules(
            self.driver, engine, executor, cache_dir, b"k" * 32, limits, RealClock(), True, self.metrics,
            progress=self.progress, tenants=self.tenants,
        )  # fmt: skip
        self.service: ModuleService = self.modules

    def progress(self, what: str, *, done: bool) -> None:
        self.seen.append(what)

    async def refused(self, data: bytes, content_type: str) -> DormiceError:
        with pytest.raises(DormiceError) as caught:
            await self.service.upload("t", data, content_type)
        assert self.metrics.counter("modules_refused", caught.value.name.replace("/", ".")) == 1
        assert await self.driver.list_modules("t") == []
        return caught.value


@asynccontextmanager
async def running(engine: Engine, cache_dir: Path, limits: Limits | None = None) -> AsyncIterator[Bench]:
    with anyio.fail_after(20):
        async with Executor() as executor:
            bench = Bench(engine, executor, cache_dir, limits or Limits(turn_deadline=300))
            try:
                yield bench
            finally:
                await bench.modules.close()


async def test_a_wasm_module_is_stored_with_its_manifest_and_runs(engine: Engine, cache_dir: Path) -> None:
    data = with_manifest(guest(), b'{"abi":1,"codec":"framed","capabilities":["kv","log"],"name":"x"}')
    async with running(engine, cache_dir) as bench:
        record = await bench.service.upload("t", data, "application/wasm")
        assert (record.kind, record.size, record.digest) == ("wasm", len(data), sha256(data).hexdigest())
        assert (record.manifest.codec, record.manifest.capabilities) == ("framed", ("kv", "log"))
        runnable = await bench.service.code_for("t", record.digest)
    assert runnable.source is None
    assert runnable.manifest == record.manifest
    isolate = Isolate(runnable.code, Limits(), NullTurnHost(b"s"))
    isolate.close()


async def test_a_js_module_is_stored_and_its_source_goes_with_the_engine(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench:
        record = await bench.service.upload("t", JS, "text/javascript; charset=utf-8")
        assert (record.kind, record.manifest) == ("js", JS_MANIFEST)
        first = await bench.service.code_for("t", record.digest)
        other = await bench.service.upload("t", JS + b"//", "application/javascript")
        second = await bench.service.code_for("t", other.digest)
    assert first.source == JS
    assert first.code is second.code


async def test_the_engine_is_built_once_and_then_loaded(engine: Engine, tmp_path: Path) -> None:
    async with running(engine, tmp_path) as bench:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(bench.modules.warm)
        building, compiling = "building the JavaScript engine image", "compiling the JavaScript engine"
        assert bench.seen == [building, building, compiling, compiling]
    async with running(engine, tmp_path) as again:
        await again.modules.warm()
        assert again.seen == []


async def test_the_same_bytes_again_are_the_same_module(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench:
        first = await bench.service.upload("t", GOOD, "application/wasm")
        assert await bench.service.upload("t", GOOD, "application/wasm") == first
        await bench.service.upload("other", GOOD, "application/wasm")
        assert bench.metrics.counter("modules_stored") == 2


async def test_a_module_belongs_to_its_tenant(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench:
        record = await bench.service.upload("t", GOOD, "application/wasm")
        await bench.service.code_for("t", record.digest)
        for ask in (
            bench.service.code_for("other", record.digest),
            bench.service.deploy("other", "x", record.digest, DefinitionOptions(), {}),
        ):
            with pytest.raises(DormiceError) as caught:
                await ask
            assert caught.value.name == "module/not_found"


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"not wasm at all", "not_wasm", "magic"),
        (b"", "not_wasm", "magic"),
        (b'(module (memory (export "memory") 1))', "not_wasm", "text format"),
        (b"\n ;; c\n(module)", "not_wasm", "magic"),
        (b"\0asm", "malformed", "header"),
        (b"\0asm\x0d\0\x01\0", "not_wasm", "component"),
        (b"\0asm\x02\0\0\0", "not_wasm", "version"),
        (GOOD[:20], "malformed", ""),
        (GOOD[:-3], "malformed", ""),
        (guest(), "bad_manifest", "no custom section"),
        (with_manifest(guest(), name=b"isolate.manifesto"), "bad_manifest", "no custom section"),
        (with_manifest(guest(), b"{"), "bad_manifest", "not a manifest"),
        (with_manifest(guest(), b"[]"), "bad_manifest", "not a manifest"),
        (with_manifest(guest(), b"\xff"), "bad_manifest", "not a manifest"),
        (with_manifest(guest(), b"{}"), "bad_manifest", "abi"),
        (with_manifest(guest(), b'{"abi":2}'), "bad_manifest", "ABI 2"),
        (with_manifest(guest(), b'{"abi":1,"codec":"xml"}'), "bad_manifest", "codec"),
        (with_manifest(guest(), b'{"abi":1,"capabilities":["root"]}'), "bad_manifest", "root"),
        (with_manifest(guest(), b'{"abi":1,"memory_pages":99999}'), "bad_manifest", "1 to 1024"),
        (with_manifest(guest(), b'{"abi":1,"name":"%s"}' % (b"n" * 65)), "bad_manifest", "64 bytes"),
        (with_manifest(guest(pages=2000)), "bad_export", "memory"),
        (with_manifest(wat('(module (memory (export "memory") 1))')), "bad_export", "isolate_alloc"),
        (
            with_manifest(wat('(module (memory (export "memory") 1) (func (export "isolate_alloc") (param i64))'
                              '(func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0))')),
            "bad_export", "isolate_alloc",
        ),
        (with_manifest(guest(before='(import "env" "system" (func (param i32)))')), "bad_import", "system"),
        (with_manifest(guest(before='(import "isolate" "host_call" (func (param i32)))')), "bad_import", "host_call"),
    ],
)  # fmt: skip
async def test_a_wasm_module_that_is_none_is_refused_and_told_why(
    engine: Engine, cache_dir: Path, data: bytes, code: str, says: str
) -> None:
    async with running(engine, cache_dir) as bench:
        error = await bench.refused(data, "application/wasm")
    assert error.name == f"module/{code}"
    assert says in error.message


@pytest.mark.parametrize(
    ("source", "code", "says", "place"),
    [
        ("let a = 1;\nlet b = ;", "js_syntax", "SyntaxError", (2, 9)),
        ("export default {", "js_syntax", "SyntaxError", (1, None)),
        ("\n\n  throw new Error('no luck')", "js_threw", "no luck", (3, None)),
        ("nowhere()", "js_threw", "nowhere is not defined", (1, None)),
        ('import fs from "fs"', "js_threw", "fs", None),
        ("setTimeout(() => {}, 1)", "js_threw", "top level", (1, None)),
        ("export const a = 1", "no_actor", "export default", None),
        ("", "no_actor", "export default", None),
        ("for (;;) {}", "js_threw", "turn deadline of 300 ms", None),
        ("const a = []; for (;;) a.push(new Uint8Array(1e6))", "js_threw", "memory", None),
        ("function f() { f() } f()", "js_threw", "stack", (1, None)),
        ("let a = 'x\0'", "js_syntax", "NUL", (1, 11)),
        ("// ok\n// é\udcff", "js_syntax", "UTF-8", (2, 5)),
    ],
)
async def test_a_js_module_with_an_error_is_refused_with_its_place(
    engine: Engine, cache_dir: Path, source: str, code: str, says: str, place: tuple[int, int | None] | None
) -> None:
    data = source.encode("utf-8", "surrogateescape")
    async with running(engine, cache_dir) as bench:
        error = await bench.refused(data, "text/javascript")
    assert error.name == f"module/{code}"
    assert says in error.message
    assert len(error.message) < 3_000
    if place is not None:
        told = msgspec.json.decode(error.metadata or b"{}")
        assert told["line"] == place[0]
        assert f"line {place[0]}" in error.message
        assert place[1] in (None, told["column"])


async def test_an_upload_that_loops_leaves_the_others_working(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench:
        await bench.modules.warm()
        names: list[str] = []

        async def loop() -> None:
            names.append((await bench.refused(b"for (;;) {}", "text/javascript")).name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop)
            await anyio.lowlevel.checkpoint()
            await bench.service.upload("other", JS, "text/javascript")
            assert names == []
    assert names == ["module/js_threw"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "application/octet-stream", "wasm"])
async def test_another_content_type_is_refused(engine: Engine, cache_dir: Path, content_type: str) -> None:
    async with running(engine, cache_dir) as bench:
        error = await bench.refused(JS, content_type)
    assert error.name == "module/unsupported_type"
    assert "application/wasm" in error.message


async def test_a_module_over_the_limit_names_it(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir, Limits(module=50)) as bench:
        error = await bench.refused(JS, "text/javascript")
    assert error.name == "module/too_large"
    assert error.metadata == b'{"limit":"module","used":%d,"allowed":50}' % len(JS)


@pytest.mark.parametrize(
    ("path", "header", "data", "kind"),
    [
        ("/a", "content-type: text/javascript", JS, "js"),
        ("/a.mjs?x=1", "content-type: text/plain; charset=utf-8", JS, "js"),
        ("/a.js", "x-nothing: 1", JS, "js"),
        ("/a.wasm", "content-type: application/octet-stream", GOOD, "wasm"),
        ("/a.js", "content-type: application/wasm", GOOD, "wasm"),
    ],
)
async def test_a_module_comes_from_a_url(
    engine: Engine, cache_dir: Path, path: str, header: str, data: bytes, kind: str
) -> None:
    digest = sha256(data).hexdigest()
    async with running(engine, cache_dir) as bench, serving(saying(answer("200 OK", data, header))) as web:
        record = await bench.service.load_url("t", web.url(path), "SHA256:" + digest.upper())
    assert (record.kind, record.digest) == (kind, digest)
    assert record.source_url == web.url(path).partition("?")[0]


@pytest.mark.parametrize("path", ["/a", "/a.txt", "/js"])
async def test_a_url_that_does_not_tell_the_kind_is_refused(engine: Engine, cache_dir: Path, path: str) -> None:
    async with running(engine, cache_dir) as bench, serving(saying(answer("200 OK", JS))) as web:
        with pytest.raises(DormiceError) as caught:
            await bench.service.load_url("t", web.url(path), sha256(JS).hexdigest())
    assert caught.value.name == "module/unsupported_type"


async def test_a_wrong_hash_is_told_before_anything_is_parsed(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench, serving(saying(answer("200 OK", b"for (;;) {}"))) as web:
        with pytest.raises(DormiceError) as caught:
            await bench.service.load_url("t", web.url("/a.js"), "0" * 64)
        assert caught.value.name == "module/hash_mismatch"
        assert bench.seen == []


@pytest.mark.parametrize("digest", ["", "abc", "sha512:" + "0" * 64, "g" * 64, "0" * 65])
async def test_a_hash_that_is_none_is_refused(engine: Engine, cache_dir: Path, digest: str) -> None:
    async with running(engine, cache_dir) as bench:
        with pytest.raises(DormiceError) as caught:
            await bench.service.load_url("t", "http://127.0.0.1:9/a.js", digest)
    assert caught.value.name == "request/invalid"


async def test_a_wake_never_fetches(engine: Engine, cache_dir: Path) -> None:
    digest = sha256(JS).hexdigest()
    async with running(engine, cache_dir) as bench:
        async with serving(saying(answer("200 OK", JS))) as web:
            url = web.url("/a.js")
            await bench.service.load_url("t", url, digest)
        again = Bench(engine, bench.modules._executor, cache_dir, Limits())
        again.driver = bench.driver
        again.modules._driver = bench.driver
        assert (await again.service.code_for("t", digest)).source == JS
        assert (await again.service.load_url("t", url, digest)).digest == digest
        assert len(web.requests) == 1


async def test_bytes_that_were_changed_on_disk_are_never_run(engine: Engine, cache_dir: Path) -> None:
    class Tampered(MemoryDriver):
        async def module_bytes(self, digest: str) -> bytes | None:
            return None

    async with running(engine, cache_dir) as bench:
        bench.modules._driver = Tampered()
        record = await bench.service.upload("t", JS, "text/javascript")
        with pytest.raises(InternalError) as caught:
            await bench.service.code_for("t", record.digest)
    assert record.digest in (caught.value.detail or "")


async def test_a_definition_counts_its_versions(engine: Engine, cache_dir: Path) -> None:
    async with running(engine, cache_dir) as bench:
        record = await bench.service.upload("t", GOOD, "application/wasm")
        options = DefinitionOptions(sleep_timeout=500)
        first = await bench.service.deploy("t", "chat.room-1", "sha256:" + record.digest, options, {"memory": 1 << 20})
        second = await bench.service.deploy("t", "chat.room-1", record.digest, options, {})
    assert (first.version, first.module, first.limits) == (1, record.digest, {"memory": 1 << 20})
    assert (second.version, second.options) == (2, options)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "n" * 65, "x\n"])
async def test_a_definition_needs_a_name(engine: Engine, cache_dir: Path, name: str) -> None:
    async with running(engine, cache_dir) as bench:
        with pytest.raises(DormiceError) as caught:
            await bench.service.deploy("t", name, "0" * 64, DefinitionOptions(), {})
    assert caught.value.name == "definition/invalid_name"


@pytest.mark.parametrize("limits", [{"memory": 0}, {"memory": 1 << 40}, {"module": 5}, {"nothing": 1}])
async def test_a_definition_stays_within_the_operators_maxima(
    engine: Engine, cache_dir: Path, limits: dict[str, int]
) -> None:
    async with running(engine, cache_dir) as bench:
        record = await bench.service.upload("t", GOOD, "application/wasm")
        with pytest.raises(DormiceError) as caught:
            await bench.service.deploy("t", "x", record.digest, DefinitionOptions(), limits)
    assert caught.value.name == "definition/invalid_options"


async def test_uploads_at_once_stay_within_the_tenants_quota(engine: Engine, cache_dir: Path) -> None:
    sources = [JS + b"//%d" % number for number in range(8)]
    refused: list[DormiceError] = []

    async with running(engine, cache_dir, Limits(tenant_modules=3 * len(sources[0]))) as bench:
        await bench.modules.warm()

        async def upload(source: bytes) -> None:
            try:
                await bench.service.upload("t", source, "text/javascript")
            except DormiceError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for source in (*sources, sources[0]):
                tasks.start_soon(upload, source)
        stored = [record.digest for record in await bench.driver.list_modules("t")]
        assert len(stored) == 3
        # what is there already takes no room
        source = next(one for one in sources if sha256(one).hexdigest() in stored)
        await bench.service.upload("t", source, "text/javascript")
    assert {error.limit for error in refused} == {"tenant_modules"}


async def test_definitions_at_once_stay_within_the_tenants_quota(engine: Engine, cache_dir: Path) -> None:
    refused: list[DormiceError] = []

    async with running(engine, cache_dir, Limits(tenant_definitions=3)) as bench:
        record = await bench.service.upload("t", JS, "text/javascript")

        async def deploy(name: str) -> None:
            try:
                await bench.service.deploy("t", name, record.digest, DefinitionOptions(), {})
            except DormiceError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(deploy, f"n{number}")
        assert len(await bench.driver.list_definitions("t")) == 3
    assert [error.limit for error in refused] == ["tenant_definitions"] * 5
