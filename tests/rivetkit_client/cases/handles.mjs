import assert from "node:assert/strict";
import { endpoint, failure, it, newClient } from "../support.mjs";

it("getOrCreate makes an actor and calls its action", async ({ client, key }) => {
  assert.equal(await client.probe.getOrCreate([key()]).increment(5), 5);
});

it("the same key reaches the same actor", async ({ client, key }) => {
  const same = key();
  await client.probe.getOrCreate([same]).increment(2);
  assert.equal(await client.probe.getOrCreate([same]).increment(3), 5);
});

it("different keys are different actors", async ({ client, key }) => {
  await client.probe.getOrCreate([key()]).increment(2);
  assert.equal(await client.probe.getOrCreate([key()]).count(), 0);
});

it("a string is the key of one part", async ({ client, key }) => {
  const one = key();
  await client.probe.getOrCreate(one).increment(4);
  assert.equal(await client.probe.getOrCreate([one]).count(), 4);
});

it("a key has several parts, and the actor sees them", async ({ client, key }) => {
  const parts = [key(), "b", "c d", "ü"];
  assert.deepEqual(await client.probe.getOrCreate(parts).key(), parts);
});

it("a key part with a slash is one part", async ({ client, key }) => {
  const handle = await client.probe.create([key(), "a/b\\c"]);
  assert.equal((await handle.key())[1], "a/b\\c");
});

it("the empty key is a key", async ({ client }) => {
  const handle = client.empty.getOrCreate();
  assert.deepEqual(await handle.key(), []);
});

it("create takes a key part with a comma, which the query route cannot", async ({ client, key }) => {
  const parts = [key(), "a,b"];
  const handle = await client.probe.create(parts);
  assert.deepEqual(await handle.key(), parts);
});

it("get finds an actor by its key", async ({ client, key }) => {
  const one = key();
  await client.probe.create([one]);
  assert.equal(await client.probe.get([one]).increment(), 1);
});

it("get of a key that nobody made is actor/not_found", async ({ client, key }) => {
  const error = await failure(client.probe.get([key()]).resolve());
  assert.deepEqual([error.group, error.code], ["actor", "not_found"]);
});

it("an action on a key that nobody made is actor/not_found after the client's retries", async ({ client, key }) => {
  const error = await failure(client.probe.get([key()]).count());
  assert.deepEqual([error.group, error.code], ["actor", "not_found"]);
});

it("create makes an actor and gives a handle on its id", async ({ client, key }) => {
  const handle = await client.probe.create([key()]);
  assert.equal(await handle.id(), await handle.resolve());
});

it("create of a key that is taken is actor/duplicate_key", async ({ client, key }) => {
  const one = key();
  await client.probe.create([one]);
  const error = await failure(client.probe.create([one]));
  assert.deepEqual([error.group, error.code], ["actor", "duplicate_key"]);
});

it("getForId reaches an actor by its id", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.increment(7);
  assert.equal(await client.probe.getForId(await handle.resolve()).count(), 7);
});

it("getForId of an unknown id is actor/not_found", async ({ client }) => {
  const error = await failure(client.probe.getForId("0".repeat(32)).count());
  assert.deepEqual([error.group, error.code], ["actor", "not_found"]);
});

it("resolve gives the id of a key, and makes the actor if need be", async ({ client, key }) => {
  const one = key();
  const id = await client.probe.getOrCreate([one]).resolve();
  assert.equal(await client.probe.get([one]).resolve(), id);
});

it("getOrCreate gives an input to the actor that it makes", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()], { createWithInput: { start: 40, text: "ü" } });
  assert.equal(await handle.increment(2), 42);
  assert.deepEqual(await handle.input(), { start: 40, text: "ü" });
});

it("create gives an input to the actor", async ({ client, key }) => {
  const handle = await client.probe.create([key()], { input: { start: 10 } });
  assert.equal(await handle.count(), 10);
});

it("an input keeps bytes and big integers", async ({ client, key }) => {
  const input = { bytes: new Uint8Array([0, 1, 255]), big: 2n ** 70n };
  const handle = client.probe.getOrCreate([key()], { createWithInput: input });
  assert.deepEqual(await handle.input(), input);
});

it("a handle calls an action by its name", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  assert.equal(await handle.action({ name: "increment", args: [3] }), 3);
});

it("the client finds actors by name in methods too", async ({ client, key }) => {
  assert.equal(await client.getOrCreate("probe", [key()]).name(), "probe");
});

it("the URL of a handle works for any HTTP client", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const url = new URL(await handle.getGatewayUrl());
  url.pathname += "/action/increment";
  const answer = await fetch(url, { method: "POST", body: JSON.stringify({ args: [6] }) });
  assert.deepEqual([answer.status, await answer.json()], [200, { output: 6 }]);
});

it("an endpoint may carry the namespace, and namespaces are apart", async ({ key }) => {
  const address = new URL(endpoint);
  const other = newClient({ endpoint: `${address.protocol}//elsewhere@${address.host}` });
  const error = await failure(other.probe.getOrCreate([key()]).count());
  assert.deepEqual([error.group, error.code], ["definition", "not_found"]);
  await other.dispose();
});

it("a name that is not deployed is refused", async ({ client, key }) => {
  const error = await failure(client.nowhere.getOrCreate([key()]).count());
  assert.deepEqual([error.group, error.code], ["definition", "not_found"]);
});

it("a key part with a comma arrives as two parts on the query route", async ({ client, key }) => {
  const first = key();
  // The client joins parts with commas and has no escape for one: nobody behind it can tell the difference.
  assert.deepEqual(await client.probe.getOrCreate([first, "a,b"]).key(), [first, "a", "b"]);
});

it("a region and a pool may be named, and mean nothing", async ({ client, key }) => {
  const one = key();
  const made = await client.probe.create([one], { region: "moon", poolName: "big" });
  const handle = client.probe.getOrCreate([one], { createInRegion: "mars", poolName: "small" });
  assert.equal(await handle.id(), await made.resolve());
});

it("headers of the client reach the actor", async ({ key }) => {
  const client = newClient({ headers: { "x-mine": "of the client" } });
  const answer = await client.probe.getOrCreate([key()]).fetch("x");
  assert.equal((await answer.json()).header, "of the client");
  await client.dispose();
});

it("params with parentheses arrive over HTTP", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()], { params: { name: "a (b)" } });
  assert.equal((await handle.me()).state.name, "a (b)");
});

it("a reload by a client is refused", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.increment();
  const error = await failure(handle.reload());
  assert.deepEqual([error.group, error.code], ["actor", "reload_failed"]);
  assert.match(error.message, /status 404/);
});

it("the inspector's routes are not there", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const answer = await fetch(`${endpoint}/gateway/${await handle.resolve()}/inspector/state`);
  assert.equal(answer.status, 404);
});
