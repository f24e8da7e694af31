"""What the host changes in a tenant's module before it compiles it: nothing but the maximum of its memory.

A memory without a maximum could grow to 4 GiB as far as the format is concerned, and a maximum above the operator's is
as good as none. The limit in force is still the isolate's own; this one holds even where that is not asked. The module
keeps the digest of the upload.
"""

from __future__ import annotations

from host.isolate.wasmbin import Reader, Section, join, sections, unsigned
from host.model.limits import LIMITS, Limits
from host.modules.admission.surface import MEMORY, PAGE
from host.modules.admission.types import read_memory

__all__ = ["rewrite"]

# A definition may raise the limit this far, and its actors run the same compiled code.
_MOST = next(limit.maximum for limit in LIMITS if limit.name == "memory")


def rewrite(wasm: bytes, limits: Limits) -> bytes:
    """For a module that `survey` admitted; the same bytes if there is nothing to change."""
    pages = max(limits.memory, _MOST) // PAGE
    parts = sections(wasm)
    for at, (number, body) in enumerate(parts):
        if number != MEMORY:
            continue
        reader = Reader(body)
        if not reader.unsigned():
            break
        memory = read_memory(reader)
        if memory.maximum is not None and memory.maximum <= pages:
            break
        most = max(pages, memory.minimum)
        parts[at] = Section(MEMORY, b"\x01\x01" + unsigned(memory.minimum) + unsigned(most))
        return join(parts)
    return wasm
