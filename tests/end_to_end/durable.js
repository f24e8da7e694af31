// An actor that writes down all that happens to it, so that a test can read it after a crash.
import { actor } from "isolate";

const place = (index) => `m/${String(index).padStart(6, "0")}`;

export default actor({
  state: { count: 0, wakes: 0, sleeps: 0, rang: [], opened: 0, closed: [] },
  onWake(c) {
    c.state.wakes += 1;
  },
  onSleep(c) {
    c.state.sleeps += 1;
  },
  onWebSocket(c, websocket) {
    websocket.addEventListener("open", () => {
      c.state.opened += 1;
    });
    websocket.addEventListener("message", (event) => {
      c.kv.put(place(event.rivetMessageIndex), event.data);
      websocket.send(String(event.rivetMessageIndex));
    });
    websocket.addEventListener("close", (event) => {
      c.state.closed.push([event.code, event.reason, event.wasClean]);
    });
  },
  actions: {
    add(c, n) {
      c.state.count += n;
      return c.state.count;
    },
    all(c) {
      return c.state;
    },
    async put(c, key, text) {
      await c.kv.put(key, text);
    },
    async get(c, key) {
      return await c.kv.get(key);
    },
    async messages(c) {
      return await c.kv.list("m/");
    },
    async ringAfter(c, ms, name) {
      await c.schedule.after(ms, "ring", name);
    },
    ring(c, name) {
      c.state.rang.push(name);
    },
  },
});
