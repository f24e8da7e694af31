"""A host inside a program: what it takes, what it refuses, and that importing for actors costs no engine."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

import host
from host import Actor, Dynamic, Host, LoadContext, ModuleSource, action
from host.config import Settings
from host.embedded import HostSettings, Source
from host.model.definitions import DefinitionOptions, EgressOptions
from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits

ROOT = Path(__file__).parent.parent
TOKEN = "a token of the operator"


class Astray(Actor):
    egress = EgressOptions(hosts=("http://x",))


async def never(context: LoadContext) -> ModuleSource:
    raise AssertionError("nothing is loaded")


ASTRAY = Dynamic(never, options=DefinitionOptions(egress=EgressOptions(hosts=())))


class Counter(Actor):
    state: Any = {"count": 0}

    @action
    def add(self, by: int) -> int:
        self.state["count"] += by
        count: int = self.state["count"]
        return count


SCRIPT = 'import { actor } from "isolate"; export default actor({ actions: { hello: (c) => `hello ${c.key[0]}` } });'


async def load(context: LoadContext) -> ModuleSource:
    return ModuleSource.javascript(SCRIPT)


@asynccontextmanager
async def client(opened: Host, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(opened.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as http:
        yield http


async def call(http: httpx.AsyncClient, name: str, what: str, *args: Any) -> Any:
    address = f"/gateway/{name}/action/{what}?rvt-method=getOrCreate&rvt-key=k"
    answer = await http.post(address, json={"args": list(args)})
    assert answer.status_code == 200, answer.text
    return answer.json()["output"]


@pytest.mark.anyio
async def test_classes_functions_and_dynamic_are_definitions(new_data_dir: Callable[[], Path]) -> None:
    definitions: dict[str, Source] = {
        "counter": Counter,
        "agent": load,
        "short": Dynamic(load, options=DefinitionOptions(sleep_timeout=5), limits={"state": 1_000}),
    }
    with anyio.fail_after(30):
        async with (
            Host(new_data_dir(), definitions=definitions, dev=True, images=False) as opened,
            client(opened) as http,
        ):
            assert await call(http, "counter", "add", 2) == 2
            assert await call(http, "agent", "hello") == "hello k"
            assert await call(http, "short", "hello") == "hello k"


@pytest.mark.anyio
async def test_leaving_puts_actors_to_sleep_and_the_next_host_finds_them(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()
    with anyio.fail_after(30):
        for count in (1, 2):
            opened = Host(str(path), definitions={"counter": Counter}, dev=True)
            async with opened, client(opened) as http:
                assert await call(http, "counter", "add", 1) == count
            with pytest.raises(RuntimeError, match="not open"):
                opened.asgi()
            with pytest.raises(RuntimeError, match="entered before"):
                await opened.__aenter__()


def test_it_opens_in_plain_asyncio(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()

    async def main() -> Any:
        async with (
            asyncio.timeout(30),
            Host(path, definitions={"counter": Counter}, dev=True) as opened,
            client(opened) as http,
        ):
            return await call(http, "counter", "add", 3)

    assert asyncio.run(main()) == 3


@pytest.mark.anyio
async def test_a_program_that_is_cancelled_leaves_its_actors_on_disk(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()
    opened = anyio.Event()

    async def program() -> None:
        async with Host(path, definitions={"counter": Counter}, dev=True) as host, client(host) as http:
            await call(http, "counter", "add", 7)
            opened.set()
            await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(program)
            await opened.wait()
            tasks.cancel_scope.cancel()
        async with Host(path, definitions={"counter": Counter}, dev=True) as again, client(again) as http:
            assert await call(http, "counter", "add", 1) == 8


@pytest.mark.anyio
async def test_an_error_of_the_program_comes_out_as_it_is(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()

    async def fail() -> None:
        async with Host(path, definitions={"counter": Counter}, dev=True) as opened, client(opened) as http:
            await call(http, "counter", "add", 7)
            raise LookupError("of the program")

    with anyio.fail_after(30):
        with pytest.raises(LookupError, match="of the program"):
            await fail()
        async with Host(path, definitions={"counter": Counter}, dev=True) as again, client(again) as http:
            assert await call(http, "counter", "add", 1) == 8


@pytest.mark.anyio
async def test_a_data_directory_in_use_is_refused(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()
    with anyio.fail_after(30):
        async with Host(path, dev=True):
            second = Host(path, dev=True)
            with pytest.raises(DormiceError, match="in use"):
                await second.__aenter__()
            with pytest.raises(RuntimeError, match="not open"):
                second.asgi()


@pytest.mark.anyio
async def test_a_token_guards_both_planes_unless_actors_are_public(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        for public in (False, True):
            async with Host(
                new_data_dir(), definitions={"counter": Counter}, admin_token=TOKEN, public_actors=public
            ) as opened:
                async with client(opened) as http:
                    assert (await http.get("/definitions")).status_code == 401
                    address = "/gateway/counter/action/add?rvt-method=getOrCreate&rvt-key=open"
                    answer = await http.post(address, json={"args": [1]})
                    assert answer.status_code == (200 if public else 401)
                async with client(opened, authorization=f"Bearer {TOKEN}") as http:
                    assert await call(http, "counter", "add", 1) == 1
                    assert (await http.get("/definitions")).status_code == 200


@pytest.mark.anyio
async def test_settings_are_those_of_a_node(new_data_dir: Callable[[], Path]) -> None:
    limits = Limits(body=100)
    with anyio.fail_after(30):
        async with Host(new_data_dir(), dev=True, limits=limits, drain_seconds=1.0) as opened, client(opened) as http:
            shown = {row["name"]: row["value"] for row in (await http.get("/limits")).json()["limits"]}
            assert shown["body"] == 100


def test_every_setting_of_a_node_is_here_or_belongs_to_a_process() -> None:
    own = {"data_dir", "admin_token", "public_actors", "dev"}
    of_a_process = {"host", "port", "log_format", "log_level", "failpoint"}
    assert {each.name for each in fields(Settings)} == own | of_a_process | set(HostSettings.__annotations__)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"admin_token": "short"}, CallerError, "fewer than 16 characters"),
        ({"dev": True, "data_dir": 3}, TypeError, "data_dir is a path, not a int"),
        ({"dev": True, "port": 80}, TypeError, "Host has no setting 'port'"),
        ({"dev": True, "memory_reserve": "much"}, CallerError, "much"),
        ({"dev": True, "definitions": {"a/b": Counter}}, ValueError, "'a/b' is no name for a definition"),
        ({"dev": True, "definitions": {"": Counter}}, ValueError, "is no name for a definition"),
        ({"dev": True, "egress": 3}, TypeError, r"egress\['\*'\] is a int; give an async function"),
        ({"dev": True, "egress": {"a": "b"}}, TypeError, r"egress\['a'\] is a str; give an async function"),
        ({"dev": True, "definitions": {"a": Astray}}, ValueError, r"definitions\['a'\]: egress: 'http://x' is no host"),
        ({"dev": True, "definitions": {"a": ASTRAY}}, ValueError, r"definitions\['a'\]: egress: hosts is empty"),
        ({"dev": True, "definitions": {"x": 3}}, TypeError, r"definitions\['x'\] is a int; give a subclass of Actor"),
        ({"dev": True, "definitions": {"x": dict}}, TypeError, r"definitions\['x'\]: .* is no subclass of Actor"),
        ({"dev": True, "definitions": {"x": Counter()}}, TypeError, r"definitions\['x'\] is a Counter; give"),
        (
            {"dev": True, "definitions": {"x": Dynamic(load, limits={"nothing": 1})}},
            ValueError,
            r"definitions\['x'\]: .*nothing",
        ),
    ],
)
def test_a_wrong_argument_is_told_by_its_name_and_nothing_is_opened(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    path = tmp_path / "data"
    with pytest.raises(error, match=told):
        Host(**cast(Any, {"data_dir": path, **arguments}))
    assert not path.exists()


def test_names_are_loaded_when_they_are_asked_for_and_the_engine_only_by_a_host() -> None:
    program = (
        "import sys, host; from host import Actor, Client, Deferred, Dynamic, ModuleSource, UserError, action; "
        "print([name for name in ('wasmtime', 'starlette', 'uvicorn', 'aiosqlite') if name in sys.modules]); "
        "from host import Host; print('wasmtime' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "True"]


def test_every_name_is_there_and_has_its_type() -> None:
    stub = (ROOT / "host" / "__init__.pyi").read_text()
    typed = set(re.findall(r"^from \S+ import (\w+) as \1$", stub, re.MULTILINE))
    assert typed | {"__version__"} == set(host.__all__)
    assert sorted(host.__all__) == list(host.__all__)
    for name in host.__all__:
        assert getattr(host, name) is not None
    assert set(host.__all__) <= set(dir(host))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        host.nothing  # type: ignore[attr-defined]  # noqa: B018
