import assert from "node:assert/strict";
import { failure, Inbox, it, sleep, until } from "../support.mjs";

it("actions in groups are called by their path", async ({ client, key }) => {
  const handle = client.hooks.getOrCreate([key()]);
  assert.equal(await handle.math.double(21), 42);
  assert.equal(await handle.action({ name: "math.deep.triple", args: [2] }), 6);
});

it("onBeforeActionResponse changes what the caller gets", async ({ client, key }) => {
  assert.deepEqual(await client.hooks.getOrCreate([key()]).wrapped(1), { wrapped: 2, by: "wrapped", args: [1] });
});

it("actionInputSchemas refuse arguments, and may change them", async ({ client, key }) => {
  const handle = client.hooks.getOrCreate([key()]);
  assert.equal(await handle.checked("7"), 7);
  const error = await failure(handle.checked("seven"));
  assert.notEqual(error.code, "action_not_found");
  assert.equal(await handle.checkedCalls(), 1);
});

it("vars are made at every start and are not kept", async ({ client, key }) => {
  const handle = client.hooks.getOrCreate([key()]);
  assert.equal(await handle.touch(), 1);
  assert.equal(await handle.touch(), 2);
  await sleep(await handle.resolve());
  assert.equal(await handle.touch(), 1);
});

it("onStateChange sees changes of nested state", async ({ client, key }) => {
  const handle = client.hooks.getOrCreate([key()]);
  await handle.push("a");
  await handle.push("b");
  assert.deepEqual(await handle.changes(), { list: ["a", "b"], seen: 2 });
});

it("connParamsSchema refuses params, and may change them", async ({ client, key }) => {
  const one = key();
  const handle = client.whole.getOrCreate([one], { params: { level: "3" } });
  assert.deepEqual(await handle.connect().level(), { level: 3 });
  const conn = client.whole.getOrCreate([one]).connect({ level: "high" });
  const errors = new Inbox();
  conn.onError(errors.push);
  assert.ok((await errors.next()).code);
  assert.deepEqual(await handle.level(), { level: 3 });
});

it("onMigrate runs at every start, before onWake", async ({ client, key }) => {
  const handle = client.whole.getOrCreate([key()], { params: { level: "1" } });
  await handle.life();
  await sleep(await handle.resolve());
  assert.deepEqual(await handle.life(), ["create", "migrate", "wake", "migrate", "wake"]);
});

it("run goes on beside the actions", async ({ client, key }) => {
  const handle = client.whole.getOrCreate([key()], { params: { level: "1" } });
  const first = await handle.ticks();
  await until(async () => (await handle.ticks()) > first + 2);
});

it("an actor with every option of RivetKit is taken", async ({ client, key }) => {
  const handle = client.whole.getOrCreate([key()], { params: { level: "1" } });
  assert.deepEqual(await handle.level(), { level: 1 });
});
