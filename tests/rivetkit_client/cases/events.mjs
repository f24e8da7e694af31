import assert from "node:assert/strict";
import { failure, Inbox, it } from "../support.mjs";

/** A connection that is subscribed to an event: what it has asked for before is in force once an action is answered. */
const listening = async (client, key, name, params) => {
  const conn = client.room.getOrCreate([key]).connect(params);
  const inbox = new Inbox();
  const stop = conn.on(name, inbox.push);
  await conn.increment();
  return { conn, inbox, stop };
};

it("an event reaches who subscribed to it, with all its arguments", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "said", { name: "ada" });
  await conn.say("hello");
  assert.deepEqual(await inbox.next(), ["ada", "hello"]);
});

it("an event without arguments is an event", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "ping");
  await conn.announce("ping");
  assert.deepEqual(await inbox.next(), []);
});

it("an event reaches every subscriber", async ({ client, key }) => {
  const one = key();
  const all = await Promise.all(["a", "b", "c"].map((name) => listening(client, one, "said", { name })));
  await all[0].conn.say("hi");
  for (const { inbox } of all) assert.deepEqual(await inbox.next(), ["a", "hi"]);
});

it("an event does not reach who did not subscribe", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "said");
  await conn.announce("other", 1);
  await conn.say("this");
  assert.deepEqual((await inbox.next())[1], "this");
  assert.equal(inbox.length, 0);
});

it("once hears an event once", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const [once, every] = [new Inbox(), new Inbox()];
  conn.once("tick", once.push);
  conn.on("tick", every.push);
  await conn.increment();
  await conn.burst(3);
  for (const number of [0, 1, 2]) assert.equal(await every.next(), number);
  assert.equal(await once.next(), 0);
  assert.equal(once.length, 0);
});

it("who takes a subscription back hears no more", async ({ client, key }) => {
  const { conn, inbox, stop } = await listening(client, key(), "tick");
  await conn.burst(1);
  assert.equal(await inbox.next(), 0);
  stop();
  const said = new Inbox();
  conn.on("said", said.push);
  await conn.burst(5);
  await conn.say("end");
  await said.next();
  assert.equal(inbox.length, 0);
});

it("a subscription that was taken back can be made again", async ({ client, key }) => {
  const { conn, stop } = await listening(client, key(), "tick");
  stop();
  const inbox = new Inbox();
  conn.on("tick", inbox.push);
  await conn.increment();
  await conn.burst(1);
  assert.equal(await inbox.next(), 0);
});

it("events come in the order in which they were sent", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "tick");
  await conn.burst(200);
  for (let number = 0; number < 200; number += 1) assert.equal(await inbox.next(), number);
});

it("an event that an action sends comes before its answer", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "said");
  await conn.say("now");
  assert.equal(inbox.length, 1);
});

it("an event is sent to one connection alone", async ({ client, key }) => {
  const one = key();
  const [ada, bob] = await Promise.all(["ada", "bob"].map((name) => listening(client, one, "told", { name })));
  await ada.conn.tell(bob.conn.connId, "psst");
  assert.equal(await bob.inbox.next(), "psst");
  await ada.conn.tell(ada.conn.connId, "me");
  assert.equal(await ada.inbox.next(), "me");
});

it("an action answers its own connection with an event", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "whispered");
  await conn.whisper({ deep: [new Uint8Array([1, 2])] });
  assert.deepEqual(await inbox.next(), { deep: [new Uint8Array([1, 2])] });
});

it("special values travel in events", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "values");
  const values = [2n ** 70n, new Uint8Array([0, 255]), null, { ü: "\u{1f600}" }];
  await conn.announce("values", ...values);
  assert.deepEqual(await inbox.next(), values);
});

it("an event that an HTTP action sends reaches connections", async ({ client, key }) => {
  const one = key();
  const { inbox } = await listening(client, one, "tick");
  await client.room.getOrCreate([one]).burst(1);
  assert.equal(await inbox.next(), 0);
});

it("a large event arrives", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "big");
  await conn.announce("big", "x".repeat(300_000));
  assert.equal((await inbox.next()).length, 300_000);
});

it("canSubscribe lets some in", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "secret", { name: "admin" });
  await conn.announce("secret", 42);
  assert.equal(await inbox.next(), 42);
});

it("canSubscribe keeps others out, and the connection lives on", async ({ client, key }) => {
  const one = key();
  const conn = client.room.getOrCreate([one]).connect({ name: "eve" });
  const [errors, inbox, said] = [new Inbox(), new Inbox(), new Inbox()];
  await conn.ready;
  conn.onError(errors.push);
  conn.on("secret", inbox.push);
  const error = await errors.next();
  assert.ok(error.group && error.code);
  conn.on("said", said.push);
  await conn.increment();
  await conn.announce("secret", 42);
  await conn.say("still here");
  assert.deepEqual(await said.next(), ["eve", "still here"]);
  assert.equal(inbox.length, 0);
});

it("who leaves is told to those who stay", async ({ client, key }) => {
  const one = key();
  const { inbox } = await listening(client, one, "left", { name: "ada" });
  const bob = client.room.getOrCreate([one]).connect({ name: "bob" });
  await bob.ready;
  await bob.dispose();
  assert.equal(await inbox.next(), "bob");
});

it("an action that fails may have sent an event before", async ({ client, key }) => {
  const { conn, inbox } = await listening(client, key(), "tick");
  await conn.burst(1);
  await failure(conn.refuse());
  assert.equal(await inbox.next(), 0);
});
