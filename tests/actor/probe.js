// An actor that does what its messages, actions and alarms say, well or badly.
import { actor, UserError } from "isolate";

const sockets = new Map();
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const never = () => new Promise(() => {});

// More host calls than a turn may make: a fault, at once.
const crash = (c) => {
  for (let i = 0; i < 1000; i++) c.kv.get("x").catch(() => {});
};

// "crash", "waitcrash:5000", "crash<3" (only before the third attempt), "throw", "never", "wait:5000", "until:<ms>" (throws before).
const misbehave = async (c, what, attempt) => {
  const [word, number] = what.split(/[:<]/);
  if (what.includes("<") && attempt >= Number(number)) return `well at ${attempt}`;
  switch (word) {
    case "crash": crash(c); break;
    case "throw": throw new Error("on purpose");
    case "user": throw new UserError("no", { code: number });
    case "never": await never(); break;
    case "waitcrash": await later(Number(number)); crash(c); break;
    case "wait": await later(Number(number)); break;
    case "until": if (Date.now() < Number(number)) throw new Error("too early"); break;
  }
  return `did ${what}`;
};

export default actor({
  state: { n: 0, wakes: 0, sleeps: 0, fired: [], closes: [], got: [] },
  async onCreate(c, input) {
    if (input && input.start) await c.kv.put("start", input.start);
  },
  async onWake(c) {
    const how = await c.kv.get("start");
    await c.kv.put("written by a start", "1");
    if (how) await misbehave(c, how, 1);
    c.state.wakes += 1;
  },
  async onSleep(c) {
    c.state.sleeps += 1;
    const how = await c.kv.get("stop");
    if (how) await misbehave(c, how, 1);
  },
  async onDestroy(c) {
    await c.kv.put("heard of its end", "1");
    const how = await c.kv.get("end");
    if (how) await misbehave(c, how, 1);
  },
  onRequest(c, request) {
    c.state.n += 1;
    return new Response(`${request.method} ${new URL(request.url).pathname} ${c.state.n}`, { status: 201 });
  },
  async onAlarm(c, alarm) {
    const what = alarm.payload && alarm.payload.do;
    c.state.fired.push([alarm.id, alarm.attempt, Date.now(), alarm.scheduledAt, alarm.payload]);
    if (what === "again") await c.alarms.set(alarm.id, { after: 1000, payload: null });
    else if (what === "cancel") await c.alarms.cancel(alarm.payload.id);
    else if (what) await misbehave(c, what, alarm.attempt);
  },
  onWebSocket(c, ws, { restored }) {
    if (ws.path === "/throw") throw new Error("not you");
    if (ws.path === "/user") throw new UserError("not you", { code: "no_entry" });
    if (ws.path === "/crash") crash(c);
    sockets.set(ws.id, ws);
    ws.onopen = () => ws.send("welcome");
    ws.onclose = (e) => {
      sockets.delete(ws.id);
      c.state.closes.push([e.code, e.reason]);
    };
    ws.onmessage = async (e) => {
      c.state.got.push(e.data);
      await c.kv.put(`message ${e.rivetMessageIndex}`, `attempt ${e.attempt}`);
      if (e.data === "index") return ws.send(`${e.rivetMessageIndex}`);
      if (e.data === "sleep") c.sleep();
      else if (e.data === "bye") ws.close(4000, "bye");
      else if (e.data === "state") ws.state = { seen: (ws.state?.seen ?? 0) + 1 };
      else if (e.data === "count") ws.send(`${ws.state.seen} ${restored}`);
      else if (e.data.startsWith("sleep+")) { c.sleep(); await misbehave(c, e.data.slice(6), e.attempt); }
      else if (e.data.startsWith("echo")) ws.send(e.data);
      else ws.send(await misbehave(c, e.data, e.attempt));
    };
  },
  actions: {
    inc(c, n) { return (c.state.n += n); },
    get(c) { return c.state; },
    async put(c, key, value) { await c.kv.put(key, value); },
    async kv(c, key) { return (await c.kv.get(key)) ?? null; },
    async act(c, what) {
      c.state.n += 1;
      return await misbehave(c, what, 1);
    },
    async alarm(c, id, after, payload) { return await c.alarms.set(id, { after, payload: payload ?? null }); },
    async alarmAt(c, id, at) { return await c.alarms.set(id, { at, payload: null }); },
    async cancel(c, id) { return await c.alarms.cancel(id); },
    async alarms(c) { return (await c.alarms.list()).map((one) => one.id); },
    timer(c, ms) { setTimeout(() => { c.state.n += 100; }, ms); },
    crashLater(c, ms) { setTimeout(() => crash(c), ms); },
    sleep(c) { c.sleep(); },
    async end(c, what) {
      c.destroy();
      return what ? await misbehave(c, what, 1) : "the end";
    },
    say(c, text) { for (const ws of sockets.values()) ws.send(text); },
    log(c, text) { c.log.info(text); },
  },
});
