"""The FastAPI application of the documentation: its own users are tenants, and it embeds a host for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from docs.examples.fastapi_app import create_app
from host.gateway.server import HostServer, bind
from host.model.limits import Limits

pytestmark = pytest.mark.anyio

LIST = "/live/gateway/notebook/action/list?rvt-method=getOrCreate&rvt-key=main"
SOCKET = "/live/gateway/notebook/websocket/?rvt-method=getOrCreate&rvt-key=main"


class Browser:
    """Its cookies are those of whoever is signed in."""

    def __init__(self, http: httpx.AsyncClient, port: int) -> None:
        self.http = http
        self.port = port

    async def sign_in(self, name: str) -> None:
        answer = await self.http.post("/session", json={"name": name, "password": f"{name}'s"})
        assert answer.status_code == 204

    def socket(self, **headers: str) -> Any:
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        url = f"ws://127.0.0.1:{self.port}{SOCKET}"
        return connect(url, additional_headers={"cookie": cookies, **headers}, proxy=None)

    async def refused(self, **headers: str) -> int:
        """The status with which an upgrade is refused."""
        with pytest.raises(InvalidStatus) as refused:
            await self.socket(**headers)
        assert json.loads(refused.value.response.body or b"")["group"] == "auth"
        return refused.value.response.status_code


@asynccontextmanager
async def browsing(data_dir: Path) -> AsyncIterator[Browser]:
    """The application on a real server, and a browser at it."""
    app = create_app(data_dir)
    server = HostServer(app, bind("127.0.0.1", 0), Limits())
    with anyio.fail_after(30):
        async with app.router.lifespan_context(app), anyio.create_task_group() as tasks:
            await tasks.start(server.run)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
                for name in ("ada", "eve"):
                    made = await http.post("/users", json={"name": name, "password": f"{name}'s"})
                    assert made.status_code == 201, made.text
                yield Browser(http, server.port)
            await server.stop()


async def test_the_application_calls_the_actors_of_its_users(new_data_dir: Callable[[], Path]) -> None:
    async with browsing(new_data_dir()) as browser:
        assert (await browser.http.get("/notes")).status_code == 401
        await browser.sign_in("ada")
        assert (await browser.http.post("/notes", json={"text": "one"})).json() == {"notes": 1}
        assert (await browser.http.get("/notes")).json() == [{"text": "one", "by": "the application"}]
        await browser.sign_in("eve")
        assert (await browser.http.get("/notes")).json() == []


async def test_a_browser_talks_to_its_users_actor_with_the_session_of_the_application(
    new_data_dir: Callable[[], Path],
) -> None:
    async with browsing(new_data_dir()) as browser:
        http = browser.http
        await browser.sign_in("ada")
        async with browser.socket() as socket:
            await socket.send("by socket")
            assert await socket.recv() == "1 notes"
        listed = await http.post(LIST)
        assert listed.json() == {"output": [{"text": "by socket", "by": "ada"}]}
        ada = listed.headers["x-rivet-actor"]

        await browser.sign_in("eve")
        assert (await http.post(LIST)).json() == {"output": []}
        for answer in (
            await http.post(f"/live/gateway/{ada}/action/list"),
            await http.get(f"/live/gateway/{ada}/metadata"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await http.post(f"{LIST}&rvt-namespace=user-1")).json()["code"] == "forbidden"
        # to talk to actors is all that a user may
        assert (await http.get("/live/actors")).json()["code"] == "forbidden"
        assert (await http.delete(f"/live/actors/{ada}")).json()["code"] == "forbidden"


async def test_who_is_not_signed_in_reaches_nothing(new_data_dir: Callable[[], Path]) -> None:
    async with browsing(new_data_dir()) as browser:
        http = browser.http
        guessed: tuple[dict[str, str], ...] = ({}, {"session": "guessed"})
        for cookies in guessed:
            http.cookies.clear()
            http.cookies.update(cookies)
            assert (await http.post(LIST)).status_code == 401
            assert (await http.get("/live/limits")).status_code == 401
            assert await browser.refused() == 401
        http.cookies.clear()
        await browser.sign_in("ada")
        assert (await http.post(LIST)).status_code == 200
        assert (await http.delete("/session")).status_code == 204
        assert (await http.post(LIST)).status_code == 401


async def test_pages_of_other_origins_cannot_use_a_session(new_data_dir: Callable[[], Path]) -> None:
    async with browsing(new_data_dir()) as browser:
        await browser.sign_in("ada")
        own = f"http://127.0.0.1:{browser.port}"
        assert (await browser.http.post(LIST, headers={"origin": own})).status_code == 200
        async with browser.socket(origin=own):
            pass
        for origin in ("http://evil.example", f"http://127.0.0.1:{browser.port}.evil.example", "null"):
            answer = await browser.http.post(LIST, headers={"origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert await browser.refused(origin=origin) == 403
