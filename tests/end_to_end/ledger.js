// An actor that writes down every message under its place in the order of arrival, and answers each with two frames.
import { actor } from "isolate";

const place = (n) => `m/${String(n).padStart(6, "0")}`;

export default actor({
  state: { handled: 0, opened: 0, closed: [] },
  onWebSocket(c, websocket) {
    websocket.addEventListener("open", () => {
      c.state.opened += 1;
    });
    websocket.addEventListener("message", (event) => {
      c.state.handled += 1;
      c.kv.put(place(c.state.handled), event.data);
      websocket.send(`${event.data} a`);
      websocket.send(`${event.data} b`);
    });
    websocket.addEventListener("close", (event) => {
      c.state.closed.push([event.code, event.reason, event.wasClean]);
    });
  },
  actions: {
    all(c) {
      return c.state;
    },
    async messages(c, after) {
      return (await c.kv.list("m/")).map(([, text]) => text);
    },
  },
});
