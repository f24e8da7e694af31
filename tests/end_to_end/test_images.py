"""Deployment images in a whole host: built after a deployment, used by what starts afterwards, kept over a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

# Honest builds are behind everything else, and the machine may be busy.
PATIENCE = 120

COUNTER = b"""
import { actor } from "rivetkit";
let here = 0;
const born = Math.random();
export default actor({
  state: { n: 0 },
  actions: { add: (c) => [++c.state.n, ++here, born], own: () => Math.random() },
});
"""


def images(host: TestHost, reason: str) -> int:
    return host.node.metrics.counter("deployment_images", reason)


async def test_actors_before_and_after_the_image_and_after_a_restart(new_data_dir: Callable[[], Path]) -> None:
    data_dir = new_data_dir()
    with anyio.fail_after(PATIENCE):
        async with start_host(data_dir, images=True) as host:
            await host.deploy("counter", COUNTER)
            early = await host.actor("counter", "early")
            first = await host.call(early, "add")
            await host.node.modules.images.idle()
            assert (images(host, "built"), images(host, "used")) == (1, 0)
            late = await host.actor("counter", "late")
            second = await host.call(late, "add")
            assert images(host, "used") == 1
            assert first == second
            assert await host.call(early, "own") != await host.call(late, "own")
            assert (await host.http.post(f"/actors/{early}/sleep")).status_code < 300
            await host.until_asleep(early)
            assert await host.call(early, "add") == [2, 1, first[2]]
            assert images(host, "used") == 2
        async with start_host(data_dir, images=True) as host:
            assert await host.call(late, "add") == [2, 1, first[2]]
            assert (images(host, "loaded"), images(host, "built"), images(host, "used")) == (1, 0, 1)


async def test_a_host_stops_in_the_middle_of_a_build(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(PATIENCE):
        async with start_host(new_data_dir(), images=True) as host:
            await host.deploy("counter", COUNTER)
            jail = host.node.modules.jail
        assert jail.zygote_pid is None


async def test_without_images_every_start_loads_the_module(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(PATIENCE):
        async with start_host(new_data_dir()) as host:
            await host.deploy("counter", COUNTER)
            assert (await host.call(await host.actor("counter"), "add"))[:2] == [1, 1]
            assert host.node.metrics.counter("deployment_images") == 0
