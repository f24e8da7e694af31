"""Checks a JavaScript module by running its top level once, in an isolate that is thrown away.

That shows every error that does not need an actor, with line and column, at upload, where someone is looking. The
isolate has no actor, no capabilities, a clock at 0, and the deadline and memory of a turn; what it computes is lost.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from host.isolate.code import Code
from host.isolate.isolate import Isolate
from host.isolate.loading import read_load, read_names, run_top_level
from host.isolate.turn_host import NullTurnHost
from host.model.errors import GuestFault, TenantError
from host.model.limits import Limits

__all__ = ["check_js", "check_js_text"]

MAX_MESSAGE = 2_000


def check_js_text(source: bytes) -> None:
    """Strict UTF-8 without NUL: what the engine takes, told with the place of the first byte that is wrong."""
    try:
        source.decode()
    except UnicodeDecodeError as error:
        line, column = _place(source, error.start)
        raise _bad("js_syntax", f"the source is not UTF-8 (byte {error.start})", line, column) from error
    nul = source.find(b"\0")
    if nul >= 0:
        line, column = _place(source, nul)
        raise _bad("js_syntax", f"the source holds a NUL character (byte {nul})", line, column)


def check_js(code: Code, source: bytes, limits: Limits) -> tuple[str, ...]:
    """Loads the source into a fresh isolate of the engine; the names of its actors. Runs guest code: on an executor
    thread only."""
    digest = sha256(source).digest()
    isolate = Isolate(code, limits, NullTurnHost(digest, limits))
    try:
        reply = run_top_level(isolate, source, digest)
        error = read_load(reply)
    except GuestFault as fault:
        raise _fault(fault, limits) from fault
    finally:
        isolate.close()
    if error is not None:
        raise _bad(error.code, error.message, error.line, error.column, error.stack)
    return read_names(reply)


def _fault(fault: GuestFault, limits: Limits) -> TenantError:
    if fault.code == "deadline":
        message = f"the top level of the module ran longer than the turn deadline of {limits.turn_deadline} ms"
    elif fault.code == "memory":
        message = f"the top level of the module needs more memory than the limit of {limits.memory} bytes"
    else:
        message = f"the top level of the module ended in guest/{fault.code}: {fault.message}"
    return TenantError("module", "js_threw", message, metadata=fault.metadata, detail=fault.detail)


def _bad(
    code: str, message: str, line: int | None = None, column: int | None = None, stack: str | None = None
) -> TenantError:
    text = message[:MAX_MESSAGE]
    place = {name: value for name, value in (("line", line), ("column", column)) if value is not None}
    if place:
        text += f" ({', '.join(f'{name} {value}' for name, value in place.items())})"
    return TenantError(
        "module",
        code,
        text,
        metadata=msgspec.json.encode(place) if place else None,
        detail=stack[:8_000] if stack else None,
    )


def _place(source: bytes, at: int) -> tuple[int, int]:
    """Line and column from 1; the column in characters of what is before the place."""
    before = source[:at]
    return before.count(b"\n") + 1, len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
