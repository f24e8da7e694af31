// Hooks and helpers of actions that are no part of connections.
import { actor, UserError } from "rivetkit";

const number = {
  parse(args: unknown): [number] {
    const [value] = args as [string];
    const parsed = Number(value);
    if (Number.isNaN(parsed)) throw new UserError(`${value} is no number`, { code: "no_number" });
    return [parsed];
  },
};

export default actor({
  state: { list: [] as string[], checked: 0 },
  createVars: () => ({ touched: 0, seen: 0 }),
  onStateChange(c) {
    c.vars.seen += 1;
  },
  onBeforeActionResponse(_c, name: string, args: unknown[], output: unknown): unknown {
    return name === "wrapped" ? { wrapped: output, by: name, args } : output;
  },
  actionInputSchemas: { checked: number },
  actions: {
    math: {
      double: (_c, value: number): number => value * 2,
      deep: { triple: (_c, value: number): number => value * 3 },
    },
    wrapped: (_c, value: number): number => value + 1,
    checked: (c, value: number): number => {
      c.state.checked += 1;
      return value;
    },
    checkedCalls: (c): number => c.state.checked,
    touch: (c): number => (c.vars.touched += 1),
    push: (c, value: string): void => {
      c.state.list.push(value);
    },
    changes: (c): unknown => ({ list: c.state.list, seen: c.vars.seen }),
  },
});
