// One restart of the host for all cases of a run: it comes once each of them has asked for it or has ended.
import { CASES, it as plain } from "./support.mjs";

let missing;
let restart;
const done = new Promise((resolve) => (restart = () => resolve(fetch(process.env.TEST_RESTART, { method: "POST" }))));

/** A case that awaits `restarted()` once: then the host has been killed and is back. */
export function it(name, run) {
  plain(name, async (given) => {
    let here = false;
    const arrive = () => {
      if (here) return;
      here = true;
      missing = (missing ?? CASES.length) - 1;
      if (missing === 0) restart();
    };
    try {
      await run({
        ...given,
        restarted() {
          arrive();
          return done;
        },
      });
    } finally {
      arrive();
    }
  });
}
