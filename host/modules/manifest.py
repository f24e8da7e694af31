"""The manifest of a wasm module: read from its custom section without running anything, and checked whole.

A capability that this host does not know is refused here, at upload, with the names of those it knows: a guest that
found out in its first turn that it may do nothing would be a worse surprise.
"""

from __future__ import annotations

import msgspec

from host.isolate.wasmbin import read_manifest
from host.model.definitions import CAPABILITIES, Manifest
from host.model.errors import TenantError
from host.model.limits import Limits

__all__ = ["ABI", "check_memory", "manifest_of"]

ABI = 1
SECTION = "isolate.manifest"
MAX_NAME = 64
PAGE = 65_536

# Granted to every guest, so naming them in a manifest is harmless.
ALWAYS_GRANTED = frozenset({"log", "now", "random"})


def manifest_of(wasm: bytes, limits: Limits) -> Manifest:
    """Raises `module/bad_manifest`, or `module/malformed` if the sections cannot even be walked."""
    raw = read_manifest(wasm)
    if raw is None:
        raise _bad(f'the module has no custom section {SECTION}; it needs at least {{"abi": {ABI}}} there')
    try:
        manifest = msgspec.json.decode(bytes(raw), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"the custom section {SECTION} is not a manifest: {error}") from error
    if manifest.abi != ABI:
        raise _bad(f"the manifest asks for isolate ABI {manifest.abi}; this host offers {ABI}")
    unknown = sorted(set(manifest.capabilities) - CAPABILITIES - ALWAYS_GRANTED)
    if unknown:
        known = ", ".join(sorted(CAPABILITIES))
        raise _bad(f"the manifest lists unknown capabilities: {', '.join(unknown)[:200]}; known are {known}")
    if manifest.name is not None and len(manifest.name.encode("utf-8", "replace")) > MAX_NAME:
        raise _bad(f"the name in the manifest is too long; allowed: {MAX_NAME} bytes")
    if manifest.memory_pages is not None and not 0 < manifest.memory_pages * PAGE <= limits.memory:
        raise _bad(
            f"the manifest asks for {manifest.memory_pages} pages of memory; allowed: 1 to {limits.memory // PAGE}"
        )
    return manifest


def check_memory(used: int, limits: Limits) -> None:
    """A module whose memory starts above the limit could never be instantiated."""
    if used > limits.memory:
        raise TenantError(
            "module", "bad_export", f"export 'memory': found {used} bytes at the start, allowed are {limits.memory}"
        )


def _bad(message: str) -> TenantError:
    return TenantError("module", "bad_manifest", message)
