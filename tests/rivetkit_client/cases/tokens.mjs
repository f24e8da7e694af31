import assert from "node:assert/strict";
import { control, endpoint, failure, Inbox, it, newClient } from "../support.mjs";

/** Runs with a client that has a token. */
const withToken = async (token, run, more = {}) => {
  const client = newClient({ token, ...more });
  try {
    await run(client);
  } finally {
    await client.dispose();
  }
};

const tenantToken = async () => (await control("POST", "/tenants/default/tokens", { scopes: ["connect"] })).token;

/** One of the host's own kind that it does not know; anything else is no token of its, and means nobody. */
const wrongToken = async () => `${(await tenantToken()).slice(0, -4)}AAAA`;

const everyWay = async (client, key) => {
  const handle = client.room.getOrCreate([key]);
  assert.equal(await handle.increment(), 1);
  assert.equal(await client.room.getForId(await handle.resolve()).increment(), 2);
  assert.equal(await handle.connect({ name: "ada" }).increment(), 3);
  assert.equal((await client.probe.getOrCreate([key]).fetch("teapot")).status, 418);
  const socket = await client.probe.getOrCreate([key]).webSocket("a");
  const inbox = new Inbox();
  socket.addEventListener("message", (event) => inbox.push(event.data));
  assert.equal(JSON.parse(await inbox.next()).path, "/a");
  socket.close();
};

it("a client with a token calls, fetches and connects", async ({ key }) => {
  await withToken(await tenantToken(), (client) => everyWay(client, key()));
});

it("a token may stand in the endpoint", async ({ key }) => {
  const address = new URL(endpoint);
  const token = await tenantToken();
  const client = newClient({ endpoint: `${address.protocol}//default:${token}@${address.host}` });
  await everyWay(client, key());
  await client.dispose();
});

it("a wrong token is refused over HTTP", async ({ key }) => {
  await withToken(await wrongToken(), async (client) => {
    const error = await failure(client.room.getOrCreate([key()]).increment());
    assert.deepEqual([error.group, error.code], ["auth", "forbidden"]);
  });
});

it("a wrong token is refused for a connection", async ({ key }) => {
  await withToken(await wrongToken(), async (client) => {
    const conn = client.room.getOrCreate([key()]).connect();
    const errors = new Inbox();
    conn.onError(errors.push);
    const action = failure(conn.increment());
    assert.ok((await errors.next()).code);
    assert.ok(await action);
    assert.notEqual(conn.connStatus, "connected");
  });
});

it("a connection token reaches the actor of its key alone", async ({ key }) => {
  const [mine, other] = [key(), key()];
  const bounds = { name: "room", key: [mine] };
  const { token } = await control("POST", "/tenants/default/connection-tokens", bounds);
  await withToken(token, async (client) => {
    assert.equal(await client.room.getOrCreate([mine]).connect().increment(), 1);
    assert.equal(await client.room.getOrCreate([mine]).increment(), 2);
    const error = await failure(client.room.getOrCreate([other]).increment());
    assert.deepEqual([error.group, error.code], ["auth", "forbidden"]);
  });
});
