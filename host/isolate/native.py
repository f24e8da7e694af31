"""wasmtime's C functions with the narrowest types that ctypes has: addresses are integers.

The library's own declarations box every pointer; binding the same symbols once more with plain integers makes a call
three to ten times cheaper. Two kinds of binding, and the choice matters:

* `_guest`: the GIL is released while it runs. For everything that compiles or runs guest code, or unmaps memory.
* `_quick`: the GIL is kept. For accessors of some nanoseconds, where letting other threads in would cost more than the
  call itself.

Nothing here checks anything; `memory.py`, `trampolines.py` and `isolate.py` do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any, cast

from wasmtime import _bindings, _ffi

__all__ = [
    "CheckedCallback",
    "Extern",
    "EXTERN_FUNC",
    "EXTERN_GLOBAL",
    "EXTERN_MEMORY",
    "UncheckedCallback",
    "Val",
    "address_of",
    "caller_context",
    "copy_in",
    "engine_increment_epoch",
    "error_delete",
    "error_message",
    "func_call",
    "func_call_unchecked",
    "global_get",
    "instance_export_get",
    "instance_pre_instantiate",
    "linker_define_func",
    "linker_define_func_unchecked",
    "memory_data",
    "memory_data_size",
    "store_context",
    "store_delete",
    "store_limiter",
    "store_new",
    "set_epoch_deadline",
    "text_of",
    "trap_code",
    "trap_delete",
    "trap_message",
    "trap_new",
]


def _guest(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = _ffi.dll[name]
    function.restype = result
    function.argtypes = arguments
    return cast("Callable[..., Any]", function)


def _quick(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return cast("Callable[..., Any]", ctypes.PYFUNCTYPE(result, *arguments)((name, _ffi.dll)))


class ByteVec(ctypes.Structure):
    """`wasm_byte_vec_t`."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


Extern: Any = _bindings.wasmtime_extern_t
Val: Any = _bindings.wasmtime_val_t

EXTERN_FUNC: int = _ffi.WASMTIME_EXTERN_FUNC.value
EXTERN_GLOBAL: int = _ffi.WASMTIME_EXTERN_GLOBAL.value
EXTERN_MEMORY: int = _ffi.WASMTIME_EXTERN_MEMORY.value

# (environment, caller, arguments and results, their number) -> trap or NULL. One argument takes 16 bytes; reading them
# as 32-bit words masks every pointer and length that a guest passes.
UncheckedCallback = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, ctypes.POINTER(c_uint32), c_size_t)
# (environment, caller, arguments, their number, results, their number) -> trap or NULL
CheckedCallback = ctypes.CFUNCTYPE(
    c_void_p, c_void_p, c_void_p, ctypes.POINTER(Val), c_size_t, ctypes.POINTER(Val), c_size_t
)

store_new = _guest("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_delete = _guest("wasmtime_store_delete", None, c_void_p)
store_context = _quick("wasmtime_store_context", c_void_p, c_void_p)
store_limiter = _quick("wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)
set_epoch_deadline = _quick("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
engine_increment_epoch = _quick("wasmtime_engine_increment_epoch", None, c_void_p)

instance_pre_instantiate = _guest("wasmtime_instance_pre_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
instance_export_get = _quick("wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
caller_context = _quick("wasmtime_caller_context", c_void_p, c_void_p)

func_call_unchecked = _guest("wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
func_call = _guest("wasmtime_func_call", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)
memory_data = _quick("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_data_size = _quick("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
global_get = _quick("wasmtime_global_get", None, c_void_p, c_void_p, c_void_p)

linker_define_func = _quick(
    "wasmtime_linker_define_func",
    c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, CheckedCallback, c_void_p, c_void_p,
)  # fmt: skip
linker_define_func_unchecked = _quick(
    "wasmtime_linker_define_func_unchecked",
    c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, UncheckedCallback, c_void_p, c_void_p,
)  # fmt: skip

trap_new = _quick("wasmtime_trap_new", c_void_p, c_char_p, c_size_t)
trap_delete = _quick("wasm_trap_delete", None, c_void_p)
_trap_code = _quick("wasmtime_trap_code", c_bool, c_void_p, c_void_p)
trap_message = _quick("wasm_trap_message", None, c_void_p, c_void_p)
error_delete = _quick("wasmtime_error_delete", None, c_void_p)
error_message = _quick("wasmtime_error_message", None, c_void_p, c_void_p)
_byte_vec_delete = _quick("wasm_byte_vec_delete", None, c_void_p)

# memmove with the GIL kept: the copies are small, and `bytes` is the only thing ever copied in.
copy_in = cast(
    "Callable[[int, bytes, int], None]",
    ctypes.PYFUNCTYPE(None, c_void_p, c_char_p, c_size_t)(ctypes.cast(ctypes.memmove, c_void_p).value or 0),
)


def address_of(pointer: Any) -> int:
    """The address in one of wasmtime-py's own pointers."""
    return ctypes.cast(pointer, c_void_p).value or 0


def trap_code(trap: int) -> int | None:
    """wasmtime's number for why it trapped; None for a trap that a host function made."""
    code = c_uint8()
    return code.value if _trap_code(trap, ctypes.addressof(code)) else None


def text_of(read: Callable[[int, int], None], pointer: int) -> str:
    """What `trap_message` or `error_message` says. Names in it come from the module: anything may be in them."""
    vec = ByteVec()
    read(pointer, ctypes.addressof(vec))
    try:
        return ctypes.string_at(vec.data or 0, vec.size).rstrip(b"\0").decode("utf-8", "replace")
    finally:
        _byte_vec_delete(ctypes.addressof(vec))
