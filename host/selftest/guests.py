"""How the guests of the corpus are written: JavaScript around a hostile body, and Wasm text around another.

Both kinds answer the action `ok` like decent actors, so that a case can tell whether the actor goes on.
"""

from __future__ import annotations

from wasmtime import wat2wasm

__all__ = ["HOST_CALL", "WELL", "data", "js_guest", "leb", "reply", "section", "wasm_guest", "wat", "with_manifest"]

HOST_CALL = '(import "isolate" "host_call" (func $host_call (param i32 i32 i32 i32) (result i32)))'
MANIFEST = b'{"abi":1,"capabilities":["kv","state","alarm","socket","timer","sleep"]}'
STARTED = '{"settled":[{"event":1}],"pending":0}'
WELL = '{"settled":[{"event":2,"result":"well"}],"pending":0}'


def js_guest(body: str = "", *, more: str = "", top: str = "") -> str:
    """An actor whose action `go(c, ...args)` runs the body; `more` are further hooks, `top` is top-level code.

    `refusal(f)` in a body gives name and metadata of the host's error that `f` throws."""
    return f"""import {{ actor, UserError }} from "isolate";
const refusal = async (f) => {{
  try {{ await f(); }} catch (e) {{ return {{ name: `${{e.group}}/${{e.code}}`, metadata: e.metadata ?? null }}; }}
  return {{ name: "nothing was refused", metadata: null }};
}};
{top}
export default actor({{
  state: {{ n: 0 }},
  {more}
  actions: {{
    ok(c) {{ return (c.state.n += 1); }},
    async go(c, ...args) {{ {body} }},
  }},
}});
"""


def wat(text: str) -> bytes:
    return bytes(wat2wasm(text))


def data(at: int, text: str) -> str:
    """A data segment; half of a surrogate pair stands for a byte that is no UTF-8."""
    return f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in _bytes(text))}")'


def reply(at: int, text: str) -> str:
    """Wasm text: ends the turn with the reply at that place."""
    return f"(return (call $pack (i32.const {at}) (i32.const {len(_bytes(text))})))"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def wasm_guest(
    body: str,
    *,
    imports: str = HOST_CALL,
    more: str = "",
    pages: str = "2 4096",
    alloc: str = "i32.const 1024",
    locals_: str = "(local $i i32) (local $r i32)",
    manifest: bytes = MANIFEST,
    started: str = STARTED,
) -> bytes:
    """An actor that runs the body when an event holds a `!`, and answers any other with `well`.

    Its start has the event id 1, the first event behind it 2: only that one is answered right."""
    text = f"""(module {imports}
  (memory (export "memory") {pages})
  (global $started (mut i32) (i32.const 0))
  {data(60_000, started)} {data(61_000, WELL)} {more}
  (func $pack (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (func (export "isolate_alloc") (param $n i32) (result i32) {alloc})
  (func $deliver (export "isolate_deliver") (param $p i32) (param $n i32) (result i64) {locals_}
    (if (i32.eqz (global.get $started)) (then (global.set $started (i32.const 1)) {reply(60_000, started)}))
    (local.set $i (local.get $p))
    (block $none (loop $next
      (br_if $none (i32.ge_u (local.get $i) (i32.add (local.get $p) (local.get $n))))
      (if (i32.eq (i32.load8_u (local.get $i)) (i32.const {ord("!")})) (then {body}))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    {reply(61_000, WELL)}))"""
    return with_manifest(wat(text), manifest)


def leb(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def section(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + leb(len(body)) + body


def with_manifest(wasm: bytes, manifest: bytes = MANIFEST, name: bytes = b"isolate.manifest") -> bytes:
    return wasm + section(0, leb(len(name)) + name + manifest)
