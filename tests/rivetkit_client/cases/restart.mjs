// The host is killed and comes back; in between, the network holds who wants to connect, as a load balancer does.
import assert from "node:assert/strict";
import { failure, fired, Inbox, newClient, until } from "../support.mjs";
import { it } from "../restarts.mjs";

it("an actor has its state after a restart of the host", async ({ client, key, restarted }) => {
  const handle = client.room.getOrCreate([key()]);
  await handle.increment();
  await restarted();
  assert.equal(await handle.increment(), 2);
});

it("a connection comes back after a restart, with its subscriptions", async ({ client, key, restarted }) => {
  const one = key();
  const conn = client.room.getOrCreate([one]).connect({ name: "ada" });
  const inbox = new Inbox();
  conn.on("said", inbox.push);
  await conn.increment();
  const first = conn.connId;
  await restarted();
  await until(() => conn.connStatus === "connected" && conn.connId !== first);
  await conn.increment();
  await client.room.getOrCreate([one]).announce("said", "somebody", "again");
  assert.deepEqual(await inbox.next(), ["somebody", "again"]);
});

it("an action that is called while the host is away is carried out once it is back", async ({ client, key, restarted }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  await conn.increment();
  const away = new Inbox();
  conn.onStatusChange((status) => status === "connecting" && away.push(conn.increment()));
  await restarted();
  assert.equal(await away.next(), 2);
});

it("an action in flight fails when the host dies", async ({ client, key, restarted }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  await conn.increment();
  const waiting = failure(conn.slow(60_000, 0));
  await restarted();
  assert.ok(await waiting);
});

it("the actor learns that a connection of the old process is gone", async ({ client, key, restarted }) => {
  const conn = client.room.getOrCreate([key()]).connect({ name: "ada" });
  await conn.increment();
  await restarted();
  await until(async () => (await conn.log().catch(() => [])).includes("- ada"));
  assert.deepEqual(await conn.who(), ["ada"]);
});

it("a raw WebSocket closes when the host dies, and a new one opens", async ({ client, key, restarted }) => {
  const handle = client.probe.getOrCreate([key()]);
  const socket = await handle.webSocket("a");
  await fired(socket, "message");
  const closed = fired(socket, "close");
  await restarted();
  assert.equal((await closed).code, 1006);
  const again = await handle.webSocket("b");
  assert.equal(JSON.parse((await fired(again, "message")).data).path, "/b");
  again.close();
});

it("a handle by id holds over a restart", async ({ client, key, restarted }) => {
  const handle = await client.room.create([key()]);
  await handle.increment();
  await restarted();
  assert.equal(await client.room.getForId(await handle.resolve()).increment(), 2);
});

it("a connection whose host is not there when it comes back gives up and says so", async ({ key, restarted }) => {
  // At its own address: the host comes back at another.
  const client = newClient({ endpoint: process.env.TEST_DIRECT });
  const conn = client.room.getOrCreate([key()]).connect();
  const errors = new Inbox();
  conn.onError(errors.push);
  await conn.increment();
  await restarted();
  const error = await errors.next();
  assert.deepEqual([error.group, error.code], ["client", "connection_open_failed"]);
  await until(() => conn.connStatus === "idle");
  await client.dispose();
});
