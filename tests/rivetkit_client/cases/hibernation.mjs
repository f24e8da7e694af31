import assert from "node:assert/strict";
import { asleep, Inbox, it, sleep, snapshot } from "../support.mjs";

const seated = async (client, key, params) => {
  const handle = client.room.getOrCreate([key]);
  const conn = handle.connect(params);
  const inbox = new Inbox();
  const statuses = [];
  conn.on("said", inbox.push);
  await conn.increment();
  conn.onStatusChange((status) => statuses.push(status));
  return { handle, conn, inbox, statuses };
};

it("a connection stays open while its actor sleeps, and an action over it wakes the actor", async ({ client, key }) => {
  const { conn, statuses } = await seated(client, key());
  const { connId, actorId } = conn;
  await sleep(actorId);
  assert.equal(conn.connStatus, "connected");
  assert.equal(await conn.increment(), 2);
  assert.deepEqual([conn.connId, conn.actorId, statuses], [connId, actorId, []]);
});

it("after a sleep there is no second opening", async ({ client, key }) => {
  const { conn } = await seated(client, key());
  let opened = 0;
  const first = new Inbox();
  conn.onOpen(() => {
    opened += 1;
    first.push(opened);
  });
  await first.next();
  await sleep(conn.actorId);
  await conn.increment();
  await sleep(conn.actorId);
  await conn.increment();
  assert.equal(opened, 1);
});

it("connect hooks do not run again at a wake", async ({ client, key }) => {
  const { conn } = await seated(client, key(), { name: "ada" });
  await sleep(conn.actorId);
  assert.deepEqual(await conn.log(), ["? ada", "+ ada"]);
});

it("subscriptions outlive a sleep", async ({ client, key }) => {
  const { conn, inbox } = await seated(client, key(), { name: "ada" });
  await sleep(conn.actorId);
  await conn.say("good morning");
  assert.deepEqual(await inbox.next(), ["ada", "good morning"]);
});

it("an event that an HTTP action sends at a wake reaches who slept", async ({ client, key }) => {
  const { handle, conn, inbox } = await seated(client, key());
  await sleep(conn.actorId);
  await handle.announce("said", "somebody", "up");
  assert.deepEqual(await inbox.next(), ["somebody", "up"]);
});

it("connection state and params outlive a sleep", async ({ client, key }) => {
  const { conn } = await seated(client, key(), { name: "ada", tag: 1 });
  await conn.say("one");
  await conn.rename("countess");
  await sleep(conn.actorId);
  assert.equal(await conn.say("two"), 2);
  const { state, params } = await conn.me();
  assert.deepEqual(state, { name: "countess", said: 2, bytes: new Uint8Array([7]) });
  assert.deepEqual(params, { name: "ada", tag: 1 });
});

it("the actor state outlives a sleep, connections and all", async ({ client, key }) => {
  const one = key();
  const [ada, bob] = await Promise.all(["ada", "bob"].map((name) => seated(client, one, { name })));
  const count = await ada.conn.increment();
  await sleep(ada.conn.actorId);
  assert.equal(await bob.conn.increment(), count + 1);
  assert.deepEqual(await ada.conn.who(), ["ada", "bob"]);
});

it("an action of the connection puts the actor to sleep, and the next wakes it", async ({ client, key }) => {
  const { conn, statuses } = await seated(client, key());
  await conn.sleep();
  await asleep(conn.actorId);
  assert.equal(await conn.increment(), 2);
  assert.deepEqual(statuses, []);
});

it("many actions sent to a sleeping actor are each carried out once", async ({ client, key }) => {
  const { conn } = await seated(client, key());
  await sleep(conn.actorId);
  const answers = await Promise.all(Array.from({ length: 20 }, () => conn.increment()));
  assert.deepEqual(answers.toSorted((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n + 2));
});

it("a subscription that is made while the actor sleeps holds", async ({ client, key }) => {
  const { conn } = await seated(client, key());
  await sleep(conn.actorId);
  const inbox = new Inbox();
  conn.on("tick", inbox.push);
  await conn.burst(1);
  assert.equal(await inbox.next(), 0);
});

it("a connection that leaves while the actor sleeps is told to the actor", async ({ client, key }) => {
  const one = key();
  const { handle, conn } = await seated(client, one, { name: "ada" });
  await sleep(conn.actorId);
  await conn.dispose();
  let log;
  do log = await handle.log();
  while (!log.includes("- ada"));
  assert.deepEqual(log.filter((line) => line.endsWith("ada")), ["? ada", "+ ada", "- ada"]);
});

it("the snapshot of a sleeping actor shows its connections", async ({ client, key }) => {
  const { conn } = await seated(client, key(), { name: "ada" });
  await sleep(conn.actorId);
  const { connections } = await snapshot(conn.actorId);
  assert.deepEqual(connections.map((each) => each.conn_id), [conn.connId]);
});

it("a destroy ends a connection, which comes back to a new actor of its key", async ({ client, key }) => {
  const { conn } = await seated(client, key());
  const gone = conn.actorId;
  const opened = new Inbox();
  await conn.ready;
  conn.onOpen(opened.push);
  await opened.next();
  conn.destroy().catch(() => {});
  await opened.next();
  assert.notEqual(conn.actorId, gone);
  assert.equal(await conn.increment(), 1);
});
