// A chat room: WebSockets that stay open while the room sleeps, and a history in KV that outlives everything.
import { actor } from "isolate";

const HISTORY = 100;

// Who is here. Module variables live as long as the isolate: after a sleep this begins empty, and `onWebSocket` runs
// again for every socket that is still open.
const sockets = new Set();

// Keys are in byte order, so numbers in them have a fixed width.
const keyOf = (number) => `message/${String(number).padStart(12, "0")}`;

async function recent(c) {
  const newestFirst = await c.kv.list("message/", { reverse: true, limit: HISTORY });
  return newestFirst.reverse().map(([, value]) => JSON.parse(value));
}

export default actor({
  state: { messages: 0 },
  onWebSocket(c, socket) {
    const from = decodeURIComponent(new URL(socket.url).pathname.slice(1)) || "someone";
    sockets.add(socket);
    // Fires for a new connection only, not for one that was open before the room slept.
    socket.addEventListener("open", async () => {
      socket.send(JSON.stringify({ type: "welcome", history: await recent(c) }));
    });
    socket.addEventListener("message", async (event) => {
      if (typeof event.data !== "string") return;
      const message = JSON.stringify({ from, text: event.data, index: event.rivetMessageIndex });
      c.state.messages += 1;
      await c.kv.put(keyOf(c.state.messages), message);
      // These leave once the message is on disk.
      for (const each of sockets) each.send(message);
    });
    socket.addEventListener("close", () => sockets.delete(socket));
  },
  actions: {
    history(c) {
      return recent(c);
    },
    triggerSleep(c) {
      c.sleep();
    },
  },
});
