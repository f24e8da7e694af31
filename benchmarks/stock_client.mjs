// Actions through one connection of the published RivetKit client, so many in flight: prints how many a second.
// node stock_client.mjs PROJECT ENDPOINT KEY IN_FLIGHT SECONDS; the client is the one installed in the folder PROJECT.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [project, endpoint, key, inFlight, seconds] = process.argv.slice(2);
const module = join(project, "node_modules", "rivetkit", "dist", "tsup", "client", "mod.js");
const { createClient } = await import(pathToFileURL(module));

const client = createClient({ endpoint });
const connection = client.echo.getOrCreate([key]).connect();
await connection.ready;

let answered = 0;
let wrong = 0;
let sent = 0;

async function lane(until) {
  while (performance.now() < until) {
    const number = sent++;
    if ((await connection.echo(number)) !== number) wrong += 1;
    answered += 1;
  }
}

const lanes = (until) => Promise.all(Array.from({ length: Number(inFlight) }, () => lane(until)));

await lanes(performance.now() + 500); // both sides get warm
answered = 0;
const began = performance.now();
await lanes(began + Number(seconds) * 1000);
const took = (performance.now() - began) / 1000;
await client.dispose();
console.log(JSON.stringify({ per_second: answered / took, wrong }));
