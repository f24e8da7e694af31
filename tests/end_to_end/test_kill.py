"""A host process that dies, and the one that comes after it on the same data directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.answers import refused
from tests.end_to_end.host import TestHost
from tests.end_to_end.host_process import HostProcess, host_process

pytestmark = pytest.mark.anyio

DURABLE = (Path(__file__).parent / "durable.js").read_bytes()


async def until(host: TestHost, actor: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Asks for the snapshot, which wakes nobody, until it is as wanted."""
    with anyio.fail_after(10):
        while not what(found := await host.snapshot(actor)):
            await anyio.lowlevel.checkpoint()
    return found


async def send_until_closed(socket: ClientConnection, answered: list[int], enough: anyio.Event) -> None:
    """Keeps 32 messages in flight; collects the indexes that the answers acknowledge, until the connection is gone."""
    sent = 0
    try:
        while True:
            while sent < len(answered) + 32:
                sent += 1
                await socket.send(f"message {sent}")
            answered.append(int(await socket.recv()))
            if len(answered) == 200:
                enough.set()
    except ConnectionClosed:
        return


async def test_what_was_answered_before_a_kill_is_there_after_it(new_data_dir: Callable[[], Path]) -> None:
    """State, KV, alarms, every acknowledged message; the connections that are gone become one close event each."""
    answered: list[int] = []
    with anyio.fail_after(40):
        async with host_process(new_data_dir()) as (host, tasks):
            await host.deploy("durable", DURABLE)
            actor, gone = await host.actor("durable", "kept"), await host.actor("durable", "gone")
            await host.call(gone, "add", 1)
            await host.call(actor, "ringAfter", 3_600_000, "later")
            await host.call(actor, "put", "note", "wörtlich ✓")
            async with host.socket(actor) as socket, host.socket(actor) as idle:
                assert (await host.http.delete(f"/actors/{gone}")).status_code == 200
                enough = anyio.Event()
                tasks.start_soon(send_until_closed, socket, answered, enough)
                await enough.wait()
                await host.call(actor, "ringAfter", 400, "while down")
                assert await host.call(actor, "add", 41) == 41
                due = min(row["due_at"] for row in (await host.snapshot(actor))["alarms"])
                await host.kill()
                with pytest.raises(ConnectionClosed):
                    await idle.recv()
            # the alarm comes due while nobody is there to see it
            while time.time() <= due / 1_000:
                await anyio.lowlevel.checkpoint()

            await host.start(tasks)
            # both by themselves, without anyone who calls the actor
            found = await until(host, actor, lambda found: len(found["alarms"]) == 1 and not found["connections"])
            assert found["epoch"] == 2
            state = await host.call(actor, "all")
            assert state["count"] == 41
            assert state["rang"] == ["while down"]
            assert state["opened"] == 2
            assert state["closed"] == [[1006, "ws.stale_metadata", False]] * 2
            assert await host.call(actor, "get", "note") == "wörtlich ✓"
            kept = await host.call(actor, "messages")
            assert answered == list(range(1, len(answered) + 1))
            assert len(kept) >= len(answered) >= 200
            assert kept == [[f"m/{n:06}", f"message {n}"] for n in range(1, len(kept) + 1)]

            refused(await host.try_call(gone, "add", 1), 404, "actor/not_found")
            refused(await host.http.get(f"/actors/{gone}/snapshot"), 404, "actor/not_found")
            again = await host.actor("durable", "gone")
            assert again != gone
            assert await host.call(again, "add", 1) == 1
            assert (await host.snapshot(again))["generation"] == 2


async def test_a_signal_puts_actors_to_sleep_closes_sockets_and_ends_with_zero(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(40):
        async with host_process(new_data_dir()) as (host, tasks):
            await host.deploy("durable", DURABLE)
            actor = await host.actor("durable")
            await host.call(actor, "add", 5)
            async with host.socket(actor) as socket:
                await socket.send("before")
                assert await socket.recv() == "1"
                await second_host_is_refused(host)
                host.terminate()
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason.split("#")[0]) == (1012, "node.draining")
                assert await host.exit_code() == 0
            assert not [line for line in host.lines if line["level"] in ("error", "critical")]

            await host.start(tasks)
            await until(host, actor, lambda found: not found["connections"])
            state = await host.call(actor, "all")
            assert (state["count"], state["wakes"], state["sleeps"]) == (5, 2, 1)
            assert state["closed"] == [[1006, "ws.stale_metadata", False]]
            assert await host.call(actor, "messages") == [["m/000001", "before"]]


async def second_host_is_refused(host: HostProcess) -> None:
    """A data directory has one host at a time, and whoever is refused learns which process has it."""
    second = HostProcess(host.data_dir)
    async with anyio.create_task_group() as tasks:
        await second.spawn()
        tasks.start_soon(second.read_log)
        assert await second.exit_code() == 1
    assert f"process {host.pid} " in second.stderr
    assert "storage/unavailable" in second.stderr
    assert "Traceback" not in second.stderr
    assert (await host.http.get("/health")).json() == {"status": "up"}
