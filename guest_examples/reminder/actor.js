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
    ring(c, text) {
      c.state.rung.push({ text, at: Date.now() });
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
    return Response.json({ waiting: [...scheduled, ...named].sort((a, b) => a.at - b.at), rung: c.state.rung });
  },
});
