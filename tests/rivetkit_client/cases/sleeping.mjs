import assert from "node:assert/strict";
import { asleep, fired, Inbox, it, sleep, snapshot } from "../support.mjs";

it("an actor that sleeps is woken by an action, with its state", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.increment(5);
  await sleep(await handle.resolve());
  assert.equal(await handle.increment(), 6);
});

it("an actor puts itself to sleep", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.increment();
  await handle.sleep();
  await asleep(await handle.resolve());
  assert.equal(await handle.count(), 1);
});

it("an actor that sleeps is woken by a fetch", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  await handle.count();
  await sleep(await handle.resolve());
  assert.equal((await handle.fetch("teapot")).status, 418);
});

it("a raw WebSocket stays open while its actor sleeps, and a message wakes it", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const socket = await handle.webSocket("here");
  const inbox = new Inbox();
  socket.addEventListener("message", (event) => inbox.push(event.data));
  await inbox.next();
  socket.send("one");
  assert.equal(await inbox.next(), "one");
  const id = await handle.resolve();
  await sleep(id);
  const [before] = (await snapshot(id)).connections;
  socket.send("two");
  socket.send("index");
  assert.deepEqual([await inbox.next(), await inbox.next()], ["two", "3"]);
  const [after] = (await snapshot(id)).connections;
  assert.equal(after.conn_id, before.conn_id);
  assert.equal(inbox.length, 0, "no second hello");
  socket.close();
});

it("a raw WebSocket that closes while its actor sleeps is told to the actor", async ({ client, key }) => {
  const handle = client.sleeper.getOrCreate([key()]);
  const socket = await handle.webSocket("");
  await fired(socket, "open");
  await handle.opened();
  await sleep(await handle.resolve());
  const closed = fired(socket, "close");
  socket.close(4001, "bye");
  await closed;
  let seen;
  do seen = await handle.closed();
  while (seen.length === 0);
  assert.deepEqual(seen, [4001]);
});

it("onWebSocket runs again at a wake, and open fires only for a new socket", async ({ client, key }) => {
  const handle = client.sleeper.getOrCreate([key()]);
  const socket = await handle.webSocket("");
  await fired(socket, "open");
  await handle.opened();
  await sleep(await handle.resolve());
  assert.deepEqual(await handle.opened(), { runs: 2, opens: 1 });
  socket.close();
});

it("onSleep and onWake run around a sleep", async ({ client, key }) => {
  const handle = client.sleeper.getOrCreate([key()]);
  await handle.opened();
  await sleep(await handle.resolve());
  assert.deepEqual(await handle.life(), ["create", "wake", "sleep", "wake"]);
});

it("an actor that destroys itself is gone, and its key makes a new one", async ({ client, key }) => {
  const one = key();
  const handle = client.probe.getOrCreate([one]);
  await handle.increment(3);
  const id = await handle.resolve();
  await handle.destroy();
  const again = client.probe.getOrCreate([one]);
  assert.equal(await again.count(), 0);
  assert.notEqual(await again.resolve(), id);
});

it("a destroyed id stays gone", async ({ client, key }) => {
  const handle = await client.probe.create([key()]);
  const id = await handle.resolve();
  await handle.destroy();
  await assert.rejects(client.probe.getForId(id).count(), { group: "actor", code: "not_found" });
});

it("a key may be created again after a destroy", async ({ client, key }) => {
  const one = key();
  const handle = await client.probe.create([one]);
  await handle.destroy();
  const again = await client.probe.create([one], { input: { start: 9 } });
  assert.equal(await again.count(), 9);
});

it("a destroy closes raw WebSockets with 1000 actor.destroyed", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const socket = await handle.webSocket("");
  await fired(socket, "message");
  const closed = fired(socket, "close");
  await handle.destroy();
  const { code, reason } = await closed;
  assert.equal(code, 1000);
  assert.match(reason, /^actor\.destroyed/);
});
