// A room of people: connections with parameters and state, events, and who comes and goes.
import { actor, event, UserError } from "rivetkit";

interface Params {
  name?: string;
  slow?: boolean;
}

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export default actor({
  state: { count: 0, log: [] as string[] },
  events: {
    said: event<[string, string]>(),
    secret: event<string>({ canSubscribe: (c) => c.conn.state.name === "admin" }),
  },
  async onBeforeConnect(c, params: Params) {
    if (params?.slow) await later(50);
    if (params?.name === "mallory") throw new UserError("not you", { code: "banned", metadata: { until: "monday" } });
    c.state.log.push(`? ${params?.name}`);
  },
  createConnState: (_c, params: Params) => ({ name: params?.name ?? "somebody", said: 0, bytes: new Uint8Array([7]) }),
  onConnect(c, conn) {
    c.state.log.push(`+ ${conn.state.name}`);
    conn.send("welcome", conn.state.name, c.conns.size);
  },
  onDisconnect(c, conn) {
    c.state.log.push(`- ${conn.state.name}`);
    c.broadcast("left", conn.state.name);
  },
  createVars: () => ({ resolve: undefined as undefined | ((value: string) => void) }),
  actions: {
    say(c, text: string): number {
      c.conn.state.said += 1;
      c.broadcast("said", c.conn.state.name, text);
      return c.conn.state.said;
    },
    announce: (c, name: string, ...args: unknown[]): void => c.broadcast(name, ...args),
    burst(c, count: number): void {
      for (let number = 0; number < count; number += 1) c.broadcast("tick", number);
    },
    whisper: (c, text: unknown): void => c.conn.send("whispered", text),
    tell(c, id: string, text: string): void {
      c.conns.get(id)?.send("told", text);
    },
    async kick(c, id: string, reason?: string): Promise<void> {
      await c.conns.get(id)?.disconnect(reason);
    },
    me: (c): unknown => ({ id: c.conn.id, state: c.conn.state, params: c.conn.params }),
    who: (c): string[] => [...c.conns.values()].map((conn) => conn.state.name).sort(),
    rename(c, name: string): void {
      c.conn.state.name = name;
    },
    log: (c): string[] => c.state.log,
    increment: (c): number => (c.state.count += 1),
    echo: (_c, value: unknown): unknown => value,
    length: (_c, value: string): number => value.length,
    repeat: (_c, text: string, times: number): string => text.repeat(times),
    wait: (c): Promise<string> => new Promise((resolve) => (c.vars.resolve = resolve)),
    release(c, value: string): boolean {
      c.vars.resolve?.(value);
      return c.vars.resolve !== undefined;
    },
    async slow(_c, ms: number, value: unknown): Promise<unknown> {
      await later(ms);
      return value;
    },
    refuse(): never {
      throw new UserError("not that one", { code: "not_that", metadata: { tried: 3 } });
    },
    crash(): never {
      throw new Error("the secret is 1234");
    },
    sleep: (c): void => c.sleep(),
    destroy: (c): void => c.destroy(),
  },
});
