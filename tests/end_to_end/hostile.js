// An actor that does whatever is wrong, when asked to.
import { actor, UserError } from "isolate";

const loop = () => {
  for (;;) {
    // until the deadline
  }
};

const grow = () => {
  const kept = [];
  for (;;) kept.push(new Uint8Array(1_000_000));
};

const recurse = () => recurse() + 1;

const wrongs = {
  loop,
  grow,
  recurse,
  // what a guest can do so that the recursion is not its own interpreter's business
  nest() {
    return JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
  },
  manyCalls(c) {
    for (;;) c.kv.get("k");
  },
  largeState(c) {
    c.state.blob = "x".repeat(2_000_000);
  },
};

export default actor({
  state: { count: 0 },
  onRequest(c, request) {
    const what = new URL(request.url).pathname.slice(1);
    if (what in wrongs) wrongs[what](c);
    if (what === "throw") throw new Error("secret of the handler");
    if (what === "user") throw new UserError("not for you", { code: "not_yours" });
    if (what === "large") return new Response("x".repeat(5_000_000));
    if (what === "nothing") return undefined;
    return new Response(`count ${c.state.count}`);
  },
  onWebSocket(c, websocket) {
    websocket.addEventListener("message", (event) => {
      const what = event.data;
      if (what in wrongs) {
        c.state.count += 1000;
        wrongs[what](c);
      }
      if (what === "throw") throw new Error("secret of the listener");
      if (what === "large") websocket.send("x".repeat(2_000_000));
      if (typeof what !== "string") websocket.send(`bytes ${what.byteLength}`);
      else websocket.send(`${event.rivetMessageIndex} ${event.attempt} ${what.length > 100 ? what.length : what}`);
    });
  },
  actions: {
    add(c, n) {
      c.state.count += n;
      return c.state.count;
    },
    wrong(c, what) {
      c.state.count += 1000;
      c.kv.put("half", "done");
      wrongs[what](c);
    },
    half(c) {
      return c.kv.get("half");
    },
    same(c, value) {
      return value;
    },
    user() {
      throw new UserError("you may not", { code: "not_allowed", metadata: { left: 3n, why: ["x"] } });
    },
    fails() {
      throw new TypeError("secret of the action");
    },
    async rejects() {
      await null;
      throw "a secret string";
    },
    forges() {
      const error = new Error("secret forgery");
      error.group = "guest";
      error.code = "trap";
      throw error;
    },
    writesAndThrows(c) {
      c.state.count += 1;
      throw new UserError("no", { code: "no" });
    },
    bigint() {
      return { big: 2n ** 70n, list: [1n] };
    },
    nothing() {
      return undefined;
    },
    tagged() {
      return { bytes: new Uint8Array([1, 2, 255]), set: new Set([1]), undef: undefined, escape: ["$x", 1] };
    },
    cyclic() {
      const self = {};
      self.self = self;
      return self;
    },
    functionResult() {
      return () => 1;
    },
    symbolResult() {
      return { symbol: Symbol("x") };
    },
    deepResult() {
      let value = 1;
      for (let i = 0; i < 200; i++) value = [value];
      return value;
    },
    halfSurrogate() {
      return "\ud800 and text";
    },
    largeResult() {
      return "x".repeat(2_000_000);
    },
    notANumber() {
      return NaN;
    },
    async putSizes(c, key, value) {
      await c.kv.put("k".repeat(key), "v".repeat(value));
      return (await c.kv.list("k")).length;
    },
    async putSizesGuarded(c, key, value) {
      try {
        await c.kv.put("k".repeat(key), "v".repeat(value));
      } catch (error) {
        throw new UserError(error.message, { code: `${error.group}_${error.code}`, metadata: error.metadata });
      }
    },
    waitsForEver() {
      return new Promise(() => {});
    },
  },
});
