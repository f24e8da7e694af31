"""Real clients that all come at once to an actor that sleeps: it wakes once, and every one of them is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host import start_host

pytestmark = pytest.mark.anyio

CLIENTS = 200
GUEST = b"""
import { actor } from "isolate";
export default actor({
  state: { wakes: 0, n: 0 },
  onWake(c) { c.state.wakes += 1; },
  onWebSocket(c, ws) {
    ws.onmessage = (e) => { c.state.n += 1; ws.send(`${e.rivetMessageIndex} ${e.data}`); };
  },
  onRequest(c) { c.state.n += 1; return new Response("served"); },
  actions: { add(c) { c.state.n += 1; return c.state.wakes; }, all(c) { return c.state; } },
});
"""


async def test_two_hundred_clients_that_hit_a_sleeping_actor_make_one_wake(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(25):
        async with start_host(new_data_dir()) as host:
            await host.deploy("room", GUEST)
            actor = await host.actor("room")
            async with host.socket(actor) as waiting:
                await waiting.send("before")
                assert await waiting.recv() == "1 before"
                assert (await host.http.post(f"/actors/{actor}/sleep")).status_code == 200
                before = await host.until_asleep(actor)
                served: list[str] = []

                async def call() -> None:
                    assert await host.call(actor, "add") == 2
                    served.append("call")

                async def request() -> None:
                    answer = await host.http.get(f"/gateway/{actor}/request/")
                    assert (answer.status_code, answer.text) == (200, "served")
                    served.append("request")

                async def socket(number: int) -> None:
                    async with host.socket(actor, f"{number}") as client:
                        await client.send(f"from {number}")
                        assert await client.recv() == f"1 from {number}"
                        served.append("socket")

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(waiting.send, "after")
                    for number in range(CLIENTS // 4):
                        tasks.start_soon(call)
                        tasks.start_soon(request)
                        tasks.start_soon(socket, 2 * number)
                        tasks.start_soon(socket, 2 * number + 1)
                assert await waiting.recv() == "2 after"
                assert {kind: served.count(kind) for kind in served} == {
                    "call": CLIENTS // 4,
                    "request": CLIENTS // 4,
                    "socket": CLIENTS // 2,
                }
                assert await host.call(actor, "all") == {"wakes": 2, "n": CLIENTS + 2}
                assert (await host.snapshot(actor))["epoch"] == before["epoch"] + 1
