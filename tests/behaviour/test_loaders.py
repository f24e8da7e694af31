"""Loaders: a module named per actor, at every start, by the program that runs the host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from structlog.testing import capture_logs

from host.model.definitions import DefinitionOptions, ModuleRecord
from host.model.errors import CallerError, TenantError
from host.model.sources import Dynamic, LoadContext, ModuleSource
from host.modules.api import RunnableCode
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness
from tests.behaviour.kinds import NAME, source

pytestmark = pytest.mark.anyio

Load = Callable[[LoadContext], Awaitable[ModuleSource]]
DIGEST = "ab" * 32


class Uploads:
    """A shelf that takes uploads and fetches, and writes down which."""

    def __init__(self, shelf: CodeShelf) -> None:
        self._shelf = shelf
        self.taken: list[tuple[str, ...]] = []
        self.at_address: dict[str, str | bytes] = {}

    async def upload(self, tenant: str, data: bytes, content_type: str) -> ModuleRecord:
        self.taken.append(("upload", tenant, content_type))
        if not data:
            raise TenantError("module", "no_actor", "there is no actor in it")
        return self._record(tenant, self._shelf.put(data.decode() if content_type == "text/javascript" else data))

    async def load_url(self, tenant: str, url: str, sha256: str) -> ModuleRecord:
        self.taken.append(("url", tenant, url, sha256))
        return self._record(tenant, self._shelf.put(self.at_address[url]))

    def _record(self, tenant: str, digest: str) -> ModuleRecord:
        return ModuleRecord(tenant, digest, "js", 1, cast(Any, None), 0)

    async def code_for(self, tenant: str, digest: str) -> RunnableCode:
        return await self._shelf.code_for(tenant, digest)


@asynccontextmanager
async def loading(shelf: CodeShelf, load: Load, **more: Any) -> AsyncGenerator[tuple[Harness, Uploads]]:
    uploads = Uploads(shelf)
    async with open_harness(cast(CodeShelf, uploads), registered={NAME: Dynamic(load, **more)}) as h:
        yield h, uploads


async def refused(h: Harness, key: str = "k") -> str:
    """The message of a start that failed."""
    error = await h.error(await h.actor(NAME, key), "add", 1)
    assert (error.name, error.retryable) == ("actor/start_failed", True)
    return error.message


def saying(word: str) -> str:
    return f"""
        import {{ actor }} from "isolate";
        export default actor({{ actions: {{ say: () => "{word}" }} }});
    """


async def test_it_is_told_who_starts_and_its_module_is_admitted_like_an_upload(shelf: CodeShelf) -> None:
    asked: list[LoadContext] = []

    async def load(context: LoadContext) -> ModuleSource:
        asked.append(context)
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, uploads):
        actor = await h.actor(NAME, "a key", b'{"wood": "oak"}')
        assert asked == [], "to create an actor loads nothing"
        assert await h.call(actor, "add", 1) == 1
        assert asked == [LoadContext(TENANT, NAME, ("a key",), actor, 1, {"wood": "oak"})]
        assert uploads.taken == [("upload", TENANT, "text/javascript")]
        assert (await h.record(actor)).module == shelf.put(source())
        await h.call(actor, "add", 1)
        assert len(asked) == 1, "one that is awake is not loaded again"
        await h.asleep(actor)
        assert await h.call(actor, "add", 1) == 3
        assert [context.input for context in asked] == [{"wood": "oak"}, None]


async def test_javascript_wasm_and_urls_are_chosen_per_actor(shelf: CodeShelf, thing_wasm: bytes) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        match context.key:
            case ("js",):
                return ModuleSource.javascript(source())
            case ("wasm",):
                return ModuleSource.wasm(thing_wasm)
        return ModuleSource.url("https://example.com/thing.js", sha256=DIGEST)

    async with loading(shelf, load) as (h, uploads):
        uploads.at_address["https://example.com/thing.js"] = saying("from afar")
        js, wasm, url = [await h.actor(NAME, key) for key in ("js", "wasm", "url")]
        assert await h.call(js, "add", 2) == 2
        assert await h.call(wasm, "creations") == 1
        assert await h.call(url, "say") == "from afar"
        assert uploads.taken[1:] == [
            ("upload", TENANT, "application/wasm"),
            ("url", TENANT, "https://example.com/thing.js", DIGEST),
        ]
        assert len({(await h.record(actor)).module for actor in (js, wasm, url)}) == 3


async def test_another_module_at_the_next_start_finds_the_state_of_the_first(shelf: CodeShelf) -> None:
    sources = iter([source(), saying("new"), source()])

    async def load(context: LoadContext) -> ModuleSource:
        return ModuleSource.javascript(next(sources))

    async with loading(shelf, load) as (h, _):
        actor = await h.actor(NAME)
        await h.call(actor, "add", 5)
        await h.asleep(actor)
        assert await h.call(actor, "say") == "new"
        await h.asleep(actor)
        assert (await h.call(actor, "get"))["count"] == 5


async def test_its_error_is_for_the_log_and_the_start_has_failed_with_back_off(shelf: CodeShelf) -> None:
    times = 0

    async def load(context: LoadContext) -> ModuleSource:
        nonlocal times
        times += 1
        if times < 3:
            raise RuntimeError("postgres://user:password@db")
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, _):
        with capture_logs() as lines:
            message = await refused(h)
        assert "the loader of this actor's code failed" in message
        assert "password" not in message
        assert [line["detail"] for line in lines if line["event"] == "start failed"] == [
            "RuntimeError('postgres://user:password@db')"
        ]
        actor = await h.actor(NAME)
        assert (await h.record(actor)).attempt == 1
        await refused(h)
        assert times == 1, "before its time it is not tried"
        await h.advance(1)
        await refused(h)
        await h.advance(2)
        assert await h.call(actor, "add", 1) == 1
        assert times == 3
        assert h.count("start_failures", "actor/load_failed") == 2


async def test_an_error_of_ours_that_it_raises_is_told(shelf: CodeShelf) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        raise CallerError("module", "not_found", "this tenant has not paid")

    async with loading(shelf, load) as (h, _):
        assert "module/not_found: this tenant has not paid" in await refused(h)


async def test_a_module_that_is_not_admitted_is_a_failed_start_with_its_reason(shelf: CodeShelf) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        return ModuleSource.javascript("")

    async with loading(shelf, load) as (h, _):
        assert "module/no_actor: there is no actor in it" in await refused(h)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("source text", "returns a ModuleSource, not a str"),
        (None, "returns a ModuleSource, not a NoneType"),
        (ModuleSource(), "bytes with a type, or a URL with its sha256"),
        (ModuleSource(address="https://example.com"), "bytes with a type, or a URL with its sha256"),
        (ModuleSource.wasm(cast(bytes, "text")), "are bytes, not a str"),
    ],
)
async def test_what_is_no_source_is_refused_and_the_message_says_why(shelf: CodeShelf, given: Any, told: str) -> None:
    async def load(context: LoadContext) -> Any:
        return given

    async with loading(shelf, load) as (h, uploads):
        assert told in await refused(h)
        assert uploads.taken == []


async def test_a_function_that_is_not_async_is_a_failed_start_too(shelf: CodeShelf) -> None:
    def load(context: LoadContext) -> Any:
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, _):
        assert "the loader of this actor's code failed" in await refused(h)


async def test_a_slow_loader_is_cancelled_at_the_deadline_of_the_start(shelf: CodeShelf) -> None:
    cancelled: list[int] = []
    slow = True

    async def load(context: LoadContext) -> ModuleSource:
        if slow:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled.append(h.clock.now_ms())
                raise
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, _):
        began = h.clock.now_ms()
        messages: list[str] = []

        async def ask() -> None:
            messages.append(await refused(h))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await h.advance(14.9)
            assert (cancelled, messages) == ([], [])
            await h.advance(0.1)
        assert cancelled == [began + 15_000]
        assert "loading the module took too long" in messages[0]
        slow = False
        await h.advance(1)
        assert await h.call(await h.actor(NAME), "add", 1) == 1


async def test_a_time_out_of_its_own_is_an_error_like_any_other(shelf: CodeShelf) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        raise TimeoutError("the database")

    async with loading(shelf, load) as (h, _):
        assert "the loader of this actor's code failed" in await refused(h)


async def test_many_callers_share_one_load(shelf: CodeShelf) -> None:
    go = anyio.Event()
    loads = 0

    async def load(context: LoadContext) -> ModuleSource:
        nonlocal loads
        loads += 1
        await go.wait()
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, _):
        actor = await h.actor(NAME)
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await h.call(actor, "add", 1))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
            await h.rest()
            go.set()
        assert (loads, sorted(answers)) == (1, list(range(1, 101)))


async def test_a_destroy_while_it_loads_ends_the_actor_and_whoever_waits(shelf: CodeShelf) -> None:
    go = anyio.Event()

    async def load(context: LoadContext) -> ModuleSource:
        await go.wait()
        return ModuleSource.javascript(source())

    async with loading(shelf, load) as (h, _):
        actor = await h.actor(NAME)
        errors: list[str] = []

        async def ask() -> None:
            errors.append((await h.error(actor, "add", 1)).name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await h.rest()
            tasks.start_soon(h.placement.destroy, actor)
            await h.rest()
            go.set()
        assert errors == ["actor/not_found"]


async def test_options_and_limits_come_with_the_loader(shelf: CodeShelf) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        return ModuleSource.javascript(source())

    async with loading(shelf, load, options=DefinitionOptions(sleep_timeout=1_000), limits={"kv_actor": 1_000}) as (
        h,
        _,
    ):
        actor = await h.actor(NAME)
        assert await h.call(actor, "put_big", 1_001) == "limit/exceeded"
        await h.advance(1.1)
        assert h.state(actor) == "absent"


async def test_a_registered_name_wins_in_every_namespace(shelf: CodeShelf) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        return ModuleSource.javascript(saying(f"registered, {context.tenant}"))

    async with loading(shelf, load) as (h, uploads):
        digest = shelf.put(saying("deployed"))
        for tenant in (TENANT, "acme"):
            await h.storage.put_definition(tenant, NAME, digest, DefinitionOptions(), {}, h.clock.now_ms())
            record, _ = await h.placement.get_or_create(tenant, NAME, ("k",), None)
            assert await h.call(record.actor_id, "say") == f"registered, {tenant}"
        assert [one[1] for one in uploads.taken] == [TENANT, "acme"]
