// An actor of /connect connections that appends a row to its log for each action that has taken effect, in the turn in
// which it settles, and tells the connection of it: so that a test can read after a crash what was carried out.
import { actor } from "isolate";

const later = (ms) => new Promise((done) => setTimeout(done, ms));

const everything = async (c) => {
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
  await c.cron.set({ name: "scratch", expression: "0 3 * * *", timezone: "Europe/Berlin", action: "log" });
  await c.cron.list();
  await c.cron.history("scratch");
  await c.cron.delete("scratch");
  c.log.info("everything");
  c.random();
  c.conn.state = { seen: c.state.rows };
};

export default actor({
  state: { rows: 0 },
  createConnState: () => ({ seen: 0 }),
  onDisconnect: (c, conn) => { if (conn.isHibernatable) return c.kv.put(`closed/${conn.id}`, "1"); },
  actions: {
    async does(c, n, what) {
      if (what === "all") await everything(c);
      if (what === "slow") await later(20);
      await c.kv.put(`log/${String((c.state.rows += 1)).padStart(8, "0")}`, String(n));
      c.conn.send("mine", n);
      c.broadcast("all", n);
      if (what === "timer") c.waitUntil(later(1));
      if (what === "sleep") c.sleep();
      if (what === "close") c.conn.disconnect("as told");
      return n;
    },
    async log(c) { return (await c.kv.list("log/")).map(([, n]) => Number(n)); },
    async closes(c) { return (await c.kv.list("closed/")).length; },
  },
});
