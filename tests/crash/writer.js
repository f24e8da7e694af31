// An actor that appends a row to its log for all that it does, so that a test can read after a crash what took effect.
// A handler that is told to makes every host call there is, in the turn that writes the row.
import { actor } from "isolate";

const open = new Map();
const place = (n) => `log/${String(n).padStart(8, "0")}`;
const write = (c, source, index, text) => c.kv.put(place((c.state.rows += 1)), JSON.stringify([source, index, text]));

const everything = async (c, websocket) => {
  await c.kv.put("scratch/a", "1");
  await c.kv.get("scratch/a");
  await c.kv.list("scratch/");
  await c.kv.delete("scratch/a");
  await c.kv.deleteRange("scratch/", "scratch0");
  await c.alarms.set("scratch", { after: 3600000 });
  await c.alarms.list();
  await c.alarms.cancel("scratch");
  clearTimeout(setTimeout(() => {}, 1000));
  const giveUp = new AbortController();
  fetch("https://nowhere.example/", { signal: giveUp.signal }).catch(() => {});
  for (let i = 0; i < 20; i++) await null;  // until it has been asked for, in this turn
  giveUp.abort();
  fetch("https://nowhere.example/").catch(() => {});
  c.client().nobody.get(["none"]).anything().catch(() => {});
  await c.cron.set({ name: "scratch", expression: "0 3 * * *", timezone: "Europe/Berlin", action: "once" });
  await c.cron.list();
  await c.cron.history("scratch");
  await c.cron.delete("scratch");
  c.log.info("everything");
  c.random();
  c.broadcast("nobody", 1);
  if (websocket) {
    websocket.state = { seen: c.state.rows };
    websocket.tags = [`rows-${c.state.rows}`];
  }
};

const work = async (c, what, websocket) => {
  if (what === "all") await everything(c, websocket);
  else if (what === "timer") c.waitUntil(new Promise((done) => setTimeout(done, 1)));
  else if (what === "sleep") c.sleep();
  else if (what === "close") websocket.close(4000, "as told");
};

export default actor({
  state: { rows: 0 },
  onWebSocket(c, websocket) {
    open.set(websocket.id, websocket);
    websocket.onmessage = async (event) => {
      const [label, , what] = event.data.split(" ");
      await write(c, label, event.rivetMessageIndex, event.data);
      websocket.send(`ok ${event.rivetMessageIndex}`);
      await work(c, what, websocket);
    };
    websocket.onclose = async (event) => {
      open.delete(websocket.id);
      await c.kv.put(`closed/${websocket.id}/${(c.state.rows += 1)}`, String(event.code));
    };
  },
  async onAlarm(c, alarm) {
    const [, what] = alarm.payload;
    const [socket] = open.values();
    await write(c, "once", 0, alarm.id);
    if (socket) socket.send(`rang ${alarm.id}`);
    if (socket || what !== "close") await work(c, what, socket);
  },
  actions: {
    async once(c, name, what) {
      await write(c, "once", 0, name);
      await work(c, what);
      return name;
    },
    async ring(c, id, after, what) {
      await c.alarms.set(id, { after, payload: [id, what] });
    },
    async log(c, from) {
      const rows = await c.kv.list(undefined, { start: place(from), end: "log0" });
      return rows.map(([key, row]) => [Number(key.slice(4)), JSON.parse(row)]);
    },
    async closes(c) {
      return (await c.kv.list("closed/")).map(([key, code]) => [key.split("/")[1], Number(code)]);
    },
  },
});
