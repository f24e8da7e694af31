"""A module in versions, each of which tells which it is and what has happened; hooks do what a test says."""

from __future__ import annotations

from host.model.definitions import Definition, DefinitionOptions
from tests.actor.harness import TENANT, Harness

__all__ = ["BROKEN", "deploy", "status_of"]

SOURCE = """
import { actor } from "isolate";
export default actor({
  state: { n: 0, log: [] },
  onCreate(c) { %(create)s },
  async onUpgrade(c, from) { %(upgrade)s; c.state.log.push(`${from} to %(version)s`); },
  async onWake(c) { %(wake)s; c.state.log.push("wake %(version)s"); },
  async onSleep(c) { c.state.log.push("sleep %(version)s"); %(sleep)s },
  onWebSocket(c, ws) {
    ws.onmessage = (e) => {
      c.state.n += 1;
      ws.send(`%(version)s ${e.data} ${e.rivetMessageIndex}`);
    };
  },
  async onAlarm(c) { c.state.log.push("alarm %(version)s"); },
  actions: {
    version(c) { return %(version)s; },
    log(c) { return c.state.log; },
    inc(c) { return c.state.n += 1; },
    put(c, key, value) { return c.kv.put(key, value); },
    soon(c, ms) { return c.alarms.set("x", { after: ms, payload: null }); },
    crash(c) { for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
    async wait(c, ms) { await new Promise((done) => setTimeout(done, ms)); return c.state.n; },
  },
});
"""
BROKEN = 'throw new Error("broken")'


async def deploy(
    h: Harness, version: int, *, percent: int = 100, hibernate: bool | None = None, **hooks: str
) -> Definition:
    """The next version of the definition `a`; `version` is what it calls itself."""
    code = {"create": "", "upgrade": "", "wake": "", "sleep": "", **hooks, "version": str(version)}
    digest = h.shelf.put(SOURCE % code)
    options = DefinitionOptions(hibernate=hibernate)
    return await h.storage.driver.put_definition(
        TENANT, "a", digest, options, {"host_calls": 64}, h.clock.now_ms(), percent=percent
    )


async def status_of(h: Harness, version: int) -> tuple[str, str | None]:
    found = await h.storage.driver.get_definition(TENANT, "a", version)
    assert found is not None
    return found.status, found.reason
