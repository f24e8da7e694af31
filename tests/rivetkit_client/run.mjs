// Runs the cases of the files named: at the same time, for each has actors of its own.
import { after, suite, test } from "node:test";
import { CASES, encoding } from "./support.mjs";

for (const file of process.argv.slice(2)) await import(`./cases/${file}`);

suite(encoding, { concurrency: 16 }, () => {
  for (const { name, options, run } of CASES) test(name, options, run);
  // A case that ran out of time may leave a connection behind, which would keep the process for ever.
  after(() => setTimeout(() => process.exit(), 2_000).unref());
});
