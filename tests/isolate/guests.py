"""Small guests written in the text format, most of them hostile, and the host that answers them."""

from __future__ import annotations

from wasmtime import wat2wasm

from host.isolate.turn_host import NullTurnHost

__all__ = ["ECHO", "IMPORTS", "Host", "guest", "wasm"]

IMPORTS = """
  (import "isolate" "host_call" (func $host_call (param i32 i32 i32 i32) (result i32)))
  (import "isolate" "host_read" (func $host_read (param i32 i32) (result i32)))
  (import "isolate" "interrupted" (func $interrupted (result i32)))
"""


def wasm(text: str) -> bytes:
    return bytes(wat2wasm(text))


def guest(
    deliver: str,
    *,
    imports: str = IMPORTS,
    memory: str = "2",
    alloc: str = "i32.const 1024",
    more: str = "",
    locals_: str = "(local $i i32) (local $r i32)",
) -> bytes:
    """A module on the ABI whose `isolate_deliver` has this body: parameters $p and $n, an i64 as its result."""
    return wasm(
        f"""(module {imports}
  (memory (export "memory") {memory})
  {more}
  (func $pack (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  (func (export "isolate_alloc") (param $n i32) (result i32) {alloc})
  (func $deliver (export "isolate_deliver") (param $p i32) (param $n i32) (result i64) {locals_} {deliver}))"""
    )


ECHO = guest("(call $pack (local.get $p) (local.get $n))")


class Host(NullTurnHost):
    """Answers every host call with `answer`, and remembers the requests. An exception is raised instead."""

    def __init__(self, answer: bytes | int | BaseException = b'{"ok":null}') -> None:
        super().__init__(b"seed")
        self.answer = answer
        self.requests: list[bytes] = []

    def host_call(self, req: bytes) -> bytes | int:
        self.requests.append(req)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer
