"""The actors that the benchmarks run."""

from __future__ import annotations

__all__ = ["ECHO"]

ECHO = b"""
import { actor } from "isolate";

export default actor({
  onWebSocket(c, websocket) {
    const put = websocket.url.includes("put");
    websocket.addEventListener("message", (event) => {
      if (put) {
        c.kv.put("last", event.data);
      }
      websocket.send(event.data);
    });
  },
  actions: {
    noop() {
      return 1;
    },
    echo(c, value) {
      return value;
    },
  },
});
"""
