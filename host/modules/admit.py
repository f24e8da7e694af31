"""What a module must be to be stored: everything that can be known before an actor runs it.

The content type decides the kind, for bytes prove nothing (text is valid in more than one language). A wasm module
needs the binary magic before anything parses it, since the engine's own loader takes the text format too; then come its
manifest, a compilation, and the ABI of `host.isolate`. A js module is run once (`js_check`).
"""

from __future__ import annotations

from posixpath import splitext
from urllib.parse import urlsplit

from host.isolate.wasmbin import HEADER
from host.model.definitions import ModuleKind
from host.model.errors import CallerError, TenantError

__all__ = ["check_magic", "kind_of_type", "kind_of_url"]

_KINDS: dict[str, ModuleKind] = {
    "application/wasm": "wasm",
    "text/javascript": "js",
    "application/javascript": "js",
}
# What servers say of files they know nothing of; there the URL's ending decides.
_VAGUE = ("", "text/plain", "application/octet-stream", "binary/octet-stream")
_ENDINGS: dict[str, ModuleKind] = {".wasm": "wasm", ".js": "js", ".mjs": "js"}

MAGIC, CORE_VERSION = HEADER[:4], HEADER[4:]


def kind_of_type(content_type: str) -> ModuleKind:
    kind = _KINDS.get(_essence(content_type))
    if kind is None:
        raise _unsupported(f"content type {content_type[:100]!r}")
    return kind


def kind_of_url(content_type: str, place: str) -> ModuleKind:
    """As `kind_of_type`, with the URL's ending where the server did not know."""
    essence = _essence(content_type)
    if essence in _VAGUE:
        ending = splitext(urlsplit(place).path)[1].lower()
        kind = _ENDINGS.get(ending)
        if kind is None:
            raise _unsupported(f"content type {content_type[:100]!r} and the ending {ending[:20]!r}")
        return kind
    return kind_of_type(content_type)


def check_magic(wasm: bytes) -> None:
    """The binary format of core modules, version 1, and nothing else."""
    if wasm[:4] != MAGIC:
        text = " (it looks like the text format: convert it to binary first)" if wasm.lstrip()[:1] == b"(" else ""
        raise TenantError("module", "not_wasm", f"the bytes are not a WebAssembly binary: no magic number{text}")
    version = wasm[4:8]
    if len(version) < 4:
        raise TenantError("module", "malformed", f"the module ends after {len(wasm)} bytes, inside its header")
    if version != CORE_VERSION:
        hint = "; components are not supported, upload a core module" if version[2:] == b"\x01\0" else ""
        raise TenantError("module", "not_wasm", f"not a core module of version 1 (version field {version.hex()}){hint}")


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _unsupported(found: str) -> CallerError:
    known = ", ".join(_KINDS)
    return CallerError("module", "unsupported_type", f"{found} is no module; send one of: {known}")
