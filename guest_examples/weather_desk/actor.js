// Weather stations and their desk: two actors that call each other on schedules of their own, and a web hook that hears
// what came of it. A station measures and reports to its desk; the desk asks its stations back, and posts a digest.
import { actor, setup, UserError } from "isolate";

const KEPT = 10;

// Only another actor of this namespace has a c.caller, and the host says who it is.
const from = (c, name) => {
  if (c.caller?.name !== name) throw new UserError(`this is for a ${name}`, { code: `not_a_${name}` });
  return c.caller;
};

const station = actor({
  state: { desk: null, every: 0, readings: [], asked: 0, unheard: 0 },

  actions: {
    async begin(c, desk, every) {
      c.state.desk = desk;
      c.state.every = every;
      await c.alarms.set("measure", { after: 0 });
    },
    async end(c) {
      return await c.alarms.cancel("measure");
    },
    latest(c) {
      from(c, "desk");
      c.state.asked += 1;
      return c.state.readings.at(-1) ?? null;
    },
    look: (c) => c.state,
  },

  async onAlarm(c) {
    // First of all the next round: whatever becomes of this one, it comes. An alarm that is set again replaces the one
    // that is in work, so no round is tried twice.
    await c.alarms.set("measure", { after: c.state.every });
    const reading = { at: Date.now(), degrees: Math.round(c.random() * 300) / 10 };
    c.state.readings = [...c.state.readings, reading].slice(-KEPT);
    // Everything up to here is saved before the call is made. Meanwhile the desk may call this station: it is answered.
    try {
      await c.client().desk.getOrCreate(c.state.desk).report(c.key[0], reading);
    } catch (error) {
      c.state.unheard += 1;
      c.log.warn(`the desk did not take it: ${error.group}/${error.code}`);
    }
  },
});

const desk = actor({
  state: { hook: null, round: 0, stations: {}, posted: 0, failed: [] },

  actions: {
    // Posts to the hook every so many ms, 5,000 at least: a cron counts from now, however late a round was.
    async open(c, hook, every) {
      c.state.hook = hook;
      await c.cron.every({ name: "round", interval: every, action: "post" });
    },
    async close(c) {
      return await c.cron.delete("round");
    },
    report(c, name, reading) {
      const { actorId } = from(c, "station");
      c.state.stations[name] = { actorId, reading };
    },
    async post(c, fire) {
      const round = (c.state.round += 1);
      const stations = Object.entries(c.state.stations);
      // All stations at once; each answers in a turn of its own, and one that is gone costs only its line.
      const answers = await Promise.allSettled(
        stations.map(([, { actorId }]) => c.client().station.getForId(actorId).latest()),
      );
      const readings = {};
      stations.forEach(([name], i) => { readings[name] = answers[i].status === "fulfilled" ? answers[i].value : null; });
      // A host that dies between the post and the next commit makes this round again, under the same scheduledAt: the
      // receiver can tell.
      const name = `${c.actorId}-${fire?.scheduledAt ?? Date.now()}`;
      try {
        const response = await fetch(c.state.hook, {
          method: "POST",
          headers: { "content-type": "application/json", "idempotency-key": name },
          body: JSON.stringify({ desk: c.key[0], round, readings }),
          signal: AbortSignal.timeout(5_000),
        });
        if (!response.ok) throw new Error(`the hook answered ${response.status}`);
        c.state.posted += 1;
      } catch (error) {
        const why = error.code ? `${error.group}/${error.code}` : error.message;
        c.state.failed = [...c.state.failed, { round, why }].slice(-KEPT);
      }
    },
    look: (c) => c.state,
  },
});

export default setup({ use: { station, desk } });
