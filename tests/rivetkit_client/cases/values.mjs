import assert from "node:assert/strict";
import { encoding, failure, it } from "../support.mjs";

const roundTrip = (value) => async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  assert.deepEqual(await handle.echo(value), value);
};

it("null goes there and back", roundTrip(null));
it("true and false go there and back", roundTrip([true, false, [true]]));
it("integers go there and back", roundTrip([0, -1, 255, 65536, 2 ** 31, -(2 ** 40), Number.MAX_SAFE_INTEGER]));
it("fractions go there and back", roundTrip([0.5, -1.25, 1e300, 3.141592653589793]));
it("any text goes there and back", roundTrip("grüße, 世界 \u{1f600} \u0000\n\"\\"));
it("nested objects go there and back", roundTrip({ a: { b: [{ c: null }, []], "": {} }, "a b": "x" }));
it("big integers go there and back", roundTrip({ one: 2n ** 64n, two: [-(2n ** 70n), 1n] }));
it("bytes go there and back", roundTrip({ some: new Uint8Array([0, 1, 127, 128, 255]), none: new Uint8Array() }));
it("an ArrayBuffer goes there and back; with CBOR the client sends it as bytes", async ({ client, key }) => {
  const bytes = new Uint8Array([1, 2, 3]);
  const expected = encoding === "cbor" ? bytes : bytes.buffer;
  assert.deepEqual(await client.probe.getOrCreate([key()]).echo([bytes.buffer, 1, 2]), [expected, 1, 2]);
});

it("arrays that look like a tag go there and back; with CBOR the client does not escape them", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const value = [["$BigInt", "1"], ["$$x", 2], ["$", null], ["$a", 1, 2]];
  if (encoding !== "cbor") return assert.deepEqual(await handle.echo(value), value);
  assert.deepEqual(await handle.echo([["$BigInt", "1"]]), [1n]);
  const error = await failure(handle.echo(value));
  assert.deepEqual([error.group, error.code], ["request", "invalid"]);
});

it("a Date arrives as its text, in every encoding", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  const date = new Date(1_234_567_890_123);
  assert.deepEqual(await handle.echo({ at: date }), { at: date.toISOString() });
  assert.equal(await handle.kindOf(date), "String");
});

it("undefined and a Set arrive as JSON has them, or as they are where the encoding can", async ({ client, key }) => {
  const value = { some: new Set([1, "a"]), gone: undefined };
  const expected = encoding === "json" ? { some: {} } : value;
  assert.deepEqual(await client.probe.getOrCreate([key()]).echo(value), expected);
});

it("a result that is undefined answers null", async ({ client, key }) => {
  assert.equal(await client.probe.getOrCreate([key()]).echo(undefined), null);
});

it("what no Value can hold is refused and says so", async ({ client, key }) => {
  const handle = client.probe.getOrCreate([key()]);
  // JSON turns these into something else before they leave the client.
  if (encoding === "json") return assert.deepEqual(await handle.echo([Number.NaN, new Map([["a", 1]])]), [null, {}]);
  for (const value of [Number.NaN, new Map([["a", 1]]), new Float64Array(1), /x/]) {
    const error = await failure(handle.echo(value));
    assert.deepEqual([error.group, error.code], ["request", "invalid"]);
  }
});
