"""A client of a /connect connection, on a gateway without a network: what it asks for, and what it is told."""

from __future__ import annotations

from typing import Any

import msgspec

from host.model.tunnel import ActionRequest, SocketProtocol, Subscription
from host.wire.frames.to_client import ActionResponse, ErrorFrame, EventFrame, Init, decode_to_client
from host.wire.values import from_python, to_python
from tests.actor.fake_gateway import Socket
from tests.actor.harness import Harness

__all__ = ["ROOM", "Talk", "connected"]

# An action is how many ms it waits for something outside, before it does what it is there for.
ROOM = """
import { actor, event, UserError } from "rivetkit";
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const note = (c, what) => { c.state.log.push(what); };
export default actor({
  state: { n: 0, log: [] },
  events: { secret: event({ canSubscribe: async (c) => {
    note(c, `asked ${c.conn.state.who}`);
    if (c.conn.state.who === "slow") await later(1000);
    return c.conn.state.who !== "nobody";
  } }) },
  onBeforeConnect(c, params) { if (params?.deny) throw new UserError("not you", { code: "denied" }); },
  async createConnState(c, params) {
    if (params?.wait) await later(params.wait);
    return { who: params?.who ?? "nobody" };
  },
  // A call over HTTP has a connection too, while it is in work.
  onConnect(c, conn) { if (conn.isHibernatable) conn.send("hello", conn.state.who); },
  onDisconnect(c, conn) { if (conn.isHibernatable) note(c, `gone ${conn.state.who}`); },
  onWake(c) { note(c, "wake"); },
  actions: {
    inc(c, by = 1) { return (c.state.n += by); },
    async work(c, name, ms) {
      note(c, `begun ${name}`);
      if (ms) await later(ms);
      note(c, `done ${name}`);
      return name;
    },
    async quiet(c, ms) { await later(ms); return "quiet"; },
    who(c) { return [c.conn.id, c.conn.state.who]; },
    rename(c, who) { c.conn.state = { who }; },
    say(c, ...what) { c.broadcast("said", ...what); },
    tell(c) { c.broadcast("secret", 1); },
    all(c) { return [...c.conns.values()].map((conn) => conn.state.who).sort(); },
    leave(c) { c.conn.disconnect("bye"); return "left"; },
    fail(c) { c.state.n += 1; throw new UserError("not today", { code: "closed", metadata: { until: 5 } }); },
    crash(c) { note(c, "crashed"); for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {}); },
    end(c) { c.destroy(); return "ended"; },
    read(c) { return c.state.log; },
  },
});
"""
LIMITS = {"host_calls": 64}


class Talk:
    """`answers` maps the id of a call to its result, or to the name of its error."""

    def __init__(self, h: Harness, actor: str, socket: Socket) -> None:
        self.h = h
        self.actor = actor
        self.socket = socket
        self.last = 0

    def call(self, name: str, *args: Any) -> int:
        self.last += 1
        self.socket.send(ActionRequest(self.last, name, from_python(list(args))))
        return self.last

    def subscribe(self, event: str, on: bool = True) -> None:
        self.socket.send(Subscription(event, on))

    async def ask(self, name: str, *args: Any) -> Any:
        """Its result, or the name of its error."""
        number = self.call(name, *args)
        await self.h.gateway.until(lambda: number in self.answers or self.socket.closed is not None)
        return self.answers[number]

    @property
    def frames(self) -> list[Init | ErrorFrame | ActionResponse | EventFrame]:
        protocol = self.socket.opened.protocol
        assert protocol
        return [decode_to_client(protocol, frame) for frame in self.socket.frames]

    @property
    def answers(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for frame in self.frames:
            if isinstance(frame, ActionResponse):
                found[frame.id] = to_python(frame.output)
            elif isinstance(frame, ErrorFrame) and frame.action_id is not None:
                found[frame.action_id] = frame.error.name
        return found

    @property
    def events(self) -> list[tuple[str, Any]]:
        return [(frame.name, to_python(frame.args)) for frame in self.frames if isinstance(frame, EventFrame)]

    @property
    def errors(self) -> list[str]:
        """Of the connection, not of its calls."""
        found = [frame for frame in self.frames if isinstance(frame, ErrorFrame)]
        return [frame.error.name for frame in found if frame.action_id is None]

    async def row(self) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
        """(msg_index, settled_ahead, subscriptions) on disk."""
        (found,) = [row for row in (await self.h.image(self.actor)).connections if row.conn_id == self.socket.conn]
        return found.msg_index, found.settled_ahead, found.subscriptions


async def connected(
    h: Harness, actor: str, params: Any = None, *, protocol: SocketProtocol = "json", session: bytes | None = None
) -> Talk:
    """A connection whose open has settled, whichever way."""
    raw = None if params is None else msgspec.json.encode(params)
    return Talk(h, actor, await h.open(actor, params=raw, protocol=protocol, session=session))
