"""Crossings between host and guest, both ways, each with a fast and a checked form.

wasmtime-py's own `Func.__call__` and `define_func` are not used: they take about 20 microseconds a call, and they hand
a host function's exception over in one global of the process, where another thread's call may pick it up. Here

* a host function never raises into C: whatever it raises goes to the slot `Cell.reason` of the isolate that called, and
  the guest is ended with a trap that says nothing;
* the *unchecked* form (the default) trusts signatures, so it is only bound to imports and exports whose exact types
  `abi.py` has pinned; the *checked* form asks wasmtime to compare every value's type, for about 1.6 times the price. An
  engine uses one of the two for everything (`Engine(checked=True)`), and the same tests run over both.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof, c_uint64, c_void_p
from typing import Any

from wasmtime import FuncType, ValType

from host.isolate import native
from host.isolate.abi import Signature
from host.isolate.cell import CELLS
from host.model.errors import InternalError

__all__ = ["Export", "CheckedExport", "UncheckedExport", "define", "export_class"]

Handler = Callable[..., int]
"""Called with the cell and the arguments, all 32-bit words without sign (a 64-bit argument is cut: none is needed)."""

_MASK = 0xFFFF_FFFF


def _stop(caller: int, reason: BaseException) -> int:
    """Leaves the reason with the isolate that called and makes the trap that ends it."""
    cell = CELLS.get(native.caller_context(caller))
    if cell is not None:
        cell.reason = reason
    trap: int = native.trap_new(b"stopped by the host", 19)
    return trap


# --- guest -> host ------------------------------------------------------------------------------------------------


def _unchecked(handler: Handler, arity: int) -> Any:
    """One argument takes four 32-bit words; the result takes the place of the first argument."""
    context_of, cells = native.caller_context, CELLS

    def call0(_env: int, caller: int, words: Any, _n: int) -> int | None:
        try:
            words[0] = handler(cells[context_of(caller)])
        except BaseException as reason:  # noqa: BLE001 - it must not get into C; it waits in the cell
            return _stop(caller, reason)
        return None

    def call1(_env: int, caller: int, words: Any, _n: int) -> int | None:
        try:
            words[0] = handler(cells[context_of(caller)], words[0])
        except BaseException as reason:  # noqa: BLE001
            return _stop(caller, reason)
        return None

    def call2(_env: int, caller: int, words: Any, _n: int) -> int | None:
        try:
            words[0] = handler(cells[context_of(caller)], words[0], words[4])
        except BaseException as reason:  # noqa: BLE001
            return _stop(caller, reason)
        return None

    def call3(_env: int, caller: int, words: Any, _n: int) -> int | None:
        try:
            words[0] = handler(cells[context_of(caller)], words[0], words[4], words[8])
        except BaseException as reason:  # noqa: BLE001
            return _stop(caller, reason)
        return None

    def call4(_env: int, caller: int, words: Any, _n: int) -> int | None:
        try:
            words[0] = handler(cells[context_of(caller)], words[0], words[4], words[8], words[12])
        except BaseException as reason:  # noqa: BLE001
            return _stop(caller, reason)
        return None

    return native.UncheckedCallback((call0, call1, call2, call3, call4)[arity])


def _checked(handler: Handler, signature: Signature) -> Any:
    params, results = signature

    def call(_env: int, caller: int, arguments: Any, count: int, answers: Any, answer_count: int) -> int | None:
        try:
            if count != len(params) or answer_count != len(results):
                raise InternalError("wasmtime called a host function with a wrong number of values")
            values = [getattr(arguments[i].of, kind) & _MASK for i, kind in enumerate(params)]
            answer = handler(CELLS[native.caller_context(caller)], *values)
            if results:
                answers[0].kind = _KINDS["i32"]
                answers[0].of.i32 = answer
        except BaseException as reason:  # noqa: BLE001 - as above
            return _stop(caller, reason)
        return None

    return native.CheckedCallback(call)


_VAL_TYPES = {"i32": ValType.i32, "i64": ValType.i64}
_KINDS = {"i32": 0, "i64": 1}
_callbacks: dict[tuple[Handler, Signature, bool], Any] = {}


def define(linker: int, module: str, name: str, signature: Signature, handler: Handler, *, checked: bool) -> None:
    """Offers a host function on a linker, for every store that is made of it. Callbacks live as long as the process."""
    params, results = signature
    kind = FuncType([_VAL_TYPES[p]() for p in params], [_VAL_TYPES[r]() for r in results])
    key = (handler, signature, checked)
    callback = _callbacks.get(key)
    if callback is None:
        callback = _checked(handler, signature) if checked else _unchecked(handler, len(params))
        _callbacks[key] = callback
    put = native.linker_define_func if checked else native.linker_define_func_unchecked
    error = put(
        linker,
        module.encode(),
        len(module),
        name.encode(),
        len(name),
        native.address_of(kind.ptr()),
        callback,
        None,
        None,
    )
    if error:
        text = native.text_of(native.error_message, error)
        native.error_delete(error)
        raise InternalError(f"cannot define {module}.{name}: {text}")


# --- host -> guest ------------------------------------------------------------------------------------------------


class Export:
    """One exported function of one store. `call` gives the raw result (mask it to the result's width), or None when the
    guest ended; then `error` and `trap` hold what wasmtime left behind, for the caller to free (`faults.take_text`)."""

    __slots__ = ("_context", "_function", "_function_address", "_trap", "_trap_address", "error")

    def __init__(self, context: int, function: Any) -> None:
        self._context = context
        self._function = function
        self._function_address = addressof(function)
        self._trap = c_void_p()
        self._trap_address = addressof(self._trap)
        self.error = 0

    @property
    def trap(self) -> int:
        """The trap of the last call, handed over: asking again gives 0."""
        trap, self._trap.value = self._trap.value or 0, None
        return trap

    def call(self, first: int = 0, second: int = 0) -> int | None:
        raise NotImplementedError


class UncheckedExport(Export):
    """Values go as raw words, 16 bytes apart; wasmtime believes that they fit."""

    __slots__ = ("_count", "_words", "_words_address")

    def __init__(self, context: int, function: Any, signature: Signature) -> None:
        super().__init__(context, function)
        params, results = signature
        self._count = max(len(params), len(results))
        self._words = (c_uint64 * 4)()
        self._words_address = addressof(self._words)

    def call(self, first: int = 0, second: int = 0) -> int | None:
        words = self._words
        words[0] = first
        words[2] = second
        error = native.func_call_unchecked(
            self._context, self._function_address, self._words_address, self._count, self._trap_address
        )
        if error or self._trap.value:
            self.error = error or 0
            return None
        return words[0]


class CheckedExport(Export):
    """Values go with their types, and wasmtime compares them with the function's."""

    __slots__ = ("_arguments", "_kinds", "_results")

    def __init__(self, context: int, function: Any, signature: Signature) -> None:
        super().__init__(context, function)
        params, results = signature
        self._kinds = params
        self._arguments = (native.Val * len(params))()
        self._results = (native.Val * len(results))()

    def call(self, first: int = 0, second: int = 0) -> int | None:
        for i, (kind, value) in enumerate(zip(self._kinds, (first, second), strict=False)):
            self._arguments[i].kind = _KINDS[kind]
            setattr(self._arguments[i].of, kind, value)
        error = native.func_call(
            self._context,
            self._function_address,
            addressof(self._arguments),
            len(self._arguments),
            addressof(self._results),
            len(self._results),
            self._trap_address,
        )
        if error or self._trap.value:
            self.error = error or 0
            return None
        if not len(self._results):
            return 0
        result = self._results[0]
        word: int = result.of.i32 if result.kind == _KINDS["i32"] else result.of.i64
        return word


def export_class(*, checked: bool) -> type[UncheckedExport] | type[CheckedExport]:
    return CheckedExport if checked else UncheckedExport
