"""Disk faults: the nth operation of the storage fails, for n = 1, 2, 3 … until a run is not touched any more."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from websockets.exceptions import ConnectionClosed

from host.node import EXIT_STORAGE
from tests.actor.harness import CodeShelf, Harness, open_harness
from tests.crash.checker import Line
from tests.crash.client import Client
from tests.crash.disk import Disk
from tests.crash.outside import Outside
from tests.crash.writer import WRITER
from tests.end_to_end.host_process import host_process

pytestmark = pytest.mark.anyio

MOST_OPERATIONS = 600


class Story(Outside):
    """Each kind of commit and of read once, so that failing every single one of them stays affordable."""

    async def scenario(self) -> None:
        await self.open("a")
        await self.send("a", "all", "plain")
        await self.action("x", "plain")
        await self.ring("r", "plain")
        await self.send("a", "sleep")
        await self.send("a", "plain")
        await self.h.advance(120)


@pytest.mark.parametrize("failure", ["io", "full", "busy"])
async def test_no_operation_that_fails_costs_what_was_acknowledged(
    shelf: CodeShelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """The other two kinds take turns, because storage answers all three alike; an I/O error is tried everywhere."""
    step = 1 if failure == "io" else 3
    unknown = 0
    for nth in range(1, MOST_OPERATIONS, step):
        folder = tmp_path / str(nth)
        folder.mkdir()
        disk = Disk()
        outside, ended = await story(shelf, disk, folder, monkeypatch, nth, failure, late=bool(nth % 2))
        if disk.failed is None:
            assert outside.once.told == ["x", "r"]
            assert nth > 50
            break
        unknown += ended
        assert ended == (disk.failed == "COMMIT"), disk.failed
    else:
        raise AssertionError("every run was touched")
    # every third operation may meet few of the COMMITs
    assert unknown > (3 if step == 1 else 0)


async def story(
    shelf: CodeShelf, disk: Disk, folder: Path, patch: pytest.MonkeyPatch, nth: int, failure: str, *, late: bool
) -> tuple[Outside, bool]:
    """What the client saw, checked against what is on disk; and whether the process would have ended."""
    driver = disk.driver(folder, patch)
    await driver.open()
    try:
        async with open_harness(shelf, driver) as h:
            actor = await h.new(WRITER)
            disk.arm(nth, failure, late=late)
            outside = Story(h, actor)
            await until_fatal(h, outside)
            ended = bool(h.fatal)
            if not ended:
                disk.disarm()
                assert outside.broken() == [], (nth, disk.failed)
                everything_settled(outside)
                return outside, False
    finally:
        await driver.close()
    disk.disarm()
    again = disk.driver(folder, patch)
    await again.open()
    try:
        async with open_harness(shelf, again) as h:
            outside.read_frames()
            outside.h = h
            # The new host has none of the connections: the actor is told, and what is left of the alarms goes off.
            await h.placement.sweep_strays()
            await h.advance(120)
            told = {label: line.told for label, line in outside.lines.items()}
            assert outside.broken_as_told() == [], (nth, disk.failed, told)
            assert len(set(outside.closes())) == len(outside.closes())
    finally:
        await again.close()
    return outside, True


async def until_fatal(h: Harness, outside: Outside) -> None:
    """A process whose storage does not know what it committed ends at once: nobody is told anything after that."""
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await outside.scenario()
            tasks.cancel_scope.cancel()

        async def watch() -> None:
            while not h.fatal:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

        tasks.start_soon(run)
        tasks.start_soon(watch)


def everything_settled(outside: Outside) -> None:
    for label, socket in outside.sockets.items():
        assert socket.closed is None
        assert (socket.acked, socket.buffer) == (socket.last, {}), label
        assert [row.index for row in outside.rows() if row.source == label] == list(range(1, socket.last + 1))
    assert outside.h.count("dead_letters") == 0


async def test_an_error_in_commit_ends_the_process_which_says_so(new_data_dir: Callable[[], Path]) -> None:
    """A limit on the size of its files makes every further write to the log fail."""
    data_dir = new_data_dir()
    with anyio.fail_after(40):
        async with host_process(data_dir) as (host, tasks):
            await host.deploy("writer", WRITER.encode())
            client = Client(await host.actor("writer"))
            async with host.socket(client.actor_id, "a") as socket:
                client.lines["a"] = Line()
                await client.burst(socket, "a", "all", "plain")
                resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
                with pytest.raises(ConnectionClosed):
                    await client.burst(socket, "a", "plain")
                assert await host.exit_code() == EXIT_STORAGE == 70
            (said,) = [line for line in host.lines if line["level"] == "critical"]
            assert "ending the process" in said["event"]
            assert "COMMIT failed" in said["error"]
            await host.start(tasks)
            assert await client.broken(host) == []
            assert client.lines["a"].told == [1, 2]
