"""The JavaScript engine's image: the engine after it booted and ran the prelude, as a module of its own.

An actor's isolate then begins with a ready engine: instantiating it maps pages instead of running a second of C. The
image is a function of the engine, the prelude and the stack size alone: clock 0, randomness from their digest.
"""

from __future__ import annotations

import hashlib
import json

from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.isolate import Isolate
from host.isolate.preinit import bake, export_globals
from host.isolate.turn_host import NullTurnHost
from host.model.errors import InternalError, TenantError
from host.model.limits import Limits

__all__ = ["build_js_image"]

KIB = 1024

# Building is no turn: the machine may be busy compiling.
_BUILD_LIMITS = Limits(turn_deadline=60_000)


def build_js_image(engine: Engine, engine_wasm: bytes, prelude: bytes, stack: int = 512 * KIB) -> bytes:
    """Boots the engine, runs the prelude, returns the pre-initialised module. Takes seconds (it compiles the engine):
    call it from a worker thread. Both inputs are the host's own, so whatever goes wrong is an InternalError."""
    try:
        return _build(engine, engine_wasm, prelude, stack)
    except TenantError as error:
        raise InternalError(f"the JavaScript engine cannot be made an image: {error}; {error.detail}") from error


def _build(engine: Engine, engine_wasm: bytes, prelude: bytes, stack: int) -> bytes:
    booting, names = export_globals(engine_wasm)
    code = engine.compile(booting)
    code.check_abi("js")
    seed = hashlib.sha256(hashlib.sha256(engine_wasm).digest() + prelude).digest()

    def boot() -> bytes:
        host = NullTurnHost(seed, _BUILD_LIMITS)
        isolate = Isolate(code, _BUILD_LIMITS, host)
        try:
            failed = isolate.invoke("boot", stack, 0) & 0xFFFF_FFFF
            if failed:
                raise InternalError(f"the JavaScript engine did not boot: {failed}")
            answer = json.loads(isolate.exchange("prelude", prelude))
            if "error" in answer:
                raise InternalError(f"the prelude failed: {answer['error']}; log: {host.logs}")
            values = {index: isolate.global_words(name) for index, name in names.items()}
            return bake(engine_wasm, isolate.memory_image(), values)
        finally:
            isolate.close()

    return run_on_guest_thread(boot)
