"""Many sockets on many actors that fall asleep at any moment: nothing is lost, doubled, reordered or misnumbered."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

SOCKETS = (Path(__file__).parent / "sockets.js").read_bytes()
ACTORS, EACH, MESSAGES, IN_FLIGHT = 16, 2, 200, 8


async def talk(socket: ClientConnection, name: str, own: random.Random) -> None:
    """Keeps up to 8 messages in flight; every answer has to be that of the next message, with its index."""
    sent = got = 0
    while got < MESSAGES:
        for _ in range(own.randint(1, IN_FLIGHT - (sent - got)) if sent - got < IN_FLIGHT else 0):
            if sent < MESSAGES:
                sent += 1
                await socket.send(f"{name}/{sent}")
        got += 1
        assert await socket.recv() == f"{got} {name}/{got}"
    await socket.send("end")
    assert await socket.recv() == f"{MESSAGES + 1} end"


async def put_to_sleep(host: TestHost, actors: list[str], own: random.Random, over: anyio.Event) -> int:
    """Puts one actor after another to sleep while messages are under way; how many it were."""
    count = 0
    while not over.is_set():
        await host.http.post(f"/actors/{own.choice(actors)}/sleep")
        count += 1
    return count


async def test_every_message_is_echoed_once_and_in_order_while_actors_fall_asleep(
    new_data_dir: Callable[[], Path],
) -> None:
    own = random.Random(6420)
    over = anyio.Event()
    slept: list[int] = []
    with anyio.fail_after(25):
        async with start_host(new_data_dir()) as host, anyio.create_task_group() as tasks:
            await host.deploy("sockets", SOCKETS)
            actors = [await host.actor("sockets", f"{number}") for number in range(ACTORS)]

            async def sleeper() -> None:
                slept.append(await put_to_sleep(host, actors, own, over))

            async def client(actor: str, name: str) -> None:
                async with host.socket(actor, "numbered") as socket:
                    await talk(socket, name, random.Random(name))

            tasks.start_soon(sleeper)
            async with anyio.create_task_group() as clients:
                for number, actor in enumerate(actors):
                    for each in range(EACH):
                        clients.start_soon(client, actor, f"{number}.{each}")
            over.set()
        assert slept[0] >= 10
