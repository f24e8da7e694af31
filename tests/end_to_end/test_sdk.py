"""The JavaScript SDK on a real host: connections of every kind, schemas, tracked state over a sleep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

PATIENCE = 60

SOURCE = b"""
import { actor, event, setup, UserError } from "rivetkit";
const room = actor({
  state: { log: [], seen: new Map(), told: 0 },
  onBeforeConnect(c, params) {
    c.state.log.push(["before", params ?? null]);
    if (params?.name === "mallory") throw new UserError("not you", { code: "banned" });
  },
  createConnState: (c, params) => ({ name: params?.name ?? "?", said: [] }),
  onConnect(c, conn) { c.state.log.push(["+", conn.state.name, c.conns.size]); conn.send("welcome", conn.state.name); },
  onDisconnect(c, conn) { c.state.log.push(["-", conn.state.name, conn.state.said.length]); },
  onStateChange(c) { c.vars.changes++; },
  vars: { changes: 0 },
  events: { news: event(), secret: event({ canSubscribe: (c) => c.conn.state.name === "ann" }) },
  actions: {
    say(c, text) { c.conn.state.said.push(text); c.broadcast("news", text); return c.conn.state.said.length; },
    count(c, key) { c.state.seen.set(key, (c.state.seen.get(key) ?? 0) + 1); return c.state.seen.get(key); },
    twice: (c, n) => n, log: (c) => c.state.log, changes: (c) => c.vars.changes, sleep: (c) => c.sleep(),
    async durable(c) {
      c.state.told = 1;
      await c.saveState({ immediate: true });
      return ++c.state.told;
    },
    timers() { for (let i = 0; i < 2000; i++) clearTimeout(setTimeout(() => {}, 60000)); },
  },
  actionInputSchemas: {
    twice: { parse([n]) { if (typeof n !== "number") throw new Error("a number"); return [2 * n]; } },
  },
  onRequest: (c, request) => Response.json([c.conn.params ?? null, c.conn.state.name, new URL(request.url).pathname]),
  onWebSocket(c, ws) {
    ws.onmessage = (e) => { ws.state.said.push(e.data); ws.send(`${c.conn.state.name} ${ws.state.said.length}`); };
  },
});
const other = actor({ actions: { who: () => "other" } });
export const registry = setup({ use: { room, other } });
registry.start();
"""


def params(**given: Any) -> dict[str, str]:
    return {"x-rivet-conn-params": json.dumps(given)}


async def deployed(host: TestHost) -> str:
    await host.deploy("room", SOURCE)
    return await host.actor("room")


async def test_http_calls_and_raw_sockets_are_connections(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(PATIENCE):
        async with start_host(new_data_dir()) as host:
            actor = await deployed(host)
            base = f"/gateway/{actor}"
            answer = await host.http.post(f"{base}/action/say", json={"args": ["hi"]}, headers=params(name="joe"))
            assert answer.json() == {"output": 1}
            answer = await host.http.get(f"{base}/request/path", headers=params(name="ann"))
            assert answer.json() == [{"name": "ann"}, "ann", "/path"]
            answer = await host.http.get(f"{base}/request/path", headers=params(name="mallory"))
            assert (answer.status_code, answer.json()["code"]) == (400, "banned")
            async with host.socket(actor, additional_headers=params(name="bob")) as socket:
                await socket.send("one")
                assert await socket.recv() == "bob 1"
                assert (await host.http.post(f"/actors/{actor}/sleep")).status_code < 300
                await host.until_asleep(actor)
                await socket.send("two")
                assert await socket.recv() == "bob 2"
            rows = [row for row in await host.call(actor, "log") if row[0] != "before"]
            while rows[-1][1] != "bob" or rows[-1][0] != "-":
                rows = [row for row in await host.call(actor, "log") if row[0] != "before" and row[1] != "?"]
            assert rows == [
                ["+", "joe", 1], ["-", "joe", 1], ["+", "ann", 1], ["-", "ann", 0], ["+", "bob", 1], ["-", "bob", 2],
            ]  # fmt: skip


async def test_schemas_state_and_timers(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(PATIENCE):
        async with start_host(new_data_dir()) as host:
            actor = await deployed(host)
            assert await host.call(actor, "twice", 4) == 8
            answer = await host.try_call(actor, "twice", "x")
            assert answer.status_code == 400
            assert (answer.json()["group"], answer.json()["code"]) == ("actor", "validation_error")
            assert answer.json()["metadata"]["issues"][0]["message"] == "Error: a number"
            before = await host.call(actor, "changes")
            assert [await host.call(actor, "count", "k") for _ in range(2)] == [1, 2]
            assert await host.call(actor, "changes") > before
            assert await host.call(actor, "durable") == 2
            for _ in range(2):
                await host.call(actor, "timers")
            assert (await host.http.post(f"/actors/{actor}/sleep")).status_code < 300
            await host.until_asleep(actor)
            assert await host.call(actor, "count", "k") == 3


async def test_a_module_of_several_actors_is_each_under_its_name_only(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(PATIENCE):
        async with start_host(new_data_dir()) as host:
            digest = await host.deploy("other", SOURCE)
            assert await host.call(await host.actor("other"), "who") == "other"
            refused = await host.http.put("/definitions/attic", json={"module": digest})
            assert (refused.status_code, refused.json()["code"]) == (400, "unknown_name")
            missing = await host.http.put("/actors", json={"name": "attic", "key": "k"})
            assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
