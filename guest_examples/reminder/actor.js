// Reminders: alarms that survive sleep and restarts, and an HTTP page that lists them.
import { actor, UserError } from "isolate";

const needText = (text) => {
  if (typeof text !== "string" || text === "") throw new UserError("a reminder needs a text", { code: "no_text" });
};

export default actor({
  state: { rung: [] },

  actions: {
    // c.schedule runs an action of this actor later. The id that it gives back cancels it.
    async remindIn(c, ms, text) {
      needText(text);
      return await c.schedule.after(ms, "ring", text);
    },
    async remindAt(c, timestamp, text) {
      needText(text);
      return await c.schedule.at(timestamp, "ring", text);
    },
    // The last argument says why it runs; a run that is tried again has the same scheduledAt.
    ring(c, text, fire) {
      const { rung } = c.state;
      if (fire.name && rung.some((one) => one.cron === fire.name && one.scheduledAt === fire.scheduledAt)) return;
      rung.push(fire.name ? { text, at: Date.now(), cron: fire.name, scheduledAt: fire.scheduledAt } : { text, at: Date.now() });
    },
    // c.cron runs an action again and again: by an expression in a time zone, or at an interval.
    async repeat(c, name, expression, timezone, text) {
      needText(text);
      await c.cron.set({ name, expression, timezone, action: "ring", args: [text] });
      return (await c.cron.get(name)).nextRunAt;
    },
    async repeatEvery(c, name, ms, text) {
      needText(text);
      await c.cron.every({ name, interval: ms, action: "ring", args: [text] });
    },
    async stop(c, name) {
      return await c.cron.delete(name);
    },
    // c.alarms sets alarms by a name of your own; setting a name again replaces the alarm. onAlarm gets it.
    async snooze(c, name, ms, text) {
      needText(text);
      return await c.alarms.set(name, { after: ms, payload: { text } });
    },
    async cancel(c, id) {
      return (await c.schedule.cancel(id)) || (!id.startsWith("$") && (await c.alarms.cancel(id)));
    },
  },

  onAlarm(c, alarm) {
    c.state.rung.push({ text: alarm.payload.text, at: Date.now(), name: alarm.id, attempt: alarm.attempt });
  },

  async onRequest(c, request) {
    if (request.method !== "GET") return new Response("only GET here\n", { status: 405, headers: { allow: "GET" } });
    const scheduled = (await c.schedule.list()).map(({ id, runAt, args }) => ({ id, at: runAt, text: args[0] }));
    const named = (await c.alarms.list()).map(({ id, at, payload }) => ({ id, at, text: payload.text }));
    const crons = (await c.cron.list()).map(({ name, nextRunAt, args }) => ({ id: name, at: nextRunAt, text: args[0] }));
    return Response.json({ waiting: [...scheduled, ...named, ...crons].sort((a, b) => a.at - b.at), rung: c.state.rung });
  },
});
