"""The code in the documentation runs: modules are admitted, the greeter greets, the embedded host answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from host import Actor, CallFailed, Host, action
from tests.docs.pages import PAGES, ROOT, fences
from tests.end_to_end.host import start_host

pytestmark = pytest.mark.anyio

STATIC = dict(fences(ROOT / "docs" / "static-actors.md", "python", "# file:"))
# A module that names its actors is deployed under one of their names.
ONE_OF = {"house.js": "hall"}
MODULES = {name: code for page in PAGES for name, code in fences(page, "js", "// file:")}


async def test_every_module_is_admitted_and_its_actors_start(new_data_dir: Callable[[], Path]) -> None:
    assert len(MODULES) >= 5
    with anyio.fail_after(30):
        async with start_host(new_data_dir()) as host:
            for name, code in MODULES.items():
                name = ONE_OF.get(name, name)
                await host.deploy(name, code.encode())
                actor = await host.actor(name)
                # an unknown action is only known to be one after the start, and only to those who are let in
                told = "not_a_member" if name == "members.js" else "action_not_found"
                assert (await host.try_call(actor, "nope")).json()["code"] == told


async def test_the_greeter_of_the_readme_does_what_the_readme_says(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(20):
        async with start_host(new_data_dir()) as host:
            await host.deploy("greeter", MODULES["greeter.js"].encode())
            actor = await host.actor("greeter", "front-door")
            assert await host.call(actor, "greet", "ada") == "hello ada, visit 1"
            by_query = "/gateway/greeter/action/greet?rvt-method=getOrCreate&rvt-key=front-door"
            answer = await host.http.post(by_query, content='{"args": ["bob"]}')
            assert answer.json() == {"output": "hello bob, visit 2"}
            async with host.socket(actor) as socket:
                assert await socket.recv() == "welcome"
                await socket.send("one")
                assert await socket.recv() == "1: one"
                assert (await host.http.post(f"/actors/{actor}/sleep")).status_code == 200
                await host.until_asleep(actor)
                await socket.send("two")
                assert await socket.recv() == "2: two"


async def test_the_auth_hook_of_the_page_lets_its_members_in(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(20):
        async with start_host(new_data_dir()) as host:
            await host.deploy("members", MODULES["members.js"].encode())
            actor = await host.actor("members")
            for user, status in (("ada", 200), ("eve", 403)):
                made = await host.http.post(
                    "/tenants/default/connection-tokens", json={"name": "members", "claims": {"user": user}}
                )
                answer = await host.http.post(f"/gateway/{actor}@{made.json()['token']}/action/whoami")
                assert answer.status_code == status
            assert answer.json()["code"] == "not_a_member"


async def test_the_tour_of_the_sdk_works(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(20):
        async with start_host(new_data_dir()) as host:
            await host.deploy("tour", MODULES["tour.js"].encode())
            actor = await host.actor("tour")
            assert (await host.call(actor, "rename", "a")) == {"title": "a", "edits": 1}
            assert (await host.try_call(actor, "rename", 1)).json()["code"] == "bad_title"
            assert await host.call(actor, "remember", "k", "text") == 1
            assert (await host.http.get(f"/gateway/{actor}/request/state")).json()["title"] == "a"
            answer = await host.http.post(f"/gateway/{actor}/request/else?q=1", content="hi")
            assert answer.text == "POST /else: hi"
            await host.call(actor, "rest")
            await host.until_asleep(actor)
            assert "sleptAt" in (await host.http.get(f"/gateway/{actor}/request/state")).json()


async def test_the_talk_of_the_python_client_goes_as_its_page_says(new_data_dir: Callable[[], Path]) -> None:
    ((_, program),) = fences(ROOT / "docs" / "python-client.md", "python", "# file:")
    names: dict[str, Any] = {}
    exec(compile(program, "talk.py", "exec"), names)
    with anyio.fail_after(20):
        async with start_host(new_data_dir()) as host:
            await host.deploy("rooms", MODULES["rooms.js"].encode())
            assert await names["main"](host.url) == [
                1,
                ["hello"],
                ["hello"],
                2,
                ("said", "ada", "over a socket"),
                "user/empty",
            ]


async def test_the_program_that_embeds_a_host_serves_it_below_its_prefix(
    new_data_dir: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, program),) = fences(ROOT / "README.md", "python", "# file:")
    os.rename(new_data_dir(), tmp_path / "dormice-data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(program, "embed.py", "exec"), names)
    app = names["app"]
    with anyio.fail_after(20):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http,
        ):
            assert (await http.get("/actors-host/health")).json() == {"status": "up"}
            digest = (
                await http.post(
                    "/actors-host/modules",
                    content=MODULES["greeter.js"],
                    headers={"content-type": "text/javascript"},
                )
            ).json()["digest"]
            await http.put("/actors-host/definitions/greeter", json={"module": digest})
            address = "/actors-host/gateway/greeter/action/greet?rvt-method=getOrCreate&rvt-key=a"
            assert (await http.post(address, json={"args": ["ada"]})).json() == {"output": "hello ada, visit 1"}
            address = "/actors-host/gateway/counter/action/add?rvt-method=getOrCreate&rvt-key=a"
            assert (await http.post(address, json={"args": [2]})).json() == {"output": 2}


async def test_the_shop_of_static_actors_sells(
    new_data_dir: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = STATIC["shop.py"]
    os.rename(new_data_dir(), tmp_path / "shop-data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(program, "shop.py", "exec"), names)
    with anyio.fail_after(30):
        assert await names["main"]() == {
            "two": {"output": 2},
            "three": {"output": 3},
            "refused": "bad_count",
            "french": {"output": "bonjour, ada"},
        }


class Shop(Actor):
    @action
    async def ask(self, url: str, method: str) -> Any:
        try:
            found = await self.fetch(url, method=method)
        except CallFailed as failed:
            return f"{failed.group}/{failed.code}: {failed.message}"
        return found.json()


async def test_the_egress_of_static_actors_answers_forwards_and_refuses(new_data_dir: Callable[[], Path]) -> None:
    names: dict[str, Any] = {}
    exec(compile(STATIC["egress.py"], "egress.py", "exec"), names)
    with anyio.fail_after(30):
        async with (
            Host(new_data_dir(), definitions={"shop": Shop}, egress=names["egress"], dev=True) as host,
            httpx.AsyncClient(transport=httpx.ASGITransport(host.asgi()), base_url="http://localhost") as http,
        ):

            async def ask(*args: str) -> Any:
                address = "/gateway/shop/action/ask?rvt-method=getOrCreate&rvt-key=a"
                return (await http.post(address, json={"args": args})).json()["output"]

            assert await ask("https://inventory.inside/count", "GET") == {"count": 3}
            assert (
                await ask("https://inventory.inside/count", "POST") == "fetch/refused: this shop only looks things up"
            )
            # What it forwards goes through the checks.
            assert (await ask("https://127.0.0.1/", "GET")).startswith("fetch/refused: the host '127.0.0.1' is not on")
