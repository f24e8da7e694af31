"""The manifest of a wasm module: read from its custom section without running anything, and checked whole.

A capability that this host does not know is refused here, at upload, with the names of those it knows: a guest that
found out in its first turn that it may do nothing would be a worse surprise.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from host.isolate.wasmbin import MANIFEST_SECTION
from host.model.definitions import CAPABILITIES, Manifest
from host.model.limits import Limits
from host.modules.admission.refusals import bad_manifest

__all__ = ["ABI", "ALWAYS_GRANTED", "granted", "read_manifest"]

ABI = 1
MAX_NAME = 64
PAGE = 65_536

# Granted to every guest, so naming them in a manifest is harmless.
ALWAYS_GRANTED = frozenset({"log", "now", "random"})


def granted(manifest: Manifest) -> tuple[str, ...]:
    """All that a guest with this manifest may do, sorted."""
    return tuple(sorted({*manifest.capabilities} | ALWAYS_GRANTED))


def read_manifest(raw: bytes | None, limits: Limits) -> Manifest:
    """Raises `module/bad_manifest`; None is a module without one."""
    if raw is None:
        raise bad_manifest(
            f'the module has no custom section {MANIFEST_SECTION}; it needs at least {{"abi": {ABI}}} there'
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
        json.loads(raw, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise bad_manifest(f"the custom section {MANIFEST_SECTION} is not a manifest: {str(error)[:200]}") from error
    if manifest.abi != ABI:
        raise bad_manifest(f"the manifest asks for isolate ABI {manifest.abi}; this host offers {ABI}")
    unknown = sorted(set(manifest.capabilities) - CAPABILITIES - ALWAYS_GRANTED)
    if unknown:
        known = ", ".join(sorted(CAPABILITIES))
        raise bad_manifest(f"the manifest lists unknown capabilities: {', '.join(unknown)[:200]}; known are {known}")
    if manifest.name is not None and len(manifest.name.encode("utf-8", "replace")) > MAX_NAME:
        raise bad_manifest(f"the name in the manifest is too long; allowed: {MAX_NAME} bytes")
    if manifest.memory_pages is not None and not 0 < manifest.memory_pages * PAGE <= limits.memory:
        raise bad_manifest(
            f"the manifest asks for {manifest.memory_pages} pages of memory; allowed: 1 to {limits.memory // PAGE}"
        )
    return manifest


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values under one name would leave it to the reader which one counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made
