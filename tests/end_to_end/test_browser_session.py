"""The browser client of docs/, in a real browser: the page reports what it got to the server that gave it out."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
import pytest

from host.model.limits import Limits
from tests.end_to_end.host import start_host
from tests.end_to_end.host_process import host_process
from tests.end_to_end.test_sessions import LEDGER, SLOW, Edge, check
from tests.end_to_end.unreliable import unreliable_network

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
FILES = {
    "/": ("text/html", HERE / "browser.html"),
    "/session-client.js": ("text/javascript", HERE.parents[1] / "docs" / "session-client.js"),
}
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
]
COUNT = 400


class PageServer:
    """Gives the page out, and takes its reports: `got` is called with how many frames it has, `done` is the last."""

    def __init__(self, got: Callable[[int], None]) -> None:
        self._got = got
        self.done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(" ", 2)
            path = target.partition("?")[0]
            if method == "POST":
                length = next(
                    int(line.split(":")[1]) for line in head.split("\r\n") if "content-length" in line.lower()
                )
                self._take(path, msgspec.json.decode(await reader.readexactly(length)))
            kind, file = FILES.get(path, ("text/plain", None))
            body = file.read_bytes() if file is not None else b""
            writer.write(
                f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                "connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _take(self, path: str, body: Any) -> None:
        if path == "/got":
            self._got(body)
        elif path == "/done" and not self.done.done():
            self.done.set_result(body)


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncGenerator[None]:
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: bash .ci/prepare test installs it"
    process = await anyio.open_process(
        [program, *FLAGS, f"--user-data-dir={profile}", url],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await process.aclose()


async def test_a_browser_comes_back_after_lost_connections_and_a_killed_host(
    new_data_dir: Callable[[], Path], tmp_path: Path
) -> None:
    with anyio.fail_after(90):
        async with host_process(new_data_dir()) as (host, tasks), unreliable_network(lambda: host.port) as network:
            await host.deploy("ledger", LEDGER)
            actor = await host.actor("ledger")
            restarted = anyio.Event()

            async def restart() -> None:
                await host.kill()
                await host.start(tasks)
                restarted.set()

            def got(frames: int) -> None:
                if frames == 300:
                    tasks.start_soon(restart)
                elif frames < 2 * COUNT:
                    network.cut()

            page = PageServer(got)
            server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
            async with server:
                query = urlencode({"host": f"http://127.0.0.1:{network.port}", "actor": actor, "count": COUNT})
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?{query}"
                async with browser(url, tmp_path / "profile"):
                    told = await page.done
            assert told["error"] is None, told["error"]
            await restarted.wait()
            assert network.cuts >= 4
            await check(host, actor, told["frames"], COUNT)
            state = await host.call(actor, "all")
            # the browser is gone, and its session waits for it
            assert (state["opened"], state["closed"]) == (1, [])


async def test_a_browser_whose_session_ends_just_before_it_is_back_loses_it_and_opens_no_other(
    new_data_dir: Callable[[], Path], tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with (
            start_host(new_data_dir(), limits=Limits(session_window=1_000)) as host,
            unreliable_network(lambda: host.port) as network,
        ):
            await host.deploy("slow", SLOW)
            actor, edge = await host.actor("slow"), Edge(host, network)
            page = PageServer(lambda _: None)
            server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
            async with server:
                query = urlencode({"host": f"http://127.0.0.1:{network.port}", "actor": actor, "count": 1})
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?{query}"
                async with browser(url, tmp_path / "profile"):
                    await edge.handled(actor)
                    network.cut()
                    told = await page.done
            assert told == {"error": "4004 session.not_found", "frames": []}
            await edge.check(actor)
