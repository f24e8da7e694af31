import assert from "node:assert/strict";
import { ActorError, RivetError } from "rivetkit/client";
import { failure, it, until } from "../support.mjs";

it("an action gets all its arguments", async ({ client, key }) => {
  assert.deepEqual(await client.probe.getOrCreate([key()]).args(1, "b", null, [true], { c: 3 }), [1, "b", null, [true], { c: 3 }]);
});

it("an action without arguments gets none", async ({ client, key }) => {
  assert.deepEqual(await client.probe.getOrCreate([key()]).args(), []);
});

it("an action that returns nothing gives undefined or null", async ({ client, key }) => {
  assert.equal((await client.probe.getOrCreate([key()]).nothing()) ?? null, null);
});

it("an action that awaits is waited for", async ({ client, key }) => {
  assert.equal(await client.probe.getOrCreate([key()]).slow(20, "done"), "done");
});

it("an action that waits does not hold up another, which may end the wait", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const waiting = handle.wait();
  await until(() => handle.release("go"));
  assert.equal(await waiting, "go");
});

it("fifty actions at once are each carried out once", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const answers = await Promise.all(Array.from({ length: 50 }, () => handle.increment()));
  assert.deepEqual(answers.toSorted((a, b) => a - b), Array.from({ length: 50 }, (_, n) => n + 1));
});

it("a UserError keeps its code, message and metadata", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).refuse());
  assert.ok(error instanceof ActorError && error instanceof RivetError);
  assert.deepEqual(
    [error.group, error.code, error.message, error.metadata],
    ["user", "not_that", "not that one", { tried: 3, why: ["a", null] }],
  );
});

it("a UserError without a code has the code user_error", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).refuseShortly());
  assert.deepEqual([error.group, error.code, error.message], ["user", "user_error", "no"]);
});

it("an error that is thrown later is an error all the same", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).refuseLater());
  assert.deepEqual([error.group, error.code, error.message], ["user", "late", "too late"]);
});

it("any other error is masked, and names the ray of the log line", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).crash());
  assert.equal(error.code, "internal_error");
  assert.doesNotMatch(`${error.stack} ${JSON.stringify(error)}`, /1234/);
  assert.match(error.rayId, /^[0-9a-f-]{8,}$/);
});

it("an actor goes on after an action that threw", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.increment();
  await failure(handle.crash());
  assert.equal(await handle.increment(), 2);
});

it("an action that the actor does not have is actor/action_not_found", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).nope());
  assert.deepEqual([error.group, error.code], ["actor", "action_not_found"]);
});

it("an action that takes too long is actor/action_timed_out", async ({ client, key }) => {
  const error = await failure(client.impatient.getOrCreate([key()]).slow(5_000));
  assert.deepEqual([error.group, error.code], ["actor", "action_timed_out"]);
});

it("a signal gives an action up", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.count();
  const stop = new AbortController();
  const waiting = failure(handle.action({ name: "slow", args: [10_000], signal: stop.signal }));
  setTimeout(() => stop.abort(), 50);
  assert.ok(await waiting);
  assert.equal(await handle.increment(), 1);
});

it("half a megabyte goes in as an argument", async ({ client, key }) => {
  assert.equal(await client.probe.getOrCreate([key()]).length("x".repeat(500_000)), 500_000);
});

it("half a megabyte comes out as a result", async ({ client, key }) => {
  assert.equal((await client.probe.getOrCreate([key()]).repeat("0123456789", 50_000)).length, 500_000);
});

it("half a megabyte of bytes goes there and back", async ({ client, key }) => {
  const bytes = new Uint8Array(500_000).map((_, index) => index * 7);
  assert.deepEqual(await client.probe.getOrCreate([key()]).echo(bytes), bytes);
});

it("arguments over the limit are refused and say so", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).length("x".repeat(2_000_000)));
  assert.deepEqual([error.group, error.code], ["request", "too_large"]);
});

it("a result over the limit is refused and says so", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const error = await failure(handle.repeat("0123456789", 200_000));
  assert.deepEqual([error.group, error.code], ["message", "outgoing_too_long"]);
  assert.equal(await handle.increment(), 1);
});

it("an action that does not wait for a ready actor is carried out", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.count();
  assert.equal(await handle.action({ name: "increment", args: [2], skipReadyWait: true }), 2);
});
