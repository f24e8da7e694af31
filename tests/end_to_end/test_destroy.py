"""The end of an actor over the network: it hears of it, all who asked are answered, whoever polls it learns of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from websockets.exceptions import ConnectionClosed

from host.client import Client
from host.model.errors import DormiceError
from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

# What it does in its end is its input.
MORTAL = b"""
import { actor } from "isolate";
export default actor({
  createState: (c, input) => ({ end: input ?? "well" , n: 0 }),
  async onDestroy(c) {
    if (c.state.end === "loops") for (;;) {}
    if (c.state.end === "throws") throw new Error("on purpose");
    if (c.state.end === "slow") await new Promise((done) => setTimeout(done, 700));
    if (c.state.end === "never") await new Promise(() => {});
  },
  onWebSocket(c, ws) { ws.onmessage = (e) => ws.send(e.data); },
  actions: {
    inc(c) { return ++c.state.n; },
    end(c) { c.destroy(); return "the end"; },
  },
});
"""
# CBOR texts in base64.
INPUT = {"well": "ZHdlbGw=", "loops": "ZWxvb3Bz", "throws": "ZnRocm93cw==", "slow": "ZHNsb3c=", "never": "ZW5ldmVy"}


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("mortal", MORTAL)
        yield host


async def made(host: TestHost, key: str, end: str = "well") -> str:
    """One that was started once."""
    actor = await host.actor("mortal", key, input=INPUT[end])
    assert await host.call(actor, "inc") == 1
    return actor


@pytest.mark.parametrize(
    ("end", "awake"), [*((end, True) for end in INPUT), ("well", False), ("loops", False), ("slow", False)]
)
async def test_an_actor_is_destroyed_whatever_it_does_in_its_end(host: TestHost, end: str, awake: bool) -> None:
    key = f"{end}-{awake}"
    actor = await made(host, key, end)
    if not awake:
        assert (await host.http.post(f"/actors/{actor}/sleep")).json() == {}
        lifecycle = (await host.snapshot(actor))["lifecycle"]
        assert (await host.http.get(f"/gateway/{actor}/health")).json()["lifecycle"] == lifecycle != "absent"
    with anyio.fail_after(6 if awake else 8):
        answer = await host.http.delete(f"/actors/{actor}", timeout=30)
    assert (answer.status_code, answer.json()) == (200, {})
    for path in (f"/actors/{actor}/status", f"/actors/{actor}/snapshot"):
        refused(await host.http.get(path), 404, "actor/not_found")
    refused(await host.try_call(actor, "inc"), 404, "actor/not_found")
    refused(await host.http.delete(f"/actors/{actor}"), 404, "actor/not_found")
    assert await host.node.placement.destroys.record_of(actor) is None
    again = await made(host, key)
    assert again != actor
    assert (await host.snapshot(again))["generation"] == 2


async def test_who_asks_while_it_ends_waits_for_the_same_end(host: TestHost) -> None:
    actor = await made(host, "slow", "slow")
    answers: list[int] = []

    async def delete() -> None:
        answers.append((await host.http.delete(f"/actors/{actor}")).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delete)
        with anyio.fail_after(5):
            while actor not in host.node.placement.destroys:
                await anyio.lowlevel.checkpoint()
        tasks.start_soon(delete)
        refused(await host.try_call(actor, "inc"), 404, "actor/not_found")
        assert (await host.http.get(f"/actors?actor_ids={actor}")).json()["actors"] == []
        assert answers == []
    assert answers == [200, 200]


async def test_a_client_whose_actor_ended_itself_polls_until_it_is_not_found(host: TestHost) -> None:
    async with Client(host.url) as client:
        actor = await client.get_or_create("mortal", ["itself"])
        assert await client.call(actor.actor_id, "end") == "the end"
        with anyio.fail_after(10):
            while (await host.http.get(f"/actors?actor_ids={actor.actor_id}")).json()["actors"]:
                await anyio.lowlevel.checkpoint()
        with pytest.raises(DormiceError, match="actor/not_found"):
            await client.call(actor.actor_id, "inc")
        # By its key it is another one, from the beginning.
        again = await client.get_or_create("mortal", ["itself"])
        assert await client.call(again.actor_id, "inc") == 1
        assert again.actor_id != actor.actor_id


async def test_a_session_of_one_that_ends_itself_ends_and_does_not_come_back(host: TestHost) -> None:
    async with Client(host.url) as client:
        actor = await client.get_or_create("mortal", ["session"])
        async with client.session(actor.actor_id) as session:
            await session.send("hello")
            assert await session.receive() == "hello"
            assert await client.call(actor.actor_id, "end") == "the end"
            with anyio.fail_after(10), pytest.raises(Exception) as ended:
                await session.receive()
    assert "actor.destroyed" in f"{ended.value!r} {getattr(ended.value, 'reason', '')}"


async def test_a_plain_socket_of_one_that_ends_itself_is_closed(host: TestHost) -> None:
    actor = await made(host, "socket")
    async with host.socket(actor) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        assert await host.call(actor, "end") == "the end"
        with anyio.fail_after(10), pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "actor.destroyed")


async def test_what_a_host_that_died_left_half_done_is_finished_at_its_next_start(
    new_module_dir: Callable[[], Path],
) -> None:
    data_dir = new_module_dir()
    async with start_host(data_dir) as host:
        await host.deploy("mortal", MORTAL)
        actor = await made(host, "left")
        await host.http.post(f"/actors/{actor}/sleep")
        assert await host.node.placement._storage.begin_destroy(actor) is not None
    async with start_host(data_dir) as host:
        assert list(await host.node.placement._storage.destroying(9)) == []
        refused(await host.http.delete(f"/actors/{actor}"), 404, "actor/not_found")
        metrics = (await host.http.get("/metrics")).text
        assert 'dormice_actors_destroyed_total{reason="restart"} 1' in metrics
        assert (await host.snapshot(await made(host, "left")))["generation"] == 2
