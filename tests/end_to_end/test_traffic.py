"""Some mebibytes from a real client through the whole host: all of it takes effect, and the gateway holds nothing of it
afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host import start_host

pytestmark = pytest.mark.anyio

MESSAGES, SIZE = 400, 16_384
GUEST = b"""
import { actor } from "isolate";
export default actor({
  state: { messages: 0, bytes: 0 },
  onWebSocket(c, ws) {
    ws.onmessage = (e) => {
      c.state.messages += 1;
      c.state.bytes += e.data.byteLength ?? e.data.length;
      if (e.data === "end") ws.send(`${e.rivetMessageIndex}`);
    };
  },
  actions: { all(c) { return c.state; } },
});
"""


async def test_megabytes_through_the_whole_host_leave_the_gateways_counters_at_zero(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(20):
        async with start_host(new_data_dir()) as host:
            await host.deploy("sink", GUEST)
            actor = await host.actor("sink")
            async with host.socket(actor) as client:
                for number in range(MESSAGES):
                    await client.send(bytes([number % 256]) * SIZE)
                await client.send("end")
                assert await client.recv() == f"{MESSAGES + 1}"
                (conn,) = host.node.sockets._held
                assert (conn.unacknowledged, conn.buffered, conn.queued, conn.after(0)) == (0, 0, 0, [])
                assert conn.next_index == MESSAGES + 2
                assert await host.call(actor, "all") == {"messages": MESSAGES + 1, "bytes": MESSAGES * SIZE + 3}
                (row,) = (await host.snapshot(actor))["connections"]
                assert (row["msg_index"], row["settled_ahead"]) == (MESSAGES + 1, [])
            while len(host.node.sockets):
                await anyio.lowlevel.checkpoint()
            assert host.node.metrics.gauge_value("connections") == 0
