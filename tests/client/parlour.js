// An actor with everything that a connection can do, for the client's tests on a real host.
import { actor, UserError } from "rivetkit";

export default actor({
  state: { calls: 0, opened: 0, closed: 0 },
  createConnState: (c, params) => ({ name: params?.name ?? "nobody" }),
  onBeforeConnect(c, params) {
    if (params?.name === "mallory") throw new UserError("Not you", { code: "unwelcome", metadata: { who: "mallory" } });
  },
  onConnect(c, conn) {
    c.state.opened += 1;
    conn.send("welcome", conn.state.name, c.state.opened);
  },
  onDisconnect(c) {
    c.state.closed += 1;
  },
  actions: {
    count: (c, by = 1) => (c.state.calls += by),
    counts: (c) => ({ ...c.state }),
    echo: (c, ...args) => args,
    whoami: (c) => c.conn?.state.name,
    say(c, text) {
      c.broadcast("said", c.conn?.state.name, text);
    },
    later: (c, ms, value) => new Promise((done) => setTimeout(() => done(value), ms)),
    refuse() {
      throw new UserError("The room is full", { code: "full", metadata: { max: 8 } });
    },
    oops() {
      throw new Error("a secret");
    },
    sleep: (c) => c.sleep(),
    destroy: (c) => c.destroy(),
  },
  async onRequest(c, request) {
    return new Response(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`, { status: 201 });
  },
  onWebSocket(c, socket) {
    socket.addEventListener("message", (event) => socket.send(event.data));
  },
});
