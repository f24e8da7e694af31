"""The thing behind a real HTTP server, over real sockets and storage, in real time; and what only a real host shows:
admission of what a loader returns, and the refusal to deploy under a registered name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from host.actor.registry import Registered
from host.model.sources import Dynamic, LoadContext, ModuleSource
from host.static.spec import spec_of
from tests.behaviour.kinds import KINDS, NAME, source
from tests.behaviour.thing import Thing
from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

on_every_kind = pytest.mark.parametrize("host", KINDS, indirect=True)


@pytest.fixture
async def host(
    request: pytest.FixtureRequest, new_data_dir: Callable[[], Path], thing_wasm: bytes
) -> AsyncGenerator[TestHost]:
    kind: str = request.param
    registered: dict[str, Registered] | None = {NAME: spec_of(Thing)} if kind == "static" else None
    with anyio.fail_after(60):
        async with start_host(new_data_dir(), registered=registered) as running:
            if kind == "js":
                await running.deploy(NAME, source().encode())
            elif kind == "wasm":
                await running.deploy(NAME, thing_wasm, "application/wasm")
            yield running


@on_every_kind
async def test_calls_requests_and_errors_over_http(host: TestHost) -> None:
    actor = await host.actor(NAME)
    assert await host.call(actor, "add", 2) == 2
    answer = await host.try_call(actor, "refuse")
    assert (answer.status_code, answer.json()["code"], answer.json()["metadata"]) == (400, "closed", {"until": 5})
    answer = await host.try_call(actor, "break_down")
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert (await host.try_call(actor, "nothing")).status_code == 404
    answer = await host.http.post(f"/gateway/{actor}/request/x?y=1", content="hi", headers={"x-asked": "you"})
    assert (answer.status_code, answer.text, answer.headers["x-thing"]) == (201, "POST /x?y=1 hi", "you")


@on_every_kind
async def test_a_socket_stays_open_over_a_sleep(host: TestHost) -> None:
    actor = await host.actor(NAME)
    async with host.socket(actor) as socket:
        assert await socket.recv() == "welcome"
        for said, heard in (("seen", "1"), ("index", "2"), (b"\xff", b"\xff")):
            await socket.send(said)
            assert await socket.recv() == heard
        assert (await host.http.post(f"/actors/{actor}/sleep")).status_code == 200
        await host.until_asleep(actor)
        for said, heard in (("seen", "2"), ("index", "5"), ("restored", "yes")):
            await socket.send(said)
            assert await socket.recv() == heard
    notes = ["create -", "wake", "sleep", "wake", "closed 1000  clean"]
    while await host.call(actor, "notes") != ";".join(notes):
        await anyio.lowlevel.checkpoint()


@on_every_kind
async def test_an_alarm_wakes_it(host: TestHost) -> None:
    actor = await host.actor(NAME)
    async with host.socket(actor) as socket:
        assert await socket.recv() == "welcome"
        await host.call(actor, "alarm", "tea", 300, 2)
        await host.http.post(f"/actors/{actor}/sleep")
        while "alarm tea 2 1" not in await host.call(actor, "notes"):
            await anyio.lowlevel.checkpoint()
        assert await host.call(actor, "pending") == ["tea"], "its handler threw, so it comes again"


async def test_what_a_loader_returns_is_admitted_and_kept_as_a_module_of_the_tenant(
    new_data_dir: Callable[[], Path], thing_wasm: bytes
) -> None:
    async def load(context: LoadContext) -> ModuleSource:
        match context.key:
            case ("js",):
                return ModuleSource.javascript(source())
            case ("wasm",):
                return ModuleSource.wasm(thing_wasm)
            case ("bad js",):
                return ModuleSource.javascript("export default {")
            case ("bad wasm",):
                return ModuleSource.wasm(thing_wasm[:-20])
        return ModuleSource.url("http://169.254.169.254/latest", sha256="00" * 32)

    with anyio.fail_after(60):
        async with start_host(new_data_dir(), registered={NAME: Dynamic(load)}, allow_private_urls=False) as host:
            for key in ("js", "wasm"):
                assert await host.call(await host.actor(NAME, key), "add", 1) == 1
            modules = (await host.http.get("/modules")).json()["modules"]
            assert sorted(module["kind"] for module in modules) == ["js", "wasm"]
            for key, reason in (
                ("bad js", "module/js_syntax"),
                ("bad wasm", "module/malformed"),
                ("else", "module/fetch_refused"),
            ):
                answer = await host.try_call(await host.actor(NAME, key), "add", 1)
                assert (answer.status_code, answer.json()["code"]) == (503, "start_failed")
                assert reason in answer.json()["message"]
                assert "retry-after" in answer.headers


async def test_nobody_deploys_under_a_registered_name(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(30):
        async with start_host(new_data_dir(), registered={NAME: spec_of(Thing)}) as host:
            digest = await host.deploy("other", source().encode())
            for namespace in ("default", "acme"):
                if namespace != "default":
                    await host.http.post(
                        f"/modules?namespace={namespace}",
                        content=source(),
                        headers={"content-type": "text/javascript"},
                    )
                answer = await host.http.put(f"/definitions/{NAME}?namespace={namespace}", json={"module": digest})
                assert (answer.status_code, answer.json()["group"], answer.json()["code"]) == (
                    409,
                    "definition",
                    "in_use",
                )
                assert "another name" in answer.json()["message"]
            assert 'dormice_errors_total{reason="definition/in_use"}' in (await host.http.get("/metrics")).text
            assert await host.call(await host.actor(NAME), "add", 1) == 1
