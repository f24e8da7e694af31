// What the cases share: a client of the published package for each case, keys that nobody else has, and waiting.
import { AssertionError } from "node:assert";
import { createClient } from "rivetkit/client";

export const encoding = process.env.TEST_ENCODING;
export const endpoint = process.env.TEST_ENDPOINT;

// Far more than any case takes: only a machine that does much else besides comes near it.
const SECONDS = 90;
export const CASES = [];
let keys = 0;

/** A case: `run` gets the client of its own, which is disposed of behind it, and `key`, which makes fresh keys. */
export function it(name, run) {
  CASES.push({
    name,
    options: { timeout: SECONDS * 1000 },
    async run(t) {
      const client = newClient();
      try {
        await run({ client, key: () => `${encoding}-${++keys}`, t });
      } finally {
        await client.dispose();
      }
    },
  });
}

export const newClient = (more = {}) => createClient({ endpoint, encoding, ...more });

/** The next value that `push` was given, in order; a case's time-out ends the wait. */
export class Inbox {
  #values = [];
  #waiting = [];

  push = (...value) => {
    const one = value.length === 1 ? value[0] : value;
    if (this.#waiting.length) this.#waiting.shift()(one);
    else this.#values.push(one);
  };

  next() {
    if (this.#values.length) return Promise.resolve(this.#values.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get length() {
    return this.#values.length;
  }
}

/** The error of a promise that is to fail: an object with group, code, message, metadata. */
export async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new AssertionError({ message: `it did not fail: ${String(value)}` });
}

/** The control plane, for what is no client's to do. */
export async function control(method, path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${endpoint}${path}`, { method, ...(body && { headers, body: JSON.stringify(body) }) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

export const snapshot = (actorId) => control("GET", `/actors/${actorId}/snapshot`);

/** Asks until it is so. */
export async function until(isSo) {
  for (;;) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function asleep(actorId) {
  await until(async () => (await snapshot(actorId)).lifecycle === "asleep");
}

/** Puts the actor to sleep from outside, as its idle time would; it sleeps when the host answers. */
export const sleep = (actorId) => control("POST", `/actors/${actorId}/sleep`);

/** Resolves with the event of a kind, once. */
export const fired = (target, kind) =>
  new Promise((resolve) => {
    const seen = (event) => {
      target.removeEventListener(kind, seen);
      resolve(event);
    };
    target.addEventListener(kind, seen);
  });
