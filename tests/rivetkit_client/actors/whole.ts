// Every option of RivetKit's, and the fields that the other actors do not use.
import { actor, UserError } from "rivetkit";

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const level = {
  parse(params: unknown): { level: number } {
    const value = Number((params as { level?: string } | undefined)?.level);
    if (Number.isNaN(value)) throw new UserError("a level is a number", { code: "no_level" });
    return { level: value };
  },
};

export default actor({
  options: {
    name: "Whole",
    icon: "🚀",
    enableActorRuntimeSocket: false,
    createVarsTimeout: 1_000,
    createConnStateTimeout: 1_000,
    onMigrateTimeout: 1_000,
    onBeforeConnectTimeout: 1_000,
    onConnectTimeout: 1_000,
    sleepGracePeriod: 1_000,
    onDestroyTimeout: 1_000,
    waitUntilTimeout: 1_000,
    stateSaveInterval: 100,
    actionTimeout: 10_000,
    connectionLivenessTimeout: 2_500,
    connectionLivenessInterval: 5_000,
    noSleep: true,
    sleepTimeout: 5_000,
    maxQueueSize: 10,
    maxSchedules: 10,
    maxQueueMessageSize: 1_000,
    canHibernateWebSocket: true,
  },
  state: { life: [] as string[] },
  connState: { seen: 0 },
  vars: { ticks: 0 },
  connParamsSchema: level,
  onCreate(c): void {
    c.state.life.push("create");
  },
  onMigrate(c): void {
    c.state.life.push("migrate");
  },
  onWake(c): void {
    c.state.life.push("wake");
  },
  async run(c): Promise<void> {
    while (!c.aborted) {
      c.vars.ticks += 1;
      await later(5);
    }
  },
  actions: {
    level: (c): unknown => c.conn.params,
    life: (c): string[] => c.state.life,
    ticks: (c): number => c.vars.ticks,
  },
});
