// The thing in JavaScript: what `thing.py` and `thing.c` are too.
import { actor, event, UserError } from "isolate";

const sockets = new Map();
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const note = async (c, what) => {
  const notes = await c.kv.get("notes");
  await c.kv.put("notes", notes === undefined ? what : `${notes};${what}`);
};

export default actor({
  createState: (c, input) => ({ count: 0, made: input ?? null }),
  onCreate: (c, input) => note(c, `create ${input ?? "-"}`),
  onUpgrade: (c, fromVersion) => note(c, `upgrade from ${fromVersion}`),
  async onWake(c) {
    await note(c, "wake");
    if (Date.now() < Number((await c.kv.get("broken until")) ?? 0)) throw new Error("a secret of the start");
  },
  onSleep: (c) => note(c, "sleep"),
  async onDestroy(c) {
    await note(c, "destroyed");
    c.log.info(await c.kv.get("notes"));
  },
  async onAlarm(c, alarm) {
    await note(c, `alarm ${alarm.id} ${alarm.payload} ${alarm.attempt}`);
    if (alarm.attempt < alarm.payload) throw new Error("too early");
  },
  async onRequest(c, request) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/fail") throw new Error("a secret");
    if (pathname === "/refuse") throw new UserError("not today", { code: "closed" });
    return new Response(`${request.method} ${pathname}${search} ${await request.text()}`, {
      status: 201,
      headers: { "x-thing": request.headers.get("x-asked") ?? "-" },
    });
  },
  onWebSocket(c, socket, { restored }) {
    if (socket.path === "/refuse") throw new UserError("not you", { code: "no_entry" });
    sockets.set(socket.id, socket);
    socket.onopen = () => socket.send("welcome");
    socket.onclose = (e) => {
      sockets.delete(socket.id);
      return note(c, `closed ${e.code} ${e.reason} ${e.wasClean ? "clean" : "lost"}`);
    };
    socket.onmessage = async ({ data, rivetMessageIndex }) => {
      if (typeof data !== "string") return socket.send(data);
      const [word, rest] = data.split(":");
      if (word === "index") socket.send(`${rivetMessageIndex}`);
      else if (word === "seen") socket.send(`${(socket.state = (socket.state ?? 0) + 1)}`);
      else if (word === "tag") socket.tags = [rest];
      else if (word === "restored") socket.send(restored ? "yes" : "no");
      else if (word === "params") socket.send(socket.params);
      else if (word === "wait") { await later(Number(rest)); socket.send("waited"); }
      else if (word === "throw") { socket.send("before"); throw new Error("a secret"); }
      else if (word === "doze") c.sleep();
      else if (word === "bye") { socket.send("last"); socket.close(4000, "bye"); }
      else socket.send(data);
    };
  },
  events: { secret: event({ canSubscribe: (c) => c.conn.state.who === "ann" }) },
  onBeforeConnect(c, params) { if (params?.who === "stranger") throw new UserError("not you", { code: "no_entry" }); },
  createConnState: (c, params) => (params?.who ? { who: params.who } : null),
  onConnect: (c, conn) => conn.send("hello", conn.state?.who ?? "-"),
  // A raw socket, and a call over HTTP, is a connection too: without a name.
  onDisconnect: (c, conn) => (conn.state?.who ? note(c, `gone ${conn.state.who}`) : undefined),
  actions: {
    async whoami(c, ms) {
      if (ms) await later(ms);
      return c.conn.state.who;
    },
    rename(c, who) { c.conn.state.who = who; },
    announce(c, event, what) { c.broadcast(event, what); },
    leave(c) { c.conn.disconnect("bye"); },
    add: (c, by) => (c.state.count += by),
    get: (c) => c.state,
    notes: async (c) => (await c.kv.get("notes")) ?? "",
    refuse(c) {
      c.state.count += 1;
      throw new UserError("not today", { code: "closed", metadata: { until: 5 } });
    },
    break_down(c) {
      c.state.count += 1;
      throw new Error("a secret");
    },
    break_starts: (c, until) => c.kv.put("broken until", String(until)),
    put: (c, key, value) => c.kv.put(key, value),
    look_up: async (c, key) => (await c.kv.get(key)) ?? null,
    remove: (c, key) => c.kv.delete(key),
    remove_range: (c, start, end) => c.kv.deleteRange(start, end),
    entries: (c, prefix) => c.kv.list(prefix),
    range: async (c, start, end, reverse, limit) =>
      (await c.kv.list(null, { start, end, reverse, limit })).map(([key]) => key),
    async put_big(c, size) {
      try {
        await c.kv.put("big", new Uint8Array(size));
      } catch (error) {
        return `${error.group}/${error.code}`;
      }
      return "taken";
    },
    alarm: (c, id, after, payload) => c.alarms.set(id, { after, payload }),
    cancel: (c, id) => c.alarms.cancel(id),
    pending: async (c) => (await c.alarms.list()).map((alarm) => alarm.id),
    plan: (c, ms, by) => c.schedule.after(ms, "add", by),
    call_off: (c, id) => c.schedule.cancel(id),
    every: (c, name, ms, by) => c.cron.every({ name, interval: ms, action: "count", args: [by] }),
    daily: (c, name, expression, timezone, by) => c.cron.set({ name, expression, timezone, action: "count", args: [by] }),
    async count(c, by, fire) {
      await note(c, `count ${by} ${fire.kind} ${fire.name} ${fire.scheduledAt} ${fire.attempt}`);
      if (by < 0 && fire.attempt < 3) throw new Error("not yet");
      c.state.count += by;
    },
    crons: async (c) => (await c.cron.list()).map(({ name, action, args, nextRunAt }) => [name, action, args, nextRunAt]),
    runs: async (c, name) => (await c.cron.history(name)).map((run) => [run.result, run.scheduledAt, run.count ?? run.attempt]),
    drop: (c, name) => c.cron.delete(name),
    async wait(c, ms, label) {
      await note(c, `begin ${label}`);
      await later(ms);
      await note(c, `end ${label}`);
      return label;
    },
    never: () => new Promise(() => {}),
    hold(c, ms) {
      c.keepAwake(later(ms).then(() => note(c, "held")));
    },
    doze: (c) => c.sleep(),
    end(c) {
      c.destroy();
      return "goodbye";
    },
    noise: (c, length) =>
      [...crypto.getRandomValues(new Uint8Array(length))].map((b) => b.toString(16).padStart(2, "0")).join(""),
    time: () => Date.now(),
    write: (c, line) => c.log.warn(line),
    who: (c) => [c.actorId, c.name, ...c.key],
    say(c, text) {
      for (const socket of sockets.values()) socket.send(text);
    },
    say_to(c, tag, text) {
      for (const socket of sockets.values()) if (socket.tags.includes(tag)) socket.send(text);
    },
    trap(c) {
      for (let i = 0; i < 20_000; i++) c.kv.get("x").catch(() => {});
    },
    loop() {
      for (;;);
    },
    hoard(c) {
      const all = [];
      for (;;) all.push(new Uint8Array(1 << 20).fill(1));
    },
  },
});
