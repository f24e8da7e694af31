"""Where the code of an actor comes from when a program decides it per actor, not a deployment per name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from host.model.definitions import DefinitionOptions

__all__ = ["Dynamic", "LoadContext", "Loader", "ModuleSource"]


class LoadContext(Struct, frozen=True):
    """The actor that is about to start. `input` is what its creator gave, until its first start has settled."""

    tenant: str
    name: str
    key: tuple[str, ...]
    actor_id: str
    generation: int
    input: Any


class ModuleSource(Struct, frozen=True):
    """One module. It is admitted like an upload of the actor's tenant, so what is returned again costs nothing."""

    content_type: str | None = None
    data: bytes = b""
    address: str | None = None
    sha256: str | None = None

    @classmethod
    def javascript(cls, source: str) -> ModuleSource:
        return cls("text/javascript", source.encode())

    @classmethod
    def wasm(cls, data: bytes) -> ModuleSource:
        return cls("application/wasm", data)

    @classmethod
    def url(cls, address: str, *, sha256: str) -> ModuleSource:
        """`sha256` (64 hex digits) is what the bytes have to hash to; nothing is fetched if they are here already."""
        return cls(address=address, sha256=sha256)


Loader = Callable[[LoadContext], Awaitable[ModuleSource]]


class Dynamic(Struct, frozen=True):
    """Actors whose module `load` names, at every start anew. It has the rest of the start's deadline (15 s) and is
    cancelled when that is over; what it raises is a failed start."""

    load: Loader
    options: DefinitionOptions = DefinitionOptions()
    limits: Mapping[str, int] = {}
