// Makes vectors.json: what the npm package `rivetkit` writes, and what it reads of what this host writes.
//
//   npm install --ignore-scripts rivetkit@2.3.19 esbuild@0.25
//   python -m tests.wire.frames.ours > ours.json
//   node make_vectors.mjs node_modules ours.json > vectors.json

import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { resolve } from "node:path";

const modules = resolve(process.argv[2]);
const source = `${modules}/rivetkit/src`;
const { buildSync } = createRequire(`${modules}/`)("esbuild");
const entry = `
  export * from "@/common/client-protocol-versioned";
  export * from "@/common/client-protocol-zod";
  export { encodeJsonCompatValue } from "@/common/encoding";
  export * from "@/serde";
`;
const outfile = `${mkdtempSync(`${tmpdir()}/vectors-`)}/rivetkit.cjs`;
buildSync({
  stdin: { contents: entry, resolveDir: source, loader: "ts" },
  alias: { "@": source },
  nodePaths: [modules],
  bundle: true,
  outfile,
  format: "cjs",
  platform: "node",
});
const rk = createRequire(outfile)(outfile);

const ENCODINGS = ["json", "cbor", "bare"];
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const data = (out) => (typeof out === "string" ? { text: out } : { hex: hex(out) });
const buffer = (value) => Uint8Array.from(rk.encodeCborCompat(value)).buffer;
const shown = (value) => JSON.stringify(rk.encodeJsonCompatValue(value));

// args of actions; `only` where an encoding cannot carry them as they are
const ARGS = [
  { args: [] },
  { args: [1, -1, 0.5, true, null, "text", ""] },
  { args: [2 ** 31, 2 ** 32, 2 ** 40 + 1, -(2 ** 32), -(2 ** 33), 2 ** 53 - 1, 1e300, -2.5] },
  { args: [{ a: { b: [1, [2, [3]]] }, "ключ": "значение 🐭" }] },
  { args: [10n, -10n, 2n ** 64n - 1n, 2n ** 53n + 1n], },
  { args: [2n ** 70n, -(2n ** 65n)], only: ["json", "bare"] },
  { args: [new Uint8Array([1, 2, 255])] },
  { args: [new Uint8Array([7, 8]).buffer], only: ["json", "bare"] },
  { args: [undefined, { u: undefined }], only: ["cbor", "bare"] },
  { args: [new Set([1, "a", [2]])], only: ["cbor", "bare"] },
  { args: [["$dollar", 1], ["$$more", 2], ["$three", 1, 2]], only: ["json", "bare"] },
  { args: ["$first", 1], only: ["json", "bare"] },
  { args: ["x".repeat(300), Array.from({ length: 30 }, (_, i) => i)] },
];

function toServer(encoding, message, version = rk.CURRENT_VERSION) {
  return rk.serializeWithEncoding(
    encoding, message, rk.CLIENT_PROTOCOL_TO_SERVER, version, rk.ToServerSchema,
    (msg) => msg,
    (msg) =>
      msg.body.tag === "ActionRequest"
        ? { body: { tag: "ActionRequest", val: { ...msg.body.val, args: buffer(msg.body.val.args) } } }
        : msg,
  );
}

function toClient(encoding, body, version = rk.CURRENT_VERSION) {
  return rk.serializeWithEncoding(
    encoding, { body }, rk.CLIENT_PROTOCOL_TO_CLIENT, version, rk.ToClientSchema,
    (msg) => msg,
    ({ body: { tag, val } }) => {
      if (tag === "ActionResponse") return { body: { tag, val: { id: val.id, output: buffer(val.output) } } };
      if (tag === "Event") return { body: { tag, val: { name: val.name, args: buffer(val.args) } } };
      if (tag === "Error") {
        const metadata = val.metadata === undefined ? null : buffer(val.metadata);
        const actor = val.actor && { ...val.actor, generation: BigInt(val.actor.generation), key: val.actor.key ?? null };
        return { body: { tag, val: { ...val, metadata, actor: actor ?? null } } };
      }
      return { body: { tag, val } };
    },
  );
}

const vectors = { actions: [], subscriptions: [], frames: [], bodies: [], read: [] };

let next = 0n;
for (const { args, only } of ARGS) {
  for (const encoding of only ?? ENCODINGS) {
    const id = [0n, 5n, 200n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n][Number(next++ % 6n)];
    const body = { tag: "ActionRequest", val: { id, name: "act", args } };
    for (const version of encoding === "bare" ? [1, 2, 3, 4] : [4]) {
      vectors.actions.push({ encoding, id: String(id), name: "act", args: shown(args), ...data(toServer(encoding, { body }, version)) });
    }
    const request = rk.serializeWithEncoding(
      encoding, args, rk.HTTP_ACTION_REQUEST_VERSIONED, 4, rk.HttpActionRequestSchema,
      (value) => ({ args: value }), (value) => ({ args: buffer(value) }),
    );
    vectors.bodies.push({ kind: "action_request", encoding, value: shown(args), ...data(request) });
    const result = rk.serializeWithEncoding(
      encoding, args, rk.HTTP_ACTION_RESPONSE_VERSIONED, 4, rk.HttpActionResponseSchema,
      (value) => ({ output: value }), (value) => ({ output: buffer(value) }),
    );
    vectors.bodies.push({ kind: "action_result", encoding, value: shown(args), ...data(result) });
    const message = { body: args, wait: true, timeout: 1500, name: "q" };
    const sent = rk.serializeWithEncoding(
      encoding, message, rk.HTTP_QUEUE_SEND_REQUEST_VERSIONED, 4, rk.HttpQueueSendRequestSchema,
      (value) => value, (value) => ({ ...value, body: buffer(value.body), timeout: BigInt(value.timeout) }),
    );
    vectors.bodies.push({ kind: "queue_send", encoding, value: shown(args), ...data(sent) });
    const answer = rk.serializeWithEncoding(
      encoding, { status: "completed", response: args }, rk.HTTP_QUEUE_SEND_RESPONSE_VERSIONED, 4, rk.HttpQueueSendResponseSchema,
      (value) => value, (value) => ({ status: value.status, response: buffer(value.response) }),
    );
    vectors.bodies.push({ kind: "queue_sent", encoding, value: shown(args), ...data(answer) });
  }
}

for (const encoding of ENCODINGS) {
  for (const [eventName, subscribe] of [["news", true], ["новости", false], ["x".repeat(200), true]]) {
    const body = { tag: "SubscriptionRequest", val: { eventName, subscribe } };
    vectors.subscriptions.push({ encoding, event: eventName, on: subscribe, ...data(toServer(encoding, { body })) });
  }
  const frames = [
    { tag: "Init", val: { actorId: "actor-1", connectionId: "conn-1" } },
    { tag: "ActionResponse", val: { id: 300n, output: { count: 3, when: 1700000000000, big: 12n } } },
    { tag: "Event", val: { name: "news", args: [1, { a: "b" }] } },
    { tag: "Error", val: { group: "user", code: "full", message: "The room is full", metadata: { max: 8 }, actionId: 7n } },
    { tag: "Error", val: { group: "actor", code: "not_found", message: "Gone", actionId: null } },
    {
      tag: "Error",
      val: { group: "g", code: "c", message: "m", actionId: 2n ** 40n, actor: { actorId: "actor-1", generation: 3, key: "a/b" } },
    },
  ];
  for (const body of frames) {
    for (const version of encoding === "bare" ? [1, 2, 3, 4] : [4]) {
      // versions before the fourth do not say whose error it is
      const val = { ...body.val };
      if (version < 4) delete val.actor;
      vectors.frames.push({ encoding, tag: body.tag, val: shown(val), ...data(toClient(encoding, body, version)) });
    }
  }
}

const bareValue = (bytes) => (bytes ? rk.decodeCborCompat(new Uint8Array(bytes)) : undefined);
for (const ours of JSON.parse(readFileSync(process.argv[3], "utf8"))) {
  const given = ours.text ?? new Uint8Array(Buffer.from(ours.hex, "hex"));
  let seen;
  if (ours.kind === "frame") {
    seen = rk.deserializeWithEncoding(
      ours.encoding, given, rk.CLIENT_PROTOCOL_TO_CLIENT, rk.ToClientSchema,
      (msg) => msg.body,
      ({ body: { tag, val } }) => ({
        tag,
        val: {
          ...val,
          ...("output" in val ? { output: bareValue(val.output) } : {}),
          ...("args" in val ? { args: bareValue(val.args) } : {}),
          ...("metadata" in val ? { metadata: bareValue(val.metadata) } : {}),
        },
      }),
    );
  } else if (ours.kind === "action_result") {
    seen = rk.deserializeWithEncoding(
      ours.encoding, given, rk.HTTP_ACTION_RESPONSE_VERSIONED, rk.HttpActionResponseSchema,
      (json) => json.output, (bare) => bareValue(bare.output),
    );
  } else {
    seen = rk.deserializeWithEncoding(
      ours.encoding, given, rk.HTTP_RESPONSE_ERROR_VERSIONED, rk.HttpResponseErrorSchema,
      (json) => json, (bare) => ({ ...bare, metadata: bareValue(bare.metadata) }),
    );
  }
  vectors.read.push({ ...ours, seen: shown(seen) });
}

process.stdout.write(`{\n${Object.entries(vectors).map(([name, rows]) =>
  ` ${JSON.stringify(name)}: [\n${rows.map((row) => `  ${JSON.stringify(row)}`).join(",\n")}\n ]`).join(",\n")}\n}\n`);
