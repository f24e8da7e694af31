"""A deployment image: the JavaScript engine after a tenant's module ran its top level, as a module of its own.

An actor of it begins where the top level ended, so a start evaluates nothing, and what all actors of the module have in
common stays in pages that they share until one writes to them. The image is a function of engine, prelude and source
alone: it is made under the rules of `loading`, so nothing of a tenant, an actor or the moment is in it.

The code in it is the engine's own. A tenant's top level decides what stands in memory, as it does in its own isolate,
and no instruction: the image's code section is copied from the engine.
"""

from __future__ import annotations

from msgspec import Struct

from host.isolate.code import Code
from host.isolate.isolate import Isolate
from host.isolate.loading import load_module
from host.isolate.preinit import bake, exported_globals
from host.isolate.ticker import TICK_MS
from host.isolate.turn_host import NullTurnHost
from host.model.limits import Limits

__all__ = ["ModuleImage", "build_module_image"]


class ModuleImage(Struct, frozen=True):
    """`wasm` is to be compiled; `loaded` is what the engine said to the load; `load_ms` is how long the top level ran,
    in whole ticks."""

    wasm: bytes
    loaded: bytes
    load_ms: int


def build_module_image(code: Code, engine_image: bytes, source: bytes, digest: bytes, limits: Limits) -> ModuleImage:
    """`code` is `engine_image`, compiled, on an engine of any profile. Runs guest code: on a guest thread only. Raises
    the tenant's error for a top level that throws or never ends its awaits, `GuestFault` for one over its limits."""
    names = exported_globals(engine_image)
    ticker = code.engine.ticker
    isolate = Isolate(code, limits, NullTurnHost(digest))
    try:
        before = ticker.ticks
        loaded = load_module(isolate, source, digest)
        spent = ticker.ticks - before
        # Garbage would be in every actor's memory, and each would collect, and so copy, the same pages.
        isolate.invoke("gc")
        values = {index: isolate.global_words(name) for index, name in names.items()}
        return ModuleImage(bake(engine_image, isolate.memory_image(), values), loaded, spent * TICK_MS)
    finally:
        isolate.close()
