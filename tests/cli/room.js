// A chat room as small as the demo's checks allow.
import { actor } from "rivetkit";

const sockets = new Set();

export default actor({
  actions: {
    history: async (c) => (await c.kv.list("m/")).map(([, value]) => JSON.parse(value)),
    triggerSleep: (c) => c.sleep(),
  },
  onWebSocket(c, socket) {
    sockets.add(socket);
    const from = socket.path.split("/").pop();
    socket.addEventListener("open", async () => {
      const history = (await c.kv.list("m/")).map(([, value]) => JSON.parse(value));
      socket.send(JSON.stringify({ type: "welcome", history }));
    });
    socket.addEventListener("message", async (event) => {
      const message = { from, text: event.data, index: event.rivetMessageIndex };
      const count = (await c.kv.list("m/")).length;
      await c.kv.put("m/" + String(count).padStart(8, "0"), JSON.stringify(message));
      for (const each of sockets) each.send(JSON.stringify(message));
    });
    socket.addEventListener("close", () => sockets.delete(socket));
  },
});
