import assert from "node:assert/strict";
import { failure, fired, Inbox, it } from "../support.mjs";

const open = async (client, key, path = "") => {
  const socket = await client.probe.getOrCreate([key()]).webSocket(path);
  const inbox = new Inbox();
  socket.addEventListener("message", (event) => inbox.push(event.data));
  return { socket, inbox, hello: JSON.parse(await inbox.next()) };
};

it("fetch reaches onRequest with its path and query", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("/a/b%20c?x=1&y=%20");
  assert.equal(answer.status, 201);
  const seen = await answer.json();
  assert.deepEqual([seen.method, seen.path, seen.query], ["GET", "/a/b%20c", "?x=1&y=%20"]);
});

it("fetch takes a method, headers and a body", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("thing", {
    method: "PUT",
    headers: { "x-mine": "yes" },
    body: "wörld",
  });
  assert.deepEqual(await answer.json(), { method: "PUT", path: "/thing", query: "", header: "yes", body: "wörld" });
  assert.equal(answer.headers.get("x-yours"), "seen");
});

it("fetch takes a Request", async ({ client, key }) => {
  const request = new Request("http://anything/of/mine?q=1", { method: "POST", body: "text" });
  const seen = await (await client.probe.getOrCreate([key()]).fetch(request)).json();
  assert.deepEqual([seen.method, seen.path, seen.query, seen.body], ["POST", "/of/mine", "?q=1", "text"]);
});

it("fetch takes a URL", async ({ client, key }) => {
  const seen = await (await client.probe.getOrCreate([key()]).fetch(new URL("http://x/of/yours"))).json();
  assert.equal(seen.path, "/of/yours");
});

it("fetch carries bytes both ways", async ({ client, key }) => {
  const bytes = new Uint8Array(70_000).map((_, index) => index);
  const answer = await client.probe.getOrCreate([key()]).fetch("bytes", { method: "POST", body: bytes });
  assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), bytes);
});

it("fetch gives the actor's status", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("teapot");
  assert.deepEqual([answer.status, await answer.text()], [418, "short and stout"]);
});

it("fetch keeps headers that come twice", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("twice");
  assert.equal(answer.headers.get("link"), "</a>; rel=x, </b>; rel=y");
});

it("cookies of an actor are left out", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("twice");
  assert.deepEqual(answer.headers.getSetCookie(), []);
});

it("fetch of a handle by id works too", async ({ client, key }) => {
  const handle = await client.probe.create([key()]);
  assert.equal((await handle.fetch("teapot")).status, 418);
});

it("an onRequest that throws is a masked 500", async ({ client, key }) => {
  const answer = await client.probe.getOrCreate([key()]).fetch("crash");
  assert.equal(answer.status, 500);
  assert.doesNotMatch(await answer.text(), /1234/);
});

it("an actor without onRequest answers 405", async ({ client, key }) => {
  const answer = await client.impatient.getOrCreate([key()]).fetch("x");
  assert.equal(answer.status, 405);
});

it("every answer names the actor and the ray", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const answer = await handle.fetch("teapot");
  assert.equal(answer.headers.get("x-rivet-actor"), await handle.resolve());
  assert.ok(answer.headers.get("x-rivet-ray-id"));
});

it("a raw WebSocket reaches onWebSocket with its path and query", async ({ client, key }) => {
  const { socket, hello } = await open(client, key, "/some/where?x=1");
  assert.deepEqual(hello, { path: "/some/where", query: "?x=1" });
  socket.close();
});

it("a raw WebSocket carries text and bytes in order", async ({ client, key }) => {
  const { socket, inbox } = await open(client, key);
  socket.send("one");
  socket.send(new Uint8Array([2, 0, 255]));
  socket.send("thrée");
  assert.equal(await inbox.next(), "one");
  assert.deepEqual(new Uint8Array(await inbox.next()), new Uint8Array([2, 0, 255]));
  assert.equal(await inbox.next(), "thrée");
  socket.close();
});

it("messages of a raw WebSocket are counted", async ({ client, key }) => {
  const { socket, inbox } = await open(client, key);
  for (const text of ["a", "b", "index"]) socket.send(text);
  assert.deepEqual([await inbox.next(), await inbox.next(), await inbox.next()], ["a", "b", "3"]);
  socket.close();
});

it("an actor closes a raw WebSocket with a code and a reason", async ({ client, key }) => {
  const { socket } = await open(client, key);
  const closed = fired(socket, "close");
  socket.send("close");
  const { code, reason } = await closed;
  assert.deepEqual([code, reason], [4321, "as you wish"]);
});

it("a client closes a raw WebSocket", async ({ client, key }) => {
  const { socket } = await open(client, key);
  const closed = fired(socket, "close");
  socket.close(4000, "enough");
  assert.equal((await closed).code, 4000);
});

it("a raw WebSocket of a handle by id works too", async ({ client, key }) => {
  const handle = await client.probe.create([key()]);
  const socket = await handle.webSocket("by/id");
  const inbox = new Inbox();
  socket.addEventListener("message", (event) => inbox.push(event.data));
  assert.equal(JSON.parse(await inbox.next()).path, "/by/id");
  socket.close();
});

it("an actor without onWebSocket refuses a raw WebSocket", async ({ client, key }) => {
  const socket = await client.impatient.getOrCreate([key()]).webSocket("x");
  socket.addEventListener("error", () => {});
  const { code } = await fired(socket, "close");
  assert.notEqual(code, 1000);
});

it("a queue is refused, for there are none", async ({ client, key }) => {
  const error = await failure(client.probe.getOrCreate([key()]).send("jobs", { a: 1 }));
  assert.ok(error.code);
});
