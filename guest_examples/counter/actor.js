// A counter: one number, kept as the actor's state. Each key is a counter of its own.
import { actor, UserError } from "isolate";

export default actor({
  // Runs once, when the actor is created; `input` is what its creator sent along, if anything.
  createState(c, input) {
    return { count: input?.start ?? 0 };
  },
  actions: {
    increment(c, by = 1) {
      // A UserError reaches the caller as it is; anything else that is thrown is logged and masked.
      if (!Number.isSafeInteger(by)) throw new UserError("increment takes a whole number", { code: "not_a_number" });
      c.state.count += by;
      return c.state.count;
    },
    get(c) {
      return c.state.count;
    },
    reset(c) {
      c.state.count = 0;
      return c.state.count;
    },
  },
});
