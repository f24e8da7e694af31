// The actor of the acceptance scenario.
import { actor } from "isolate";

export default actor({
  state: { count: 0, wake: 0, sleep: 0, alarm: 0 },
  onWake(c) {
    c.state.wake += 1;
  },
  onSleep(c) {
    c.state.sleep += 1;
  },
  onWebSocket(c, websocket) {
    websocket.addEventListener("open", () => websocket.send("welcome"));
    websocket.addEventListener("message", (event) => {
      if (event.data === "ping") {
        websocket.send("pong");
      } else if (event.data === "stats") {
        websocket.send(JSON.stringify({ index: event.rivetMessageIndex, ...c.state }));
      } else {
        websocket.send(JSON.stringify({ index: event.rivetMessageIndex, text: event.data }));
      }
    });
  },
  actions: {
    increment(c, n) {
      c.state.count += n;
      return c.state.count;
    },
    getState(c) {
      return c.state;
    },
    async putText(c, key, text) {
      await c.kv.put(key, text);
    },
    async getText(c, key) {
      return await c.kv.get(key);
    },
    async listText(c, prefix) {
      return await c.kv.list(prefix);
    },
    triggerSleep(c) {
      c.sleep();
    },
    async scheduleAlarm(c, ms) {
      await c.schedule.after(ms, "onScheduled");
    },
    onScheduled(c) {
      c.state.alarm += 1;
    },
  },
});
