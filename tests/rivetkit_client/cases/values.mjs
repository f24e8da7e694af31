import assert from "node:assert/strict";
import { it } from "../support.mjs";

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
it("an ArrayBuffer goes there and back", roundTrip([new Uint8Array([1, 2, 3]).buffer, 1, 2]));
it("arrays that look like a tag go there and back", roundTrip([["$BigInt", "1"], ["$$x", 2], ["$", null], ["$a", 1, 2]]));
