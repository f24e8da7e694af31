import assert from "node:assert/strict";
import { ActorConnDisposed } from "rivetkit/client";
import { failure, Inbox, it, until } from "../support.mjs";

it("a connection becomes ready, and knows its actor and its id", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  const conn = handle.connect();
  assert.equal(conn.connStatus, "connecting");
  await conn.ready;
  assert.equal(conn.connStatus, "connected");
  assert.equal(conn.actorId, await handle.resolve());
  assert.equal((await conn.me()).id, conn.connId);
});

it("onOpen, onStatusChange and onClose tell of a connection's life", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const seen = [];
  conn.onOpen(() => seen.push("open"));
  conn.onClose(() => seen.push("close"));
  conn.onStatusChange((status) => seen.push(status));
  await conn.ready;
  await conn.increment();
  await conn.dispose();
  assert.deepEqual(seen, ["connected", "open", "idle", "close"]);
});

it("a connection makes the actor of its key", async ({ client, key }) => {
  const one = key();
  const conn = client.room.getOrCreate([one]).connect();
  await conn.ready;
  assert.equal(await client.room.get([one]).resolve(), conn.actorId);
});

it("a connection by id reaches its actor", async ({ client, key }) => {
  const handle = await client.room.create([key()]);
  const conn = handle.connect();
  assert.equal(await conn.increment(), 1);
  assert.equal(conn.actorId, await handle.resolve());
});

it("an action goes over the connection", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  assert.equal(await conn.increment(), 1);
  assert.equal(await conn.increment(), 2);
});

it("actions that are called before the connection is open are carried out in order", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect({ slow: true });
  const answers = await Promise.all([conn.increment(), conn.increment(), conn.increment()]);
  assert.deepEqual(answers, [1, 2, 3]);
});

it("a hundred actions in flight on one connection get their own answers", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const numbers = Array.from({ length: 100 }, (_, index) => index);
  assert.deepEqual(await Promise.all(numbers.map((number) => conn.echo(number))), numbers);
});

it("answers of one connection come as they are ready, and not in the order of the calls", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const order = [];
  const waiting = conn.wait().then((value) => order.push(value));
  await conn.increment().then(() => order.push("first"));
  await conn.release("second");
  await waiting;
  assert.deepEqual(order, ["first", "second"]);
});

it("an action that throws a UserError fails that action only", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const [error, value] = await Promise.all([failure(conn.refuse()), conn.slow(20, "fine")]);
  assert.deepEqual(
    [error.group, error.code, error.message, error.metadata],
    ["user", "not_that", "not that one", { tried: 3 }],
  );
  assert.equal(value, "fine");
  assert.equal(conn.connStatus, "connected");
});

it("any other error over a connection is masked", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const error = await failure(conn.crash());
  assert.equal(error.code, "internal_error");
  assert.doesNotMatch(`${error.stack} ${JSON.stringify(error)}`, /1234/);
  assert.equal(await conn.increment(), 1);
});

it("an unknown action over a connection is actor/action_not_found", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const error = await failure(conn.nope());
  assert.deepEqual([error.group, error.code], ["actor", "action_not_found"]);
  assert.equal(await conn.increment(), 1);
});

it("an action over a connection that takes too long is actor/action_timed_out", async ({ client, key }) => {
  const conn = client.impatient.getOrCreate([key()]).connect();
  const error = await failure(conn.slow(5_000));
  assert.deepEqual([error.group, error.code], ["actor", "action_timed_out"]);
});

it("half a megabyte goes there and back over a connection", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  assert.equal(await conn.length("x".repeat(500_000)), 500_000);
  assert.equal((await conn.repeat("0123456789", 50_000)).length, 500_000);
});

it("a result over the limit fails its action and leaves the connection open", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const error = await failure(conn.repeat("0123456789", 200_000));
  assert.deepEqual([error.group, error.code], ["message", "outgoing_too_long"]);
  assert.equal(await conn.increment(), 1);
});

it("special values go there and back over a connection", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  const value = { big: 2n ** 70n, bytes: new Uint8Array([0, 255]), none: null, text: "ü\u{1f600}" };
  assert.deepEqual(await conn.echo(value), value);
});

it("connection params reach createConnState and the actor", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect({ name: "ada lovelace", more: [1, { ü: null }] });
  const { state, params } = await conn.me();
  assert.equal(state.name, "ada lovelace");
  assert.deepEqual(params, { name: "ada lovelace", more: [1, { ü: null }] });
});

it("params of a handle are those of its connections", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()], { params: { name: "bob" } }).connect();
  assert.equal((await conn.me()).state.name, "bob");
});

it("getParams is asked for each connection", async ({ client, key }) => {
  let asked = 0;
  const handle = client.room.getOrCreate([key()], { getParams: async () => ({ name: `guest ${++asked}` }) });
  const [one, two] = [handle.connect(), handle.connect()];
  assert.deepEqual([(await one.me()).state.name, (await two.me()).state.name].sort(), ["guest 1", "guest 2"]);
});

it("params with quotes and signs arrive as they are", async ({ client, key }) => {
  const name = "a 'b' \"c\" *!~%20,;=";
  const conn = client.room.getOrCreate([key()]).connect({ name });
  assert.equal((await conn.me()).state.name, name);
});

it("the client itself refuses params with parentheses, which no sub-protocol may hold", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect({ name: "a (b)" });
  const errors = new Inbox();
  conn.onError(errors.push);
  const error = await errors.next();
  assert.deepEqual([error.group, error.code], ["client", "connection_open_failed"]);
  assert.match(error.message, /subprotocol/);
});

it("a connection without params has default state", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  assert.equal((await conn.me()).state.name, "somebody");
});

it("every connection has a state of its own, bytes included", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  const [one, two] = [handle.connect({ name: "one" }), handle.connect({ name: "two" })];
  await one.say("x");
  await one.say("y");
  await two.rename("three");
  const states = [(await one.me()).state, (await two.me()).state];
  assert.deepEqual(states, [
    { name: "one", said: 2, bytes: new Uint8Array([7]) },
    { name: "three", said: 0, bytes: new Uint8Array([7]) },
  ]);
});

it("the actor sees who is connected", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  const [one, two] = [handle.connect({ name: "one" }), handle.connect({ name: "two" })];
  await Promise.all([one.ready, two.ready]);
  assert.deepEqual(await one.who(), ["one", "two"]);
  await two.dispose();
  await until(async () => (await one.who()).length === 1);
});

it("onBeforeConnect, onConnect and onDisconnect run in this order", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  const conn = handle.connect({ name: "ada" });
  await conn.ready;
  await conn.dispose();
  const watcher = handle.connect({ name: "bob" });
  await until(async () => (await watcher.log()).includes("- ada"));
  const log = (await watcher.log()).filter((line) => line.endsWith("ada"));
  assert.deepEqual(log, ["? ada", "+ ada", "- ada"]);
});

it("onBeforeConnect that throws refuses the connection with its code", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  const conn = handle.connect({ name: "mallory" });
  const errors = new Inbox();
  conn.onError(errors.push);
  const action = failure(conn.increment());
  const error = await errors.next();
  assert.deepEqual([error.group, error.code], ["user", "banned"]);
  assert.equal((await action).code, "banned");
  await until(() => conn.connStatus === "idle");
  const other = handle.connect({ name: "ada" });
  assert.deepEqual(await other.who(), ["ada"]);
  assert.deepEqual(await other.log(), ["? ada", "+ ada"]);
});

it("what onConnect sends comes right behind the opening", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect({ name: "ada" });
  const inbox = new Inbox();
  conn.on("welcome", inbox.push);
  assert.deepEqual(await inbox.next(), ["ada", 1]);
});

it("the actor disconnects a connection, which comes back as a new one", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect({ name: "ada" });
  await conn.ready;
  const first = conn.connId;
  const closed = new Inbox();
  conn.onClose(() => closed.push("closed"));
  conn.kick(first, "out").catch(() => {});
  await closed.next();
  await until(() => conn.connStatus === "connected");
  assert.notEqual(conn.connId, first);
  assert.deepEqual(await conn.who(), ["ada"]);
});

it("dispose ends what waits for an answer", async ({ client, key }) => {
  const conn = client.room.getOrCreate([key()]).connect();
  await conn.ready;
  const waiting = failure(conn.slow(5_000, 0));
  await conn.dispose();
  assert.ok((await waiting) instanceof ActorConnDisposed);
  assert.equal(conn.connStatus, "idle");
  assert.ok((await failure(conn.increment())) instanceof ActorConnDisposed);
});

it("dispose of the client ends all its connections", async ({ client, key }) => {
  const conns = [client.room.getOrCreate([key()]).connect(), client.room.getOrCreate([key()]).connect()];
  await Promise.all(conns.map((conn) => conn.ready));
  await client.dispose();
  assert.deepEqual(conns.map((conn) => conn.connStatus), ["idle", "idle"]);
});

it("a connection that is disposed of before it is open leaves nothing behind", async ({ client, key }) => {
  const handle = client.room.getOrCreate([key()]);
  await handle.connect({ name: "ghost", slow: true }).dispose();
  const conn = handle.connect({ name: "ada" });
  // The client had begun to connect: it closes what it no longer wants as soon as that is open.
  await until(async () => (await conn.log()).includes("- ghost"));
  assert.deepEqual(await conn.who(), ["ada"]);
});

it("a connection to a name that is not deployed fails and says so", async ({ client, key }) => {
  const conn = client.nowhere.getOrCreate([key()]).connect();
  const errors = new Inbox();
  conn.onError(errors.push);
  assert.ok(await errors.next());
  await until(() => conn.connStatus === "idle");
});
