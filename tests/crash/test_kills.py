"""A host process that is killed at each fail point, the host after it, and the history of a client outside of both.

A traced run tells how often each point is passed; the kill falls in the middle of the run. Cells run side by side,
because most of their time is the start of a process; each test looks at the outcome of one.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from host.model.failpoints import FailPoint
from tests.actor.guests import scripted, settle
from tests.crash.cells import ALARM_POINTS, APART, real_kills
from tests.crash.checker import Line
from tests.crash.client import HOST_GONE, Client, marks_on_disk
from tests.crash.writer import WRITER
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process
from tests.modules.guests import with_manifest

pytestmark = pytest.mark.anyio

MESSAGE_POINTS = [point for point in real_kills() if point not in APART]
# Points that the action which sets an alarm passes in turn with the alarm itself: one kill in each.
SHARED = {FailPoint.BEFORE_TURN, FailPoint.BEFORE_COMMIT, FailPoint.AFTER_COMMIT, FailPoint.CALL_ALARM_SET}
SIDE_BY_SIDE = 3
CELL_SECONDS = 60

Scenario = Callable[[Client, TestHost], Any]
Cell = tuple[str, FailPoint, int]
Outcomes = dict[Cell, Exception | None]

SCENARIOS: dict[str, Scenario] = {"messages": Client.messages, "alarms": Client.alarms}
CELLS: list[Cell] = [
    *(("messages", point, 0) for point in MESSAGE_POINTS),
    *(("alarms", point, more) for point in ALARM_POINTS for more in ((0, 1) if point in SHARED else (0,))),
]


def name_of(cell: Cell) -> str:
    return f"{cell[0]}-{cell[1].value}{'-next' if cell[2] else ''}"


@pytest.fixture(scope="module")
async def outcomes(new_module_dir: Callable[[], Path]) -> Outcomes:
    """How each cell went: None, or why it failed."""
    hits = {name: await traced(new_module_dir(), scenario) for name, scenario in SCENARIOS.items()}
    found: Outcomes = {}
    slots = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def one(cell: Cell) -> None:
        name, point, more = cell
        async with slots:
            try:
                assert hits[name][point.value], f"{point.value} is never passed"
                with anyio.fail_after(CELL_SECONDS):
                    await killed_at(new_module_dir(), SCENARIOS[name], point, hits[name][point.value] // 2 + 1 + more)
                found[cell] = None
            except Exception as error:  # noqa: BLE001 - raised again by the test of this cell
                found[cell] = error

    async with anyio.create_task_group() as tasks:
        for cell in CELLS:
            tasks.start_soon(one, cell)
    return found


async def traced(data_dir: Path, scenario: Scenario) -> Counter[str]:
    """How often a run without a kill passes each point; and that nothing is wrong with it."""
    with anyio.fail_after(CELL_SECONDS):
        async with host_process(data_dir, "any:trace") as (host, _tasks):
            client = await deployed(host)
            await scenario(client, host)
            await host.kill()
            return Counter(line["point"] for line in host.lines if line["event"] == "fail point")


async def deployed(host: TestHost) -> Client:
    await host.deploy("writer", WRITER.encode())
    return Client(await host.actor("writer"))


async def killed_at(data_dir: Path, scenario: Scenario, point: FailPoint, nth: int) -> None:
    async with host_process(data_dir, f"{point.value}:{nth}") as (host, _tasks):
        client = await deployed(host)
        with pytest.raises(HOST_GONE):
            await scenario(client, host)
        assert await host.exit_code() == -signal.SIGKILL
        assert [line["point"] for line in host.lines if line["event"] == "fail point"] == [point.value]
    for label, mark in marks_on_disk(data_dir, client.actor_id).items():
        client.lines.setdefault(label, Line()).marks.append(mark)
    async with start_host(data_dir) as again:
        assert await client.broken(again) == []
        closes = [conn for conn, _ in await again.call(client.actor_id, "closes")]
        assert len(set(closes)) == len(closes)
        async with again.socket(client.actor_id, "c") as socket:
            client.lines["c"] = Line()
            await client.burst(socket, "c", "all", "plain")
        await client.action(again, "after", "all")
        assert await client.broken(again) == []


@pytest.mark.parametrize("cell", CELLS, ids=name_of)
def test_a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing(cell: Cell, outcomes: Outcomes) -> None:
    error = outcomes[cell]
    if error is not None:
        raise error


async def test_a_kill_at_the_call_that_only_wasm_makes(new_module_dir: Callable[[], Path]) -> None:
    later = {"call": "alarm_set", "alarm": "kept", "after": 3_600_000}
    guest = with_manifest(
        scripted(settle(1), settle(2, call=later), settle(3, call={"call": "now"})),
        b'{"abi":1,"codec":"json","capabilities":["alarm"]}',
    )
    data_dir = new_module_dir()
    with anyio.fail_after(CELL_SECONDS):
        async with host_process(data_dir, "call_now") as (host, _tasks):
            await host.deploy("clocked", guest, "application/wasm")
            actor = await host.actor("clocked")
            await host.call(actor, "first")
            with pytest.raises(HOST_GONE):
                await host.call(actor, "second")
            assert await host.exit_code() == -signal.SIGKILL
        async with start_host(data_dir) as again:
            assert [row["alarm"] for row in (await again.snapshot(actor))["alarms"]] == ["kept"]
            await again.call(actor, "once more")
            assert (await again.snapshot(actor))["epoch"] == 2


ENDED = b"""
import { actor } from "isolate";
export default actor({
  state: { n: 0 },
  actions: { add(c) { return ++c.state.n; }, end(c) { c.state.n += 100; c.destroy(); return "the end"; } },
});
"""


async def test_a_kill_at_the_call_that_ends_an_actor_leaves_it_as_it_was(new_module_dir: Callable[[], Path]) -> None:
    data_dir = new_module_dir()
    with anyio.fail_after(CELL_SECONDS):
        async with host_process(data_dir, "call_destroy") as (host, _tasks):
            await host.deploy("ended", ENDED)
            actor = await host.actor("ended")
            assert await host.call(actor, "add") == 1
            with pytest.raises(HOST_GONE):
                await host.call(actor, "end")
            assert await host.exit_code() == -signal.SIGKILL
        async with start_host(data_dir) as again:
            assert await again.call(actor, "add") == 2
            assert await again.call(actor, "end") == "the end"
            await again.node.placement.destroys.drain()
            assert (await again.try_call(actor, "add")).status_code == 404
            assert await again.call(await again.actor("ended"), "add") == 1
