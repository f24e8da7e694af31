"""What the layers above may ask of modules, as a Protocol.

Every method raises `DormiceError`s only. A digest is 64 hex digits of sha256 over the bytes as uploaded; where a digest
or hash comes in, the prefix `sha256:` is accepted as well.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from host.isolate.code import Code
from host.model.definitions import Definition, DefinitionOptions, Manifest, ModuleKind, ModuleRecord
from host.model.limits import Limits

__all__ = ["DeploymentImage", "ModuleService", "RunnableCode"]


class DeploymentImage(Struct, frozen=True):
    """The engine with a js module in it, after its top level: an isolate of it needs no load."""

    code: Code
    load_ms: int

    def fits(self, limits: Limits) -> bool:
        """Whether the top level would have passed under these limits too. If not, the actor loads its module as if
        there were no image, and finds out in the same way."""
        return self.code.memory_bytes <= limits.memory and self.load_ms <= limits.turn_deadline


class RunnableCode(Struct, frozen=True):
    """All that a start needs of a module. `code` is what an isolate is made of: the module itself, or for kind js the
    engine image, into which `source` is then loaded unless there is an `image` that has it. Shared by every actor of
    the module."""

    kind: ModuleKind
    digest: str
    manifest: Manifest
    code: Code
    source: bytes | None = None
    image: DeploymentImage | None = None


class ModuleService(Protocol):
    async def upload(self, tenant: str, data: bytes, content_type: str) -> ModuleRecord:
        """Admits and stores the bytes; the same bytes again are the same module."""
        ...

    async def load_url(self, tenant: str, url: str, sha256: str) -> ModuleRecord:
        """As `upload`, from a URL. Nothing is fetched if the tenant has a module of that hash."""
        ...

    async def deploy(
        self,
        tenant: str,
        name: str,
        digest: str,
        options: DefinitionOptions,
        limits: dict[str, int],
        *,
        percent: int = 100,
    ) -> Definition:
        """A new version of the definition `name`, running the module `digest` of this tenant, for so many percent of
        its actors."""
        ...

    async def code_for(self, tenant: str, digest: str) -> RunnableCode:
        """For a start. Never fetches: the bytes are in storage. `module/not_found` if the tenant has no such module."""
        ...
