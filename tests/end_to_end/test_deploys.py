"""Deploys on a real host: upgraded, broken, rolled back, with sockets that stay open through all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import websockets

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

SOURCE = """
import { actor } from "isolate";
export default actor({
  state: { n: 0, log: [] },
  onUpgrade(c, from) { %(upgrade)s; c.state.log.push(`${from} to %(version)s`); },
  onWake(c) { %(wake)s },
  onWebSocket(c, ws) { ws.onmessage = (e) => ws.send(`%(version)s ${e.data} ${++c.state.n}`); },
  actions: { version: (c) => %(version)s, log: (c) => c.state.log },
});
"""
BROKEN = 'throw new Error("not today")'


async def deploy(host: TestHost, version: int, *, upgrade: str = "", wake: str = "", **rollout: Any) -> None:
    source = SOURCE % {"version": version, "upgrade": upgrade, "wake": wake}
    await host.deploy("chat", source.encode(), rollout=rollout)


@pytest.fixture
async def host(new_data_dir: Callable[[], Path]) -> AsyncGenerator[TestHost]:
    with anyio.fail_after(60):
        async with start_host(new_data_dir()) as started:
            yield started


async def status(host: TestHost, actor: str) -> dict[str, Any]:
    answer = await host.http.get(f"/actors/{actor}/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until(host: TestHost, actor: str, **wanted: Any) -> dict[str, Any]:
    while True:
        found = await status(host, actor)
        if {name: found[name] for name in wanted} == wanted:
            return found


async def test_a_socket_stays_open_while_its_actor_is_upgraded_broken_and_rolled_back(host: TestHost) -> None:
    await deploy(host, 1)
    actor = await host.actor("chat")
    async with host.socket(actor) as socket:

        async def say(text: str) -> str:
            await socket.send(text)
            return str(await socket.recv())

        assert await say("a") == "1 a 1"
        await deploy(host, 2, now=True)
        await until(host, actor, version=2, state="running")
        assert await say("b") == "2 b 2"

        await deploy(host, 3, upgrade=BROKEN, now=True)
        found = await until(host, actor, held_version=3, state="running")
        assert found["version"] == 2
        assert await say("c") == "2 c 3"
        history = (await host.http.get("/definitions/chat/versions")).json()
        newest = history["versions"][0]
        assert (newest["version"], newest["status"]) == (3, "failed")
        assert newest["reason"] == "internal/internal_error: Error: not today"
        assert [failure["actor_id"] for failure in history["failures"]] == [actor]

        answer = await host.http.post("/definitions/chat/rollback", json={"now": True})
        assert (answer.json()["version"], answer.json()["to_version"]) == (4, 2)
        await until(host, actor, version=4, held_version=None, state="running")
        assert await say("d") == "2 d 4"
    assert await host.call(actor, "log") == ["1 to 2", "2 to 2"]


async def test_who_calls_while_an_upgrade_fails_gets_the_answer_of_the_version_before(host: TestHost) -> None:
    await deploy(host, 1)
    actors = [await host.actor("chat", str(number)) for number in range(4)]
    for actor in actors:
        await host.call(actor, "version")
        await host.http.post(f"/actors/{actor}/sleep")
    await deploy(host, 2, wake="for (;;) {}")
    for actor in actors:
        assert await host.call(actor, "version") == 1
    versions = (await host.http.get("/definitions/chat/versions")).json()["versions"]
    assert [each["status"] for each in versions] == ["failed", "live"]
    assert versions[0]["reason"].startswith("guest/deadline")


async def test_what_an_actor_is_held_back_from_outlives_the_host(new_data_dir: Callable[[], Path]) -> None:
    data = new_data_dir()
    with anyio.fail_after(60):
        async with start_host(data) as host:
            await deploy(host, 1)
            actor = await host.actor("chat")
            await host.actor("chat", "other")
            await host.call(actor, "version")
            await host.http.post(f"/actors/{actor}/sleep")
            await deploy(host, 2, upgrade=BROKEN)
            assert await host.call(actor, "version") == 1
        async with start_host(data) as host:
            found = await status(host, actor)
            assert (found["state"], found["version"], found["held_version"]) == ("asleep", 1, 2)
            assert await host.call(actor, "version") == 1
            failures = (await host.http.get("/definitions/chat/versions")).json()["failures"]
            assert len(failures) == 1
            await host.http.post(f"/actors/{actor}/sleep")
            answer = await host.http.post(f"/actors/{actor}/reload")
            assert (answer.json()["state"], answer.json()["held_version"]) == ("asleep", None)


async def test_a_failed_actor_refuses_upgrades_before_the_handshake_as_it_refuses_requests(host: TestHost) -> None:
    await deploy(host, 1, wake=BROKEN)
    actor = await host.actor("chat")
    answer = await host.try_call(actor, "version")
    assert (answer.status_code, answer.json()["code"]) == (503, "start_failed")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await host.socket(actor)
    response = refused.value.response
    again = await host.try_call(actor, "version")
    assert (response.status_code, response.body) == (again.status_code, again.content)
    assert int(response.headers["retry-after"]) >= 1
    found = await status(host, actor)
    assert (found["state"], found["attempt"], found["last_error"]["code"]) == ("failed", 1, "start_failed")
    reloaded = (await host.http.post(f"/actors/{actor}/reload")).json()
    assert (reloaded["state"], reloaded["attempt"]) == ("failed", 1)
    await deploy(host, 2)
    reloaded = (await host.http.post(f"/actors/{actor}/reload")).json()
    assert (reloaded["state"], reloaded["version"], reloaded["last_error"]) == ("running", 2, None)
