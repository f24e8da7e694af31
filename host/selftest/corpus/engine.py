"""JavaScript against its own engine: builtins replaced, the host's entry functions looked for, and values that bite."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.drives import action_fault, refused_upload, script, survived
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab, error_of

__all__ = ["CASES"]

_polluted = """
const protos = [Object.prototype, Array.prototype, String.prototype, Function.prototype, Promise.prototype,
  Map.prototype];
const names = ['toJSON', 'group', 'code', 'settled', 'pending', 'event', 'error', 'result', 'type', 'id', 'args',
  'conn'];
for (let i = 0; i < protos.length; i++) for (let k = 0; k < names.length; k++)
  try {
    Object.defineProperty(protos[i], names[k], { get() { return undefined; }, set() {}, configurable: true });
  } catch {}
const owners = [JSON, JSON, Object, Reflect, Array, Array.prototype, Array.prototype, String.prototype, Map.prototype,
  Promise, globalThis, globalThis, Array.prototype];
const builtins = ['parse', 'stringify', 'keys', 'apply', 'isArray', 'push', 'join', 'slice', 'get', 'resolve', 'String',
  'Promise', Symbol.iterator];
for (let i = 0; i < owners.length; i++)
  try { owners[i][builtins[i]] = () => { throw new Error('replaced'); }; } catch {}
"""

_look = """
const found = [];
const seen = new Set();
const walk = (value, path, depth) => {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return;
  if (seen.has(value) || depth > 4) return;
  seen.add(value);
  for (const key of Reflect.ownKeys(value)) {
    const name = String(key);
    if (/^(native|enter|finish|call|host_call|isolate_|reseed|boot|prelude|load|__dormice)/.test(name)
        && path === 'globalThis') found.push(`${path}.${name}`);
    let inner; try { inner = value[key]; } catch { continue; }
    walk(inner, `${path}.${name}`, depth + 1);
  }
};
walk(globalThis, 'globalThis', 0);
for (const name of ['native', 'enter', 'finish', 'std', 'os', 'bjs', 'scriptArgs', 'print', 'WebAssembly', 'process'])
  try { if ((0, eval)(`typeof ${name}`) !== 'undefined') found.push(name); } catch {}
for (const name of ['native', 'enter', 'inTurn', 'settled', 'sockets', 'call'])
  try { if (new Function(`return typeof ${name}`)() !== 'undefined') found.push(`Function:${name}`); } catch {}
return found;
"""


@script("engine/odd-throws", "whatever is thrown", "action", "masked; the actor goes on", ("events_failed", "errors"))
async def _throws(lab: Lab) -> str:
    body = """const odd = [null, undefined, 0, 'secret', Symbol('secret'), 10n ** 50n, () => 'secret',
      new Proxy({}, {}),
      new Proxy(new Error('secret'), { get() { throw 1; }, getPrototypeOf() { throw 2; } }),
      Object.create(null), new Error('secret '.repeat(300000)),
      Object.assign(new Error('x'), { stack: 'secret'.repeat(100000) }),
      { group: 'auth', code: 'forbidden', message: 'secret' },
      new UserError('m'.repeat(2000000), { code: 'c'.repeat(100000) }),
      new UserError('ok', { code: { toString() { throw new Error('secret'); } }.x, metadata: 'm'.repeat(1100000) }),
      Promise.reject('secret'), new AggregateError([new Error('secret')], 'secret')];
      throw odd[args[0]];"""
    await lab.deploy(js_guest(body), limits={"turn_deadline": 5_000})
    actor = await lab.actor()
    told = set()
    for number in range(17):
        answer = await lab.call(actor, "go", number)
        if answer.status_code == 503:  # three faults of different events: the actor rests for a moment
            check(error_of(answer)["name"] == "actor/start_failed", answer.text)
            continue
        error = error_of(answer)
        check(error["group"] in ("internal", "user", "guest", "message"), f"{number} was answered {answer.text[:200]}")
        check("secret" not in answer.text, f"{number} is not masked: {answer.text[:200]}")
        check(len(answer.content) < 1_200_000, f"{number} was answered with {len(answer.content)} bytes")
        told.add(error["name"])
    return ", ".join(sorted(told)[:5])


@script("engine/no-actor-sees-another", "isolates share nothing", "action", "globals of one actor are not another's")
async def _apart(lab: Lab) -> str:
    body = "const was = globalThis.mark ?? null; globalThis.mark = c.actorId; Array.prototype.leak = was; return was;"
    await lab.deploy(js_guest(body))
    for key in ("a", "b", "c"):
        check(await lab.output(await lab.actor(key), "go") is None, "an actor sees another's globals")
    return "apart"


@script("engine/random-streams", "no two starts share randomness", "action", "all different")
async def _random(lab: Lab) -> str:
    body = "return [Math.random(), c.random(), ...crypto.getRandomValues(new Uint8Array(8))].join();"
    await lab.deploy(js_guest(body, top="const early = Math.random();"))
    seen = set()
    for key in ("a", "b", "c"):
        actor = await lab.actor(key)
        for _ in range(3):
            seen.add(await lab.output(actor, "go"))
            await lab.sleep(actor)
    check(len(seen) == 9, f"{9 - len(seen)} repeat")
    return "9 of 9 differ"


CASES: tuple[Case, ...] = (
    survived(
        "engine/prototypes-polluted-at-top-level",
        "the prelude holds",
        "return { a: [1, 'x'], b: { c: args.length } };",
        lambda result: result == {"a": [1, "x"], "b": {"c": 0}},
        top=_polluted,
    ),
    survived("engine/entry-functions", "the host's doors are hidden", _look, lambda result: result == []),
    survived(
        "engine/constructor-of-everything",
        "the host's doors are hidden",
        "const F = (() => {}).constructor; const G = Object.getPrototypeOf(async () => {}).constructor;"
        "return [F('return typeof native')(), await G('return typeof inTurn')(), typeof F('return this')().std];",
        lambda result: result == ["undefined", "undefined", "undefined"],
    ),
    survived(
        "engine/imports",
        "nothing is imported",
        "const told = []; for (const m of ['fs', 'os', 'std', 'http://127.0.0.1/', 'file:///etc/passwd', '../x.js'])"
        " try { await import(m); told.push(m); } catch { } return told;",
        lambda result: result == [],
    ),
    survived(
        "engine/shared-memory-and-waiting",
        "no threads",
        (
            "try { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e9); return 'waited'; } "
            "catch { return 'no'; }"
        ),
        lambda result: result == "no",
    ),
    survived(
        "engine/time-stands-still",
        "no clock to measure with",
        (
            "const a = Date.now(), b = performance.now(); for (let i = 0; i < 3e5; i++); return [Date.now() "
            "- a, performance.now() - b];"
        ),
        lambda result: result == [0, 0],
    ),
    action_fault(
        "engine/finalizers",
        "no code behind a turn",
        (
            "globalThis.r = new FinalizationRegistry(() => { for (;;) {} }); for (let i = 0; i < 1000; i++) "
            "r.register({}, i);"
        ),
        "guest/deadline",
    ),
    survived(
        "engine/detached-buffers",
        "buffers are checked",
        "const b = new ArrayBuffer(64); const v = new Uint8Array(b); structuredClone(b, { transfer: [b] });"
        "try { await c.kv.put('k', v); } catch {} return 'fine';",
        lambda result: result == "fine",
    ),
    survived(
        "engine/shrinking-getter",
        "buffers are checked",
        (
            "const a = [1, 2, 3]; Object.defineProperty(a, 0, { get() { a.length = 0; return 1; } }); try { "
            "return a; } catch { return 0; }"
        ),
    ),
    survived(
        "engine/state-that-lies",
        "state is a value",
        (
            "let n = 0; try { c.state.liar = { toJSON() { return n++; }, get x() { return n++; } }; } catch "
            "{} return 'fine';"
        ),
    ),
    action_fault(
        "engine/result-that-is-no-value", "results are values", "return Symbol('x');", "internal/internal_error"
    ),
    action_fault(
        "engine/promise-that-lies",
        "promises are the engine's own",
        "return { then(ok) { for (;;) ok(1); } };",
        "guest/deadline",
        "internal/internal_error",
    ),
    refused_upload("engine/top-level-throws", "top-level code is tried", "throw new Error('no');", "module/js_threw"),
    refused_upload("engine/top-level-throws-nothing", "top-level code is tried", "throw null;", "module/js_threw"),
    refused_upload(
        "engine/top-level-imports", "nothing is imported", "import 'fs';", "module/js_threw", "module/js_syntax"
    ),
    refused_upload(
        "engine/top-level-randomness",
        "top-level code is the same for all",
        "crypto.getRandomValues(new Uint8Array(4));",
        "module/js_threw",
    ),
    refused_upload(
        "engine/top-level-timers", "top-level code is the same for all", "setTimeout(() => {}, 1);", "module/js_threw"
    ),
    refused_upload(
        "engine/no-actor", "a module is an actor", "export default 42;", "module/no_actor", "module/js_threw"
    ),
    refused_upload(
        "engine/default-export-that-lies",
        "a module is an actor",
        "export default new Proxy({}, { get() { throw new Error('x'); }, ownKeys() { throw 1; } });",
        "module/no_actor",
        "module/js_threw",
    ),
    refused_upload("engine/source-that-is-not-utf-8", "source is UTF-8", "// \udcff", "module/js_syntax"),
    _throws,
    _apart,
    _random,
)
