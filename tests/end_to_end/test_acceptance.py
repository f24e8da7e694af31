"""The main job, over real HTTP and a real WebSocket client: an actor from a URL, and a socket that survives sleep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host import start_host
from tests.web import serve_bytes

pytestmark = pytest.mark.anyio

SCENARIO = (Path(__file__).parent / "scenario.js").read_bytes()


async def test_an_actor_from_a_url_keeps_its_socket_its_state_and_its_indexes_through_sleep(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(30):
        async with start_host(new_data_dir()) as host, serve_bytes(SCENARIO, "text/javascript") as url:
            sha = hashlib.sha256(SCENARIO).hexdigest()
            answer = await host.http.put("/definitions/scenario", json={"url": url, "sha256": sha})
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"name": "scenario", "version": 1, "module": f"sha256:{sha}", "percent": 100}
            actor = await host.actor("scenario", "room")

            assert await host.call(actor, "increment", 5) == 5
            assert await host.call(actor, "increment", 2) == 7
            await host.call(actor, "putText", "a/1", "one")
            await host.call(actor, "putText", "a/2", "zwei ✓")
            await host.call(actor, "putText", "b/1", "other")
            assert await host.call(actor, "getText", "a/2") == "zwei ✓"
            assert await host.call(actor, "listText", "a/") == [["a/1", "one"], ["a/2", "zwei ✓"]]
            assert await host.call(actor, "getState") == {"count": 7, "wake": 1, "sleep": 0, "alarm": 0}

            async with host.socket(actor) as socket:
                assert await socket.recv() == "welcome"
                await socket.send("ping")
                assert await socket.recv() == "pong"
                await socket.send("stats")
                assert json.loads(await socket.recv())["index"] == 2

                await host.call(actor, "triggerSleep")
                asleep = await host.until_asleep(actor)
                assert [row["msg_index"] for row in asleep["connections"]] == [2]

                for text in ("one", "two", "three"):
                    await socket.send(text)
                got = [json.loads(await socket.recv()) for _ in range(3)]
                assert got == [
                    {"index": 3, "text": "one"},
                    {"index": 4, "text": "two"},
                    {"index": 5, "text": "three"},
                ]
                await socket.send("stats")
                stats = json.loads(await socket.recv())
                assert stats == {"index": 6, "count": 7, "wake": 2, "sleep": 1, "alarm": 0}

                await host.call(actor, "scheduleAlarm", 150)
                await host.call(actor, "triggerSleep")
                asleep = await host.until_asleep(actor)
                assert len(asleep["alarms"]) == 1
                with anyio.fail_after(10):
                    while (await host.snapshot(actor))["alarms"]:
                        await anyio.lowlevel.checkpoint()
                assert await host.call(actor, "getState") == {"count": 7, "wake": 3, "sleep": 2, "alarm": 1}
                await socket.send("ping")
                assert await socket.recv() == "pong"
                snapshot = await host.snapshot(actor)
                assert [row["msg_index"] for row in snapshot["connections"]] == [7]
