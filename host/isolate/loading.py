"""Loading a tenant's module into the JavaScript engine: what its top level sees, and how its failure is told.

The one way in, whether the isolate is an actor's or is about to become an image of the module: the clock stands at 0,
host calls are refused, and Math.random is seeded by the module's digest, so the top level computes the same in every
actor. Whoever loads gives the actor its own seed afterwards.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from host.isolate.isolate import Isolate
from host.model.errors import InternalError, TenantError

__all__ = ["LoadError", "load_module", "read_load", "read_names", "run_top_level", "seed_for"]

# Of the actors of one module, as the SDK bounds them.
MAX_NAMES = 128
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CODES = ("js_syntax", "js_threw", "no_actor")


class LoadError(Struct, frozen=True):
    """Why a module does not load; `stack` is for the log."""

    code: str
    message: str
    line: int | None = None
    column: int | None = None
    stack: str | None = None


class _Facts(Struct, frozen=True):
    names: tuple[str, ...] = ()


class _Loaded(Struct, frozen=True):
    ok: _Facts | None = None
    error: LoadError | None = None


def seed_for(stream: bytes) -> int:
    """The seed of Math.random out of 8 bytes; the top bit stays clear, so that it is never negative."""
    return int.from_bytes(stream[:8], "little") >> 1


def load_module(isolate: Isolate, source: bytes, digest: bytes) -> bytes:
    """Runs the top level; the engine's answer. `host` of the isolate is the one of code outside of a turn. Raises the
    tenant's error for a module that throws, `GuestFault` for one that faults."""
    reply = run_top_level(isolate, source, digest)
    error = read_load(reply)
    if error is not None:
        raise TenantError("module", error.code, error.message, detail=error.stack)
    return reply


def run_top_level(isolate: Isolate, source: bytes, digest: bytes) -> bytes:
    """The same without a look at the answer."""
    isolate.reseed(seed_for(digest))
    return isolate.load(source)


def read_load(reply: bytes) -> LoadError | None:
    """The error in the engine's answer to a load, if there is one; its code is one of ours."""
    error = _read(reply).error
    return error if error is None or error.code in CODES else replace(error, code="js_threw")


def read_names(reply: bytes) -> tuple[str, ...]:
    """The names of the actors of a module that has several, or one with a name; none if it serves any name."""
    facts = _read(reply).ok
    names = () if facts is None else facts.names
    if len(names) > MAX_NAMES or not all(map(_NAME.fullmatch, names)):
        raise InternalError(f"the JavaScript engine told names that no actor can have: {names[:3]!r}")
    return names


def _read(reply: bytes) -> _Loaded:
    try:
        return msgspec.json.decode(reply, type=_Loaded)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise InternalError(f"the JavaScript engine answered a load with {reply[:200]!r}") from broken
