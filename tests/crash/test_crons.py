"""Crons on a real host that is killed: a run that was committed is not made again, one that was not is."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from host.model.failpoints import FailPoint
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process

pytestmark = pytest.mark.anyio

INTERVAL = 5_000
GUEST = b"""
import { actor } from "isolate";
export default actor({
  state: { ran: [] },
  actions: {
    begin: (c) => c.cron.every({ name: "tick", interval: 5000, action: "tick" }),
    async tick(c, fire) {
      c.state.ran.push([fire.scheduledAt, fire.attempt]);
      await c.kv.put("last", `${fire.scheduledAt}`);
    },
    async look(c) {
      const history = await c.cron.history("tick");
      return { ran: c.state.ran, last: await c.kv.get("last"), history, job: await c.cron.get("tick") };
    },
  },
});
"""


async def until_ran(host: TestHost, actor: str) -> Any:
    while not (found := await host.call(actor, "look"))["history"]:
        await anyio.lowlevel.checkpoint()
    return found


# The commits before it are those of the start and of the action that sets the cron.
@pytest.mark.parametrize(
    ("point", "nth", "took_effect"),
    [
        (FailPoint.CALL_KV_PUT, 1, False),
        (FailPoint.BEFORE_COMMIT, 3, False),
        (FailPoint.AFTER_COMMIT, 3, True),
    ],
)
async def test_a_run_takes_effect_once_whatever_is_killed(
    new_module_dir: Callable[[], Path], point: FailPoint, nth: int, took_effect: bool
) -> None:
    data_dir = new_module_dir()
    with anyio.fail_after(60):
        async with host_process(data_dir, f"{point.value}:{nth}") as (host, _tasks):
            await host.deploy("ticker", GUEST)
            actor = await host.actor("ticker")
            await host.call(actor, "begin")
            ((name, first),) = [(cron["name"], cron["scheduled_at"]) for cron in (await snapshot(host, actor))["crons"]]
            assert name == "tick"
            assert await host.exit_code() == -signal.SIGKILL
        async with start_host(data_dir) as again:
            found = await until_ran(again, actor)
    # At its own time, in its first attempt, once: before the kill or after it.
    assert found["ran"][0] == [first, 1]
    assert [scheduled for scheduled, _ in found["ran"]] == sorted({scheduled for scheduled, _ in found["ran"]})
    late = found["history"][-1]
    assert (late["scheduledAt"], late["result"], late["attempt"]) == (first, "ok", 1)
    assert (late["firedAt"] - first < INTERVAL // 2) or not took_effect
    assert int(found["last"]) == found["ran"][-1][0]
    # The cadence is what it was.
    assert (found["job"]["nextRunAt"] - first) % INTERVAL == 0


async def snapshot(host: TestHost, actor: str) -> Any:
    try:
        return await host.snapshot(actor)
    except httpx.HTTPError as error:
        raise AssertionError("the host went before the cron ran") from error
