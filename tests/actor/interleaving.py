"""A driver of actors whose messages of one connection interleave: they begin in index order and settle in any.

Raw sockets never do that; this stands in for what a protocol of the host's own on a socket would post."""

from __future__ import annotations

from typing import Any

from host.actor.entries import Entry, Kind
from host.model.tunnel import SocketMessage
from host.placement.service import Placement

__all__ = ["WORKER", "Interleaving"]

# A message is how many ms its handler waits for something outside. What it did is in KV, with index and attempt.
WORKER = """
import { actor } from "isolate";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const note = async (c, key, value) => {
  const list = JSON.parse((await c.kv.get(key)) ?? "[]");
  list.push(value);
  await c.kv.put(key, JSON.stringify(list));
};
const work = async (c, name, ms, attempt) => {
  await note(c, "begun", [name, attempt]);
  if (ms) await later(ms);
  await note(c, "done", name);
};
export default actor({
  state: { n: 0 },
  onWebSocket(c, ws) {
    ws.onmessage = async (e) => {
      const name = ws.path === "/" ? e.rivetMessageIndex : `${ws.path}${e.rivetMessageIndex}`;
      await work(c, name, Number(e.data), e.attempt);
      ws.send(`${e.rivetMessageIndex}`);
    };
    ws.onclose = () => note(c, "done", "closed");
  },
  actions: {
    work(c, name, ms) { return work(c, name, ms, 1); },
    inc(c) { return ++c.state.n; },
    crash(c) { for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
    async read(c, key) { return JSON.parse((await c.kv.get(key)) ?? "[]"); },
  },
});
"""


class Interleaving:
    """The actor service, but for messages."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def post_message(self, message: SocketMessage) -> None:
        entry = Entry(Kind.MESSAGE, message, line=message.conn_id, serial=False)
        self._placement._post(message.actor_id, entry)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._placement, name)
