"""Guests that loop, grow, recurse or tamper: the instance ends in a way that the host can tell, or goes on unharmed."""

from __future__ import annotations

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.guest import EXIT_BUG, EXIT_INTERRUPTED, EXIT_MEMORY, GuestExit

LOOPS = """const spin = () => { for (;;) {} };
export default { actions: {
  sync() { spin(); },
  async job() { await null; spin(); },
  caught() { try { spin(); } catch (e) { return "caught"; } finally { globalThis.ran = 1; } },
  micro() { const f = () => Promise.resolve().then(f); f(); },
  regexp() { return /^(a+)+$/.test("a".repeat(40) + "b"); },
  prepare() { Error.prepareStackTrace = () => { for (;;) {} }; spin(); },
} }"""


@pytest.mark.parametrize("action", ["sync", "job", "caught", "micro", "regexp", "prepare"])
def test_an_endless_loop_ends_when_the_host_says_so(new_guest: NewGuest, action: str) -> None:
    guest = new_guest(LOOPS)
    guest.host.interrupt = True
    with pytest.raises(GuestExit) as caught:
        guest.action(action)
    assert caught.value.code == EXIT_INTERRUPTED
    assert "the time of the turn is up" in caught.value.stderr
    if action in ("sync", "job"):
        assert "at spin (actor.js:1:" in caught.value.stderr


def test_an_endless_top_level_ends_too(bare_guest: NewGuest) -> None:
    guest = bare_guest()
    guest.host.interrupt = True
    with pytest.raises(GuestExit) as caught:
        guest.load("for (;;) {}")
    assert caught.value.code == EXIT_INTERRUPTED


def test_a_short_turn_does_not_ask(new_guest: NewGuest) -> None:
    guest = new_guest("export default { actions: { go: () => 1 } }")
    guest.host.asked = 0
    guest.action("go")
    assert guest.host.asked == 0


@pytest.mark.parametrize(
    "body",
    [
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20))",
        "let s = 'x'; for (;;) s = s + s.toUpperCase()",
        "const a = []; for (;;) a.push({ a: {} })",
    ],
)
def test_growing_without_bound_ends_the_instance_even_if_it_is_caught(new_guest: NewGuest, body: str) -> None:
    guest = new_guest(
        "export default { actions: { go() { try { " + body + " } catch (e) { return 'caught' } } } }", heap=8 << 20
    )
    with pytest.raises(GuestExit) as caught:
        guest.action("go")
    assert caught.value.code == EXIT_MEMORY


def test_the_memory_limit_of_the_store_ends_the_instance(new_guest: NewGuest) -> None:
    source = "export default { actions: { go() { try { new ArrayBuffer(64 << 20) } catch (e) { return e.name } } } }"
    guest = new_guest(source, memory=16 << 20)
    with pytest.raises(GuestExit) as caught:
        guest.action("go")
    assert caught.value.code == EXIT_MEMORY


@pytest.mark.parametrize("frame", [b"", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{]", b"\x02\0\0\0{}\x09\0\0\0x"])
def test_a_frame_that_cannot_be_read_ends_the_instance_as_a_bug(new_guest: NewGuest, frame: bytes) -> None:
    guest = new_guest("export default { actions: {} }")
    ptr = guest.call("isolate_alloc", len(frame))
    guest.write(ptr, frame)
    with pytest.raises(GuestExit) as caught:
        guest.call("isolate_deliver", ptr, len(frame))
    assert caught.value.code == EXIT_BUG


def test_deep_recursion_is_an_error_that_can_be_caught(new_guest: NewGuest) -> None:
    source = """const f = (n) => 1 + f(n + 1);
    export default { actions: {
      go() { try { return f(0) } catch (e) { return e.name } },
      die: () => f(0),
      ok: () => 1,
    } }"""
    guest = new_guest(source)
    assert guest.action("go").result == "RangeError"
    assert guest.action("die").error["message"].startswith("RangeError: Maximum call stack")
    assert guest.action("ok").result == 1


TAMPER = """
const protos = [Object, Array, Map, Set, WeakSet, Promise, String, RegExp, Function,
  Object.getPrototypeOf(Uint8Array)].map((k) => k.prototype);
const { ownKeys } = Reflect, { getOwnPropertyDescriptor, defineProperty } = Object, text = String;
for (let i = 0; i < protos.length; i++) {
  const keys = ownKeys(protos[i]);
  for (let k = 0; k < keys.length; k++) {
    const d = getOwnPropertyDescriptor(protos[i], keys[k]);
    if (keys[k] === "constructor" || !d.configurable || typeof d.value !== "function") continue;
    d.value = () => { throw new Error("tampered " + text(keys[k])); };
    defineProperty(protos[i], keys[k], d);
  }
}
"""

SETTERS = """
for (const key of ["error", "event", "result", "settled", "pending", "ok", "then", "0", "1", "id", "body",
  "before", "input", "params", "toJSON", "text", "data"])
  Object.defineProperty(Object.prototype, key,
    { get() { return key === "then" || key === "toJSON" ? undefined : "evil"; }, set(v) {}, configurable: true });
"""

GLOBALS = """
for (const name of ["JSON", "Promise", "Map", "Set", "Array", "Object", "Reflect", "Error", "TypeError", "Date",
  "String", "Number", "Uint8Array", "Math", "URL", "Headers", "Request"])
  globalThis[name] = () => { throw new Error("tampered " + name); };
"""

BODY = """
export default { state: { n: 0 }, actions: {
  async add(c, n) {
    await null;
    c.state.n += n;
    await c.kv.put("k", "v");
    return { n: c.state.n, v: await c.kv.get("k") };
  },
  fail() { throw "no"; },
}, onMessage(conn, data) { conn.send(data); } };
"""


@pytest.mark.parametrize("harm", [TAMPER, SETTERS, GLOBALS])
def test_tampering_with_builtins_does_not_break_the_bridge(new_guest: NewGuest, harm: str) -> None:
    guest = new_guest(harm + BODY)
    settled = guest.action("add", 2)
    assert settled.error is None, settled.error
    assert settled.result == {"n": 2, "v": "v"}
    assert guest.host.state == {"n": 2}
    assert guest.action("fail").error["message"] == "no"
    assert guest.open().error is None
    assert guest.message("hi").error is None
    assert guest.host.sent == [("c1", "hi")]
    assert guest.pending == 0


def test_a_getter_on_the_array_prototype_is_no_way_in(new_guest: NewGuest) -> None:
    harm = """Object.defineProperty(Array.prototype, 0,
      { set(v) { globalThis.stolen = v }, get() { return "evil" }, configurable: true });"""
    guest = new_guest(harm + BODY)
    assert guest.action("add", 1).result == {"n": 1, "v": "v"}


def test_many_turns_do_not_grow_the_heap(new_guest: NewGuest) -> None:
    guest = new_guest(BODY)
    guest.open()
    for i in range(300):
        guest.message("x" * 200, index=i + 1)
    guest.call("gc")
    before = guest.call("heap_used")
    for i in range(300):
        guest.message("x" * 200, index=i + 301)
    guest.call("gc")
    assert guest.call("heap_used") - before < 4096
