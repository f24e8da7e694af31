// Echoes frames as they are; below /numbered with their index in front. Remembers how its sockets ended.
import { actor } from "isolate";

const open = new Map();

export default actor({
  state: { created: 0, wakes: 0, opened: [], closed: [] },
  async onCreate(c) {
    c.state.created += 1;
    if (c.key[0] === "slow") await new Promise((resolve) => setTimeout(resolve, 250));
    if (c.key[0] === "broken") throw new Error("secret of the start");
  },
  onWake(c) {
    c.state.wakes += 1;
  },
  onWebSocket(c, websocket) {
    const numbered = websocket.path.startsWith("/numbered");
    open.set(websocket.id, websocket);
    if (websocket.path.startsWith("/refuses")) throw new Error("secret of the open");
    websocket.addEventListener("open", () => {
      c.state.opened.push(websocket.path);
      if (websocket.path.startsWith("/greet")) websocket.send("welcome");
    });
    websocket.addEventListener("message", (event) => {
      const close = /^close (\d+) (.*)$/.exec(event.data);
      if (close) {
        websocket.send("last words");
        websocket.close(Number(close[1]), close[2]);
      } else {
        websocket.send(numbered ? `${event.rivetMessageIndex} ${event.data}` : event.data);
      }
    });
    websocket.addEventListener("close", (event) => {
      open.delete(websocket.id);
      c.state.closed.push([event.code, event.reason, event.wasClean]);
    });
  },
  actions: {
    all(c) {
      return { ...c.state, sockets: open.size };
    },
    broadcast(c, text) {
      for (const websocket of open.values()) websocket.send(text);
      return open.size;
    },
  },
});
