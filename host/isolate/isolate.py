"""One isolate: a store with one instance of a module, its limits and its deadline.

An isolate has one owner at a time and is entered from guest threads only (`executor.py`); a second entry while one is
under way is refused. Whatever ends the guest otherwise than by returning leaves the isolate `dead`: it is never entered
again, because a trapped guest may hold half-done work. The owner closes it, on any thread, once it is not entered; the
garbage collector never does.
"""

from __future__ import annotations

import ctypes
from ctypes import addressof, c_void_p
from typing import Any

from host.isolate import faults, native
from host.isolate.cell import CELLS, Cell
from host.isolate.code import Code
from host.isolate.memory import GuestMemory
from host.isolate.ticker import ticks_for
from host.isolate.trampolines import Export
from host.isolate.turn_host import TurnHost
from host.model.errors import InternalError
from host.model.limits import Limits

__all__ = ["Isolate"]

_WORD = 0xFFFF_FFFF

# Between the answer 1 of `interrupted` and the trap: time for an interpreter to log where it stood and to leave.
_GRACE_TICKS = 5


class Isolate:
    __slots__ = (
        "_alloc",
        "_cell",
        "_context",
        "_deliver",
        "_extras",
        "_hard_ticks",
        "_initial",
        "_instance",
        "_lock",
        "_memory",
        "_soft_ticks",
        "_store",
        "_used",
        "code",
        "limits",
    )

    def __init__(self, code: Code, limits: Limits, host: TurnHost) -> None:
        """Instantiates the module and runs what it runs by itself (start function, then `_initialize`) as guest code,
        under the limits, with a deadline of its own, with `host` to answer. Raises like `deliver`."""
        pre = code.pre_instance()
        engine = code.engine
        if engine.ticker.stopped:
            raise InternalError("the engine is closed, or this is a forked child of its process")
        if code.memory_bytes > limits.memory:
            raise faults.memory_fault(limits, code.memory_bytes)
        self.code = code
        self.limits = limits
        self._soft_ticks = ticks_for(limits.turn_deadline)
        # One more, because the current tick has partly passed.
        self._hard_ticks = self._soft_ticks + 1 + (_GRACE_TICKS if code.asks else 0)
        self._extras: dict[str, Export] = {}
        self._initial = 0
        self._used = 0
        self._store: int = native.store_new(engine.address, None, None)
        self._context: int = native.store_context(self._store)
        native.store_limiter(self._store, limits.memory, limits.table_elements, 1, limits.module_tables, 1)
        self._cell = Cell(self._context, limits, host, engine.ticker)
        self._lock = self._cell.lock
        CELLS[self._context] = self._cell
        try:
            self._instantiate(pre)
        except BaseException:
            self._cell.dead = True
            self.close()
            raise

    # --- entries --------------------------------------------------------------------------------------------------

    def deliver(self, envelope: bytes) -> bytes:
        """One turn: the envelope goes in, the reply comes out. Raises `GuestFault`, or what a host function raised."""
        self._enter()
        try:
            return self._pass(self._deliver, envelope)
        except BaseException:
            self._cell.dead = True
            raise
        finally:
            self._leave()

    def load(self, source: bytes) -> bytes:
        """kind js: evaluates a module's source; the answer is JSON, `{"ok": …}` or `{"error": …}`."""
        return self.exchange("load", source)

    def reseed(self, seed: int) -> None:
        """kind js: the seed of Math.random, 64 bits of it."""
        self.invoke("reseed", seed & 0xFFFF_FFFF_FFFF_FFFF)

    def exchange(self, name: str, data: bytes) -> bytes:
        """Calls an export of the form (pointer, length) -> packed reply, as `deliver` does."""
        export = self._extra(name)
        self._enter()
        try:
            return self._pass(export, data)
        except BaseException:
            self._cell.dead = True
            raise
        finally:
            self._leave()

    def invoke(self, name: str, first: int = 0, second: int = 0) -> int:
        """Calls an export that takes and returns plain numbers."""
        export = self._extra(name)
        self._enter()
        try:
            return self._call(export, first, second)
        except BaseException:
            self._cell.dead = True
            raise
        finally:
            self._leave()

    # --- for the owner --------------------------------------------------------------------------------------------

    @property
    def host(self) -> TurnHost:
        return self._cell.host

    @host.setter
    def host(self, host: TurnHost) -> None:
        """Between entries only."""
        self._cell.host = host

    @property
    def dead(self) -> bool:
        """A fault ended it, or it is closed."""
        return self._cell.dead

    @property
    def memory_bytes(self) -> int:
        """Linear memory after the last entry; may be asked at any time."""
        return self._used

    def memory_image(self) -> bytes:
        """A copy of the whole memory, between entries: for images and snapshots."""
        self._enter()
        try:
            return self._memory.read(0, self._memory.size())
        finally:
            self._leave()

    def global_words(self, name: str) -> bytes:
        """The value of an exported number global as its bytes, little-endian, 8 of them."""
        self._enter()
        try:
            found = self._export(name, native.EXTERN_GLOBAL)
            value = native.Val()
            native.global_get(self._context, addressof(found.of), addressof(value))
            return ctypes.string_at(addressof(value.of), 8)
        finally:
            self._leave()

    def close(self) -> None:
        """Frees the store; safe to call twice. Refused while the guest runs."""
        if not self._lock.acquire(blocking=False):
            raise InternalError("an isolate was closed while its guest ran")
        try:
            self._cell.dead = True
            store, self._store = self._store, 0
            if store and CELLS.pop(self._context, None) is not None:
                native.store_delete(store)
        finally:
            self._lock.release()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _instantiate(self, pre: int) -> None:
        self._enter()
        try:
            self._instance = (ctypes.c_uint64 * 4)()
            trap = c_void_p()
            error = native.instance_pre_instantiate(pre, self._context, addressof(self._instance), addressof(trap))
            if error or trap.value:
                raise self._ended(error or 0, trap.value or 0, instantiated=False)
            memory = self._export("memory", native.EXTERN_MEMORY).of.memory
            self._memory = GuestMemory(self._context, memory)
            self._initial = self._memory.size()
            self._cell.memory = self._memory
            self._alloc = self._bind("isolate_alloc")
            self._deliver = self._bind("isolate_deliver")
            if "_initialize" in self.code.exports:
                self._call(self._bind("_initialize"))
        finally:
            self._leave()

    def _export(self, name: str, kind: int) -> Any:
        found = native.Extern()
        data = name.encode()
        if (
            not native.instance_export_get(self._context, addressof(self._instance), data, len(data), addressof(found))
            or found.kind != kind
        ):
            raise InternalError(f"the instance has no export {name!r} of the kind that its module promised")
        return found

    def _bind(self, name: str) -> Export:
        signature = self.code.signature(name)
        function = self._export(name, native.EXTERN_FUNC).of.func
        return self.code.engine.make_export(self._context, function, signature)

    def _extra(self, name: str) -> Export:
        export = self._extras.get(name)
        if export is None:
            if self._cell.dead:
                raise InternalError("a dead isolate was entered")
            export = self._extras[name] = self._bind(name)
        return export

    def _enter(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise InternalError("an isolate was entered twice at a time")
        cell = self._cell
        if cell.dead or cell.ticker.stopped:
            self._lock.release()
            raise InternalError("a dead isolate was entered, or its engine is closed")
        cell.soft_stop = cell.ticker.ticks + self._soft_ticks
        cell.asks = 0
        cell.told_to_stop = False
        cell.kept = None
        native.set_epoch_deadline(self._context, self._hard_ticks)

    def _leave(self) -> None:
        if self._cell.memory is not None:
            self._used = self._memory.size()
        self._lock.release()

    def _pass(self, export: Export, data: bytes) -> bytes:
        length = len(data)
        pointer = self._call(self._alloc, length) & _WORD
        self._memory.write(pointer, data)
        packed = self._call(export, pointer, length)
        pointer, length = packed >> 32 & _WORD, packed & _WORD
        memory = self._memory
        memory.check(pointer, length)
        if length > self.limits.reply:
            raise faults.bad_reply(length, self.limits)
        return memory.read(pointer, length)

    def _call(self, export: Export, first: int = 0, second: int = 0) -> int:
        result = export.call(first, second)
        if result is None:
            raise self._ended(export.error, export.trap)
        if self._cell.told_to_stop:
            # An interpreter that was stopped may have left a job half done; its answer is not to be believed.
            raise faults.deadline_fault(self.limits, "the guest was told to stop and returned")
        return result

    def _ended(self, error: int, trap: int, *, instantiated: bool = True) -> BaseException:
        text, code = faults.take_text(error, trap)
        cell = self._cell
        reason, cell.reason = cell.reason, None
        if reason is not None:
            return faults.stopped_by_host(reason, text)
        if not instantiated and not trap:
            return faults.instantiate_fault(text, self.limits)
        used = cell.memory.size() if cell.memory is not None else 0
        return faults.trap_fault(text, code, self.limits, used, self._initial)
