"""From the way a guest ended to the one error that says so.

| what ended it | error |
|---|---|
| a host function stopped it | the exception that waits in the cell (a `GuestFault` gets the backtrace as its detail) |
| the epoch deadline | `guest/deadline` |
| `proc_exit(101)` (an interpreter that saw `interrupted`) | `guest/deadline` |
| `proc_exit(102)` (an allocator that got no memory) | `guest/memory` |
| any other `proc_exit` | `guest/trap` |
| call stack exhausted | `guest/stack` |
| any other trap while the memory is *near its limit* | `guest/memory` |
| any other trap | `guest/trap` |

wasmtime does not tell a refused `memory.grow` from a granted one, so "near the limit" is a rule: the guest has grown
its memory since it was instantiated, and 7/8 of the limit are in use. A guest that asks for one huge piece, gets none
and traps is therefore a `guest/trap`; an engine that knows better exits with 102.
"""

from __future__ import annotations

import re

from wasmtime import TrapCode

from host.isolate.native import (
    error_delete,
    error_message,
    text_of,
    trap_code,
    trap_delete,
    trap_message,
)
from host.model.errors import DormiceError, GuestFault, InternalError, UnavailableError
from host.model.limits import Limits

__all__ = [
    "EXIT_DEADLINE",
    "EXIT_MEMORY",
    "bad_reply",
    "deadline_fault",
    "exit_fault",
    "instantiate_fault",
    "last_cause",
    "memory_fault",
    "stack_fault",
    "stopped_by_host",
    "take_text",
    "trap_fault",
]

EXIT_DEADLINE = 101
EXIT_MEMORY = 102

_DETAIL_CHARS = 4_096
_NUMBERED = re.compile(r"^\d+: ")
_INTERRUPT: int = TrapCode.INTERRUPT.value
_STACK_OVERFLOW: int = TrapCode.STACK_OVERFLOW.value


def _metadata(limit: str, used: int, allowed: int) -> bytes:
    return b'{"limit":"%s","used":%d,"allowed":%d}' % (limit.encode(), used, allowed)


def deadline_fault(limits: Limits, detail: str | None = None) -> GuestFault:
    """How long it would have run nobody knows: what it used is all that it was allowed."""
    allowed = limits.turn_deadline
    return GuestFault(
        "deadline",
        f"turn_deadline: the guest ran longer than {allowed} ms, {allowed} ms allowed; do less in one turn",
        detail=detail,
        metadata=_metadata("turn_deadline", allowed, allowed),
    )


def stack_fault(limits: Limits, detail: str | None = None) -> GuestFault:
    return GuestFault(
        "stack",
        f"stack: the guest's call stack is exhausted, {limits.stack} bytes allowed; recurse less deeply",
        detail=detail,
        metadata=_metadata("stack", limits.stack, limits.stack),
    )


def memory_fault(limits: Limits, used: int, detail: str | None = None) -> GuestFault:
    return GuestFault(
        "memory",
        f"memory: {used} bytes used, {limits.memory} allowed; keep less in memory, or raise the definition's limit",
        detail=detail,
        metadata=_metadata("memory", used, limits.memory),
    )


def bad_reply(length: int, limits: Limits) -> GuestFault:
    return GuestFault(
        "bad_reply",
        f"reply: {length} bytes used, {limits.reply} allowed; answer with less",
        metadata=_metadata("reply", length, limits.reply),
    )


def exit_fault(code: int, limits: Limits, used: int) -> GuestFault:
    """What `proc_exit(code)` means."""
    if code == EXIT_DEADLINE:
        return deadline_fault(limits, "proc_exit(101)")
    if code == EXIT_MEMORY:
        return memory_fault(limits, used, "proc_exit(102)")
    return GuestFault("trap", f"the guest called proc_exit({code}); a module must return from every entry")


def take_text(error: int, trap: int) -> tuple[str, int | None]:
    """Message and trap number of what a call left behind; frees both."""
    text, code = "", None
    if error:
        text = text_of(error_message, error)
        error_delete(error)
    if trap:
        text = text_of(trap_message, trap)
        code = trap_code(trap)
        trap_delete(trap)
    return text[:_DETAIL_CHARS], code


def last_cause(text: str) -> str:
    """The innermost cause of a chain as wasmtime writes it: the last line, without its number."""
    return _NUMBERED.sub("", text.strip().rsplit("\n", 1)[-1].strip())


def stopped_by_host(reason: BaseException, text: str) -> BaseException:
    """The exception to raise for one that a host function left in the cell."""
    if isinstance(reason, GuestFault):
        reason.detail = f"{reason.detail}\n{text}" if reason.detail else text
        return reason
    if isinstance(reason, DormiceError) or not isinstance(reason, Exception):
        return reason
    error = InternalError(f"a host function failed: {type(reason).__name__}: {reason}\n{text}")
    error.__cause__ = reason
    return error


def trap_fault(text: str, code: int | None, limits: Limits, used: int, initial: int) -> GuestFault:
    """The fault for a trap of the guest's own making; `used` and `initial` are memory sizes, now and at first."""
    if code == _INTERRUPT:
        return deadline_fault(limits, text)
    if code == _STACK_OVERFLOW:
        return stack_fault(limits, text)
    if used > initial and used * 8 >= limits.memory * 7:
        return memory_fault(limits, used, text)
    cause = last_cause(text).removeprefix("wasm trap: ") or "unknown"
    return GuestFault("trap", f"the guest trapped: {cause[:200]}", detail=text)


def instantiate_fault(text: str, limits: Limits) -> DormiceError:
    """Instantiation failed without a trap: a limit of the store, or this machine has no room left."""
    if "os error" in text or "mmap" in text or "allocate" in text:
        return UnavailableError("node", "full", "this node has no room for another isolate; try later", detail=text)
    what = "table_elements" if "table" in text else "memory"
    allowed = limits.table_elements if what == "table_elements" else limits.memory
    return GuestFault(
        "memory",
        f"{what}: the module asks for more than its limits allow, {allowed}: {text[:200]}",
        detail=text,
        metadata=_asked(what, text, allowed),
    )


def _asked(limit: str, text: str, allowed: int) -> bytes:
    """wasmtime says what was asked for in words only; failing that, it was more than is allowed."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return _metadata(limit, max([number for number in numbers if number > allowed], default=allowed + 1), allowed)
