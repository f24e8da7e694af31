// Runs the cases of the files named: at the same time, for each has actors of its own.
import { suite, test } from "node:test";
import { CASES, encoding } from "./support.mjs";

for (const file of process.argv.slice(2)) await import(`./cases/${file}`);

suite(encoding, { concurrency: 16 }, () => {
  for (const { name, options, run } of CASES) test(name, options, run);
});
