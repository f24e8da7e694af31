// What an actor may use of its context and of the globals, one action each.
import { actor } from "rivetkit";

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export default actor({
  createState: () => ({
    runs: [] as unknown[],
    map: new Map<string, unknown>([["a", new Set([1, 2])]]),
    date: new Date(86_400_000),
    big: 2n ** 70n,
    floats: new Float64Array([0.5, -1]),
  }),
  actions: {
    async kv(c): Promise<unknown> {
      await c.kv.put("note/b", "two");
      await c.kv.put("note/a", new Uint8Array([111, 110, 101]));
      const missing = (await c.kv.get("note/none")) ?? null;
      const listed = await c.kv.list("note/");
      await c.kv.delete("note/b");
      return { missing, listed, left: await c.kv.list("note/"), bytes: await c.kv.get("note/a", { type: "binary" }) };
    },
    async kvBatches(c): Promise<unknown> {
      const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
      await c.kv.batchPut([
        [bytes("x/1"), bytes("one")],
        [bytes("x/2"), bytes("two")],
        [bytes("x/3"), bytes("three")],
      ]);
      const found = await c.kv.batchGet([bytes("x/2"), bytes("x/9")]);
      await c.kv.batchDelete([bytes("x/1")]);
      const prefix = await c.kv.listPrefix("x/", { reverse: true });
      const range = await c.kv.listRange("x/2", "x/3");
      await c.kv.deleteRange(bytes("x/"), bytes("x0"));
      return { found, prefix, range, left: (await c.kv.listPrefix("x/")).length };
    },
    after: (c, ms: number): Promise<string> => c.schedule.after(ms, "ran", "after"),
    at: (c, ms: number): Promise<string> => c.schedule.at(Date.now() + ms, "ran", "at"),
    async cancelled(c): Promise<unknown> {
      const id = await c.schedule.after(60_000, "ran", "never");
      const [row] = await c.schedule.list();
      return { same: row.id === id, action: row.action, args: row.args, cancelled: await c.schedule.cancel(id), again: await c.schedule.cancel(id) };
    },
    async crons(c): Promise<unknown> {
      await c.cron.set({ name: "daily", expression: "0 4 * * *", action: "ran", args: ["daily"], timezone: "Europe/Berlin" });
      await c.cron.every({ name: "often", interval: 60_000, action: "ran", args: ["often"] });
      const listed = (await c.cron.list()).sort((a, b) => (a.name < b.name ? -1 : 1));
      const history = await c.cron.history("daily");
      const gone = [await c.cron.delete("daily"), await c.cron.delete("daily")];
      return { listed, gone, history, left: (await c.cron.get("often")) === undefined ? 0 : 1 };
    },
    async scheduled(c): Promise<unknown> {
      const id = await c.schedule.after(60_000, "ran", "one");
      return { found: await c.schedule.get(id), missing: (await c.schedule.get("none")) ?? null };
    },
    ran(c, what: string): void {
      c.state.runs.push(what);
    },
    runs: (c): unknown[] => c.state.runs,
    kinds(c): unknown {
      const { map, date, big, floats } = c.state;
      return {
        map: map instanceof Map && map.get("a") instanceof Set && (map.get("a") as Set<number>).has(2),
        date: date instanceof Date && date.getTime(),
        big,
        floats: floats instanceof Float64Array && [...floats],
      };
    },
    changeKinds(c): void {
      (c.state.map.get("a") as Set<number>).delete(2);
      c.state.date.setTime(5);
      c.state.big += 1n;
      c.state.floats[0] = 9;
    },
    async saved(c): Promise<number> {
      c.state.runs.push("saved");
      await c.saveState({ immediate: true });
      return c.state.runs.length;
    },
    async held(c): Promise<string> {
      c.waitUntil(later(1));
      return await c.keepAwake(later(5).then(() => "held"));
    },
    signal: (c): unknown => ({ kind: c.abortSignal.constructor.name, aborted: c.abortSignal.aborted }),
    logged(c): void {
      c.log.info("a line", { with: "fields" });
      console.log("another");
    },
    globals: (): unknown => ({
      bytes: new TextEncoder().encode("ü"),
      text: new TextDecoder().decode(new Uint8Array([195, 188])),
      clone: structuredClone({ a: [new Date(1), new Map([[1, 2]])] }).a[1] instanceof Map,
      uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()),
      url: new URL("../b?x=1", "http://h/a/c").href,
      header: new Headers({ "X-A": "1" }).get("x-a"),
      aborted: AbortSignal.abort().aborted,
    }),
    ofNode: (): string[] => ["process", "Buffer", "require", "WritableStream", "TransformStream"].filter((name) => name in globalThis),
    other: async (c, key: string): Promise<unknown> => await c.client().probe.getOrCreate([key]).increment(3),
    otherRefuses: async (c, key: string): Promise<unknown> => {
      try {
        return await c.client().probe.getOrCreate([key]).refuse();
      } catch (error) {
        return [(error as { group: string }).group, (error as { code: string }).code];
      }
    },
    behind: (c): string | null => c.request?.method ?? null,
    hibernates: (c): boolean => c.conn.isHibernatable,
    ofOld(c): unknown {
      c.setPreventSleep(true);
      return [c.region, c.preventSleep, c.aborted];
    },
    absent(c): string[] {
      const uses = [() => c.queue, () => c.db, () => c.run, () => c.actorRuntimeSocket()];
      return uses.map((use) => {
        try {
          return `there is ${String(use())}`;
        } catch (error) {
          return (error as Error).message;
        }
      });
    },
    identity: (c): unknown => [c.name, c.key, c.actorId],
  },
  async onRequest(c, request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/stream") {
      const parts = ["one ", "two ", "three"];
      const body = new ReadableStream({
        pull(controller) {
          const part = parts.shift();
          if (part === undefined) controller.close();
          else controller.enqueue(new TextEncoder().encode(part));
        },
      });
      return new Response(body);
    }
    if (request.method === "GET") return Response.json(new URL(c.request.url).pathname);
    return Response.json(await request.json());
  },
});
