"""The example `weather_desk`, on a real host, with a web server of the test's own at its hook."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream, SocketAttribute

from tests.end_to_end.host import TestHost

pytestmark = pytest.mark.anyio

EGRESS = {"egress": {"hosts": ["127.0.0.1"]}}


class Hook:
    """What was posted: heads and bodies, in order; `status` is what it answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/digest"
        self.heads: list[str] = []
        self.digests: list[dict[str, Any]] = []
        self.status = "204 No Content"
        self._posted = anyio.Event()

    async def until(self, count: int) -> None:
        while len(self.digests) < count:
            await self._posted.wait()

    async def take(self, stream: ByteStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            lines = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
            while len(body) < int(lines["content-length"]):
                body += await stream.receive()
            self.heads.append(head.decode().lower())
            self.digests.append(json.loads(body))
            posted, self._posted = self._posted, anyio.Event()
            posted.set()
            await stream.send(f"HTTP/1.1 {self.status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())


@asynccontextmanager
async def hooked() -> AsyncIterator[Hook]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        hook = Hook(listener.extra(SocketAttribute.local_port))
        tasks.start_soon(listener.serve, hook.take)
        yield hook
        tasks.cancel_scope.cancel()


async def deployed(host: TestHost, examples: Path, **more: Any) -> None:
    source = (examples / "weather_desk" / "actor.js").read_bytes()
    await host.deploy("station", source)
    await host.deploy("desk", source, **more)


async def look(host: TestHost, actor: str) -> dict[str, Any]:
    found: dict[str, Any] = await host.call(actor, "look")
    return found


async def test_stations_and_their_desk_call_each_other_and_the_hook_hears_of_it(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(30):
        async with hooked() as hook:
            await deployed(host, examples, options=EGRESS)
            desk = await host.actor("desk", "north")
            stations = {name: await host.actor("station", name) for name in ("hill", "shore")}
            for actor in stations.values():
                await host.call(actor, "begin", "north", 50)
            while len((await look(host, desk))["stations"]) < 2:
                await anyio.lowlevel.checkpoint()
            await host.call(desk, "open", hook.url, 5_000)
            await hook.until(1)
            # What sleeps is woken by its schedule, and goes on where it was.
            await host.http.post(f"/actors/{desk}/sleep")
            rounds = len(hook.digests)
            await hook.until(rounds + 1)
            await host.call(desk, "close")
            for actor in stations.values():
                await host.call(actor, "end")

            assert [digest["desk"] for digest in hook.digests] == ["north"] * len(hook.digests)
            numbers = [digest["round"] for digest in hook.digests]
            assert numbers == sorted(set(numbers))
            for digest in hook.digests:
                assert digest["readings"].keys() == stations.keys()
                assert all(0 <= reading["degrees"] <= 30 for reading in digest["readings"].values())
            head = hook.heads[0]
            assert head.startswith("post /digest http/1.1\r\n")
            names = [re.search(rf"^idempotency-key: {desk}-(\d+)\r$", head, re.MULTILINE) for head in hook.heads]
            times = [int(name[1]) for name in names if name is not None]
            assert len(times) == len(numbers)
            assert all(after - before == 5_000 for before, after in pairwise(times))
            for name, actor in stations.items():
                found = await look(host, actor)
                assert found["asked"] >= len(numbers), name
                assert found["readings"]
                assert (await look(host, desk))["stations"][name]["actorId"] == actor


async def test_a_client_is_no_station_and_no_desk(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await deployed(host, examples)
        answer = await host.try_call(await host.actor("desk", "north"), "report", "hill", {"degrees": 99})
        assert (answer.status_code, answer.json()["code"]) == (400, "not_a_station")
        answer = await host.try_call(await host.actor("station", "hill"), "latest")
        assert (answer.status_code, answer.json()["code"]) == (400, "not_a_desk")


async def test_a_hook_that_cannot_be_reached_costs_its_rounds_and_nothing_else(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(30):
        async with hooked() as hook:
            await deployed(host, examples)
            closed = await host.actor("desk", "closed")
            await host.call(closed, "open", hook.url, 3_600_000)
            await host.call(closed, "post")
            assert [each["why"] for each in (await look(host, closed))["failed"]] == ["fetch/refused"]
            assert hook.digests == []
            assert await host.call(closed, "close") is True

            await deployed(host, examples, options=EGRESS)
            opened = await host.actor("desk", "opened")
            await host.call(opened, "open", hook.url, 3_600_000)
            hook.status = "503 Busy"
            await host.call(opened, "post")
            hook.status = "204 No Content"
            await host.call(opened, "post")
            found = await look(host, opened)
            assert [each["why"] for each in found["failed"]] == ["the hook answered 503"]
            assert (found["posted"], found["round"], len(hook.digests)) == (1, 2, 2)
