import assert from "node:assert/strict";
import { it, sleep, until } from "../support.mjs";

it("c.kv keeps text and bytes", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).kv(), {
    missing: null,
    listed: [["note/a", "one"], ["note/b", "two"]],
    left: [["note/a", "one"]],
    bytes: new Uint8Array([111, 110, 101]),
  });
});

it("c.schedule.after runs an action later", async ({ client, key }) => {
  const handle = client.api.getOrCreate([key()]);
  await handle.after(20);
  await until(async () => (await handle.runs()).length > 0);
  assert.deepEqual(await handle.runs(), ["after"]);
});

it("c.schedule.at wakes a sleeping actor", async ({ client, key }) => {
  const handle = client.api.getOrCreate([key()]);
  await handle.at(300);
  await sleep(await handle.resolve());
  await until(async () => (await handle.runs()).length > 0);
  assert.deepEqual(await handle.runs(), ["at"]);
});

it("c.schedule lists and cancels", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).cancelled(), {
    same: true,
    action: "ran",
    args: ["never"],
    cancelled: true,
    again: false,
  });
});

it("state keeps Map, Set, Date, BigInt and typed arrays over a sleep, changed in place", async ({ client, key }) => {
  const handle = client.api.getOrCreate([key()]);
  assert.deepEqual(await handle.kinds(), { map: true, date: 86_400_000, big: 2n ** 70n, floats: [0.5, -1] });
  await handle.changeKinds();
  await sleep(await handle.resolve());
  assert.deepEqual(await handle.kinds(), { map: false, date: 5, big: 2n ** 70n + 1n, floats: [9, -1] });
});

it("c.saveState saves at once", async ({ client, key }) => {
  assert.equal(await client.api.getOrCreate([key()]).saved(), 1);
});

it("c.keepAwake gives its promise back", async ({ client, key }) => {
  assert.equal(await client.api.getOrCreate([key()]).held(), "held");
});

it("c.abortSignal is a signal", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).signal(), { kind: "AbortSignal", aborted: false });
});

it("c.log and console are there", async ({ client, key }) => {
  const answer = await client.api.getOrCreate([key()]).logged();
  assert.equal(answer ?? null, null);
});

it("the globals of the web that actors use are there", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).globals(), {
    bytes: new Uint8Array([195, 188]),
    text: "ü",
    clone: true,
    uuid: true,
    url: "http://h/b?x=1",
    header: "1",
    aborted: true,
  });
});

it("c.client calls another actor", async ({ client, key }) => {
  const other = key();
  assert.equal(await client.api.getOrCreate([key()]).other(other), 3);
  assert.equal(await client.probe.get([other]).count(), 3);
});

it("an error of another actor arrives with its code", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).otherRefuses(key()), ["user", "not_that"]);
});

it("c.name, c.key and c.actorId say who this is", async ({ client, key }) => {
  const one = key();
  const handle = client.api.getOrCreate([one]);
  assert.deepEqual(await handle.identity(), ["api", [one], await handle.resolve()]);
});

it("a Request is read as JSON, and answered with JSON", async ({ client, key }) => {
  const answer = await client.api.getOrCreate([key()]).fetch("x", { method: "POST", body: '{"a":[1,"ü"]}' });
  assert.match(answer.headers.get("content-type"), /^application\/json/);
  assert.deepEqual(await answer.json(), { a: [1, "ü"] });
});

it("c.kv works in batches and ranges", async ({ client, key }) => {
  const bytes = (text) => new TextEncoder().encode(text);
  assert.deepEqual(await client.api.getOrCreate([key()]).kvBatches(), {
    found: [bytes("two"), null],
    prefix: [["x/3", "three"], ["x/2", "two"]],
    range: [["x/2", "two"]],
    left: 0,
  });
});

it("c.request is the request of onRequest, and is undefined in an action", async ({ client, key }) => {
  const handle = client.api.getOrCreate([key()]);
  assert.equal(await (await handle.fetch("behind")).json(), "/behind");
  assert.equal(await handle.behind(), null);
});

it("a connection says whether it hibernates", async ({ client, key }) => {
  const handle = client.api.getOrCreate([key()]);
  assert.deepEqual([await handle.connect().hibernates(), await handle.hibernates()], [true, false]);
});

it("c.region and the switches of old are there", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).ofOld(), ["default", false, false]);
});

it("what the context does not have is an error", async ({ client, key }) => {
  const messages = await client.api.getOrCreate([key()]).absent();
  assert.equal(messages.length, 4);
  for (const message of messages) assert.match(message, /^c\.\w+(\(\))? is not available/);
});

it("c.cron sets, lists and deletes jobs", async ({ client, key }) => {
  const { listed, gone, history, left } = await client.api.getOrCreate([key()]).crons();
  assert.deepEqual(
    listed.map(({ name, kind, action, args }) => [name, kind, action, args]),
    [["daily", "cron", "ran", ["daily"]], ["often", "every", "ran", ["often"]]],
  );
  assert.deepEqual([gone, history, left], [[true, false], [], 1]);
});

it("c.schedule.get gives one of them", async ({ client, key }) => {
  const { found, missing } = await client.api.getOrCreate([key()]).scheduled();
  assert.deepEqual([found.action, found.args, missing], ["ran", ["one"], null]);
  assert.ok(found.runAt > Date.now());
});

it("a Response may have a stream as its body", async ({ client, key }) => {
  const answer = await client.api.getOrCreate([key()]).fetch("stream");
  assert.equal(await answer.text(), "one two three");
});

it("what is not of the web is not there", async ({ client, key }) => {
  assert.deepEqual(await client.api.getOrCreate([key()]).ofNode(), []);
});
