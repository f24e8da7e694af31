"""Drives one isolate of the JavaScript engine with wasmtime alone: no bridge, no storage, no event loop."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import wasmtime

from host.bridge import envelopes as env
from tests.isolate_sdk.fake_host import FakeHost
from tests.isolate_sdk.frames import Buffers, join_frame, split_frame

__all__ = ["EXIT_BUG", "EXIT_INTERRUPTED", "EXIT_MEMORY", "Guest", "GuestExit", "Settled"]

EXIT_INTERRUPTED, EXIT_MEMORY, EXIT_BUG = 101, 102, 103

JS_STACK = 512 << 10


class GuestExit(Exception):
    """The guest left through proc_exit."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"exit {code}: {stderr}")
        self.code = code
        self.stderr = stderr


class Settled(msgspec.Struct):
    """One settled event, with its result decoded and the buffers of the reply at hand."""

    event: int
    result: Any = None
    error: Any = None
    buffers: list[bytes] = []


class Guest:
    """One isolate: `boot`, then `load` a module, then deliver turns."""

    def __init__(
        self, engine: wasmtime.Engine, module: wasmtime.Module, host: FakeHost | None = None, memory: int = 64 << 20
    ) -> None:
        self.host = host or FakeHost()
        self.store = wasmtime.Store(engine)
        self.store.set_limits(memory_size=memory)
        self.store.set_epoch_deadline(1 << 40)
        self._exit: int | None = None
        self._kept = b""
        linker = wasmtime.Linker(engine)
        self._link(linker, [str(f"{i.module}.{i.name}") for i in module.imports])
        self.instance = linker.instantiate(self.store, module)
        exports = self.instance.exports(self.store)
        linear = exports["memory"]
        assert isinstance(linear, wasmtime.Memory)
        self.memory = linear
        self.exports = exports
        self.turn = 0
        self.next_event = 1
        self.pending = 0
        self.call("_initialize")

    def _link(self, linker: wasmtime.Linker, wanted: list[str]) -> None:
        i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
        table: dict[str, tuple[list[wasmtime.ValType], list[wasmtime.ValType], Callable[..., Any]]] = {
            "isolate.host_call": ([i32] * 4, [i32], self._host_call),
            "isolate.host_read": ([i32] * 2, [i32], self._host_read),
            "isolate.interrupted": ([], [i32], self._interrupted),
            "wasi_snapshot_preview1.fd_write": ([i32] * 4, [i32], self._fd_write),
            "wasi_snapshot_preview1.fd_close": ([i32], [i32], lambda *_: 8),
            "wasi_snapshot_preview1.fd_fdstat_get": ([i32] * 2, [i32], lambda *_: 8),
            "wasi_snapshot_preview1.fd_seek": ([i32, i64, i32, i32], [i32], lambda *_: 8),
            "wasi_snapshot_preview1.proc_exit": ([i32], [], self._proc_exit),
        }
        for name in wanted:
            params, results, function = table[name]
            module, field = name.split(".")
            linker.define_func(module, field, wasmtime.FuncType(params, results), function)

    # --- memory and calls ---

    def read(self, ptr: int, size: int) -> bytes:
        return bytes(self.memory.read(self.store, ptr, ptr + size))

    def write(self, ptr: int, data: bytes) -> None:
        self.memory.write(self.store, data, ptr)

    def call(self, name: str, *args: int) -> Any:
        try:
            function = self.exports[name]
            assert isinstance(function, wasmtime.Func)
            return function(self.store, *args)
        except BaseException:
            if self._exit is not None:
                raise GuestExit(self._exit, self.host.stderr) from None
            raise

    def _packed(self, name: str, data: bytes) -> bytes:
        ptr = self.call("isolate_alloc", len(data))
        self.write(ptr, data)
        out = self.call(name, ptr, len(data)) & 0xFFFF_FFFF_FFFF_FFFF
        return self.read(out >> 32, out & 0xFFFF_FFFF)

    # --- imports ---

    def _host_call(self, req: int, size: int, out: int, cap: int) -> int:
        answer = self.host.answer(self.read(req, size))
        if isinstance(answer, int):
            return answer
        if len(answer) <= cap:
            self.write(out, answer)
        else:
            self._kept = answer
        return len(answer)

    def _host_read(self, out: int, size: int) -> int:
        self.write(out, self._kept[:size])
        size, self._kept = len(self._kept), b""
        return size

    def _interrupted(self) -> int:
        self.host.asked += 1
        return int(self.host.interrupt)

    def _fd_write(self, fd: int, parts: int, count: int, written: int) -> int:
        total = 0
        for i in range(count):
            ptr, size = struct.unpack("<II", self.read(parts + 8 * i, 8))
            self.host.stderr += self.read(ptr, size).decode()
            total += size
        self.write(written, struct.pack("<I", total))
        return 0

    def _proc_exit(self, code: int) -> None:
        self._exit = code
        raise RuntimeError("proc_exit")

    # --- the engine ---

    def boot(self, prelude: str, heap: int = 0) -> Guest:
        assert self.call("boot", JS_STACK, heap) == 0
        answer = msgspec.json.decode(self._packed("prelude", prelude.encode()))
        assert answer == {"ok": None}, answer
        return self

    def image(self) -> tuple[bytes, int]:
        """All that an isolate is between two turns: its memory and the stack pointer."""
        pointer = self.exports["__stack_pointer"]
        assert isinstance(pointer, wasmtime.Global)
        return self.read(0, self.memory.data_len(self.store)), int(pointer.value(self.store))

    def restore(self, image: tuple[bytes, int]) -> Guest:
        data, stack = image
        self.memory.grow(self.store, (len(data) - self.memory.data_len(self.store)) >> 16)
        self.write(0, data)
        pointer = self.exports["__stack_pointer"]
        assert isinstance(pointer, wasmtime.Global)
        pointer.set_value(self.store, wasmtime.Val.i32(stack))
        return self

    def load(self, source: str) -> Any:
        return msgspec.json.decode(self._packed("load", source.encode()))

    def deliver(self, *events: dict[str, Any], buffers: Buffers | None = None, now: int | None = None) -> list[Settled]:
        """One turn; events without an id get one."""
        self.turn += 1
        if now is not None:
            self.host.now = now
        for event in events:
            if "id" not in event:
                event["id"] = self.next_event
                self.next_event += 1
        frame = self._packed(
            "isolate_deliver",
            join_frame({"turn": self.turn, "now": self.host.now, "events": list(events)}, buffers),
        )
        header, parts = split_frame(frame)
        reply = msgspec.json.decode(header, type=env.TurnReply)
        self.pending = reply.pending
        settled = [msgspec.json.decode(msgspec.json.encode(one), type=Settled) for one in reply.settled]
        for one in settled:
            one.buffers = parts
        return settled

    # --- shorthands ---

    def one(self, **event: Any) -> Settled:
        (settled,) = self.deliver(event)
        return settled

    def start(self, reason: str = "create", **more: Any) -> Settled:
        more = {"actor": "a1", "generation": 1, "name": "room", "key": ["k", "1"], "connection_count": 0, **more}
        return self.one(type="start", reason=reason, **more)

    def action(self, name: str, *args: Any) -> Settled:
        return self.one(type="action", name=name, args=list(args))

    def open(self, conn: str = "c1", path: str = "/", **more: Any) -> Settled:
        return self.one(type="socket_opened", conn=conn, path=path, headers=[], hibernatable=True, **more)

    def connect(self, conn: str = "c1", **more: Any) -> Settled:
        return self.open(conn, "/", protocol="connect", **more)

    def via(self, conn: str, name: str, *args: Any) -> Settled:
        """An action over a connection."""
        return self.one(type="action", name=name, args=list(args), conn=conn)

    def gone(self, conn: str = "c1") -> Settled:
        return self.one(type="socket_closed", conn=conn, code=1000, reason="", clean=True)

    def message(self, text: str, conn: str = "c1", index: int = 1) -> Settled:
        return self.one(type="socket_message", conn=conn, index=index, text=text)

    def complete(self, call: int) -> list[Settled]:
        return self.deliver({"type": "completion", "call": call, "result": None})
