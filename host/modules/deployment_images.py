"""Deployment images: which of them are ready, and the one task that builds the others behind everything else.

A start never waits for a build: it is told of an image that is ready (in memory, or a file of this host's), and else
loads the module into the engine's image as ever. A build is wanted by a deployment and by the first start that finds no
image. Builds come one at a time; what waits is bounded, and a module that does not fit there is wanted again by its
next start. A build that fails for a reason of the module's own is not tried again by this process.

Images are keyed by digest, not by tenant: an image is a function of the engine and of the bytes of the module, made
without a host call, at time 0, seeded by the digest (`host.isolate.loading`). Two tenants with the same bytes would
build the same image, so neither can learn anything from it or put anything into it. Who may run a module is decided
before an image is looked for.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Protocol

import anyio
from anyio.to_thread import run_sync
from msgspec import Struct

from host.isolate.engine import Engine
from host.model.errors import DormiceError, InternalError, UnavailableError
from host.model.ports import Metrics
from host.modules.api import DeploymentImage
from host.modules.cache import ArtifactCache
from host.modules.lru import Lru
from host.modules.machine_code import MachineCode
from host.telemetry.logging import get_logger

__all__ = ["BuiltImage", "DeploymentImages", "ImageBuilder"]

ARTIFACT = "jsimage"
# Machine code and memory of images beyond those that actors hold.
KEPT_BYTES = 256 * 1024 * 1024
MAX_WAITING = 256
# Digests whose build failed; what is forgotten may be tried once more.
MAX_REFUSED = 4_096
# Builds of one module that came to no verdict; a module that never comes to one must not occupy the jail at each start.
MAX_TRIES = 3

# The note of an image's artifact.
_LOAD_MS = struct.Struct("<I")

log = get_logger("modules")


class BuiltImage(Struct, frozen=True):
    """Machine code for this host's engine, and how long the top level ran."""

    artifact: bytes
    load_ms: int


class ImageBuilder(Protocol):
    """Runs a module's top level and compiles what comes of it, out of the way of everything else."""

    async def __call__(self, digest: str, source: bytes) -> BuiltImage:
        """Raises a DormiceError; an UnavailableError is no verdict on the module."""
        ...


class DeploymentImages:
    """`inputs` names the engine and the prelude; `source` gives the bytes of a module that is stored. Not `on`, there
    are no images."""

    def __init__(
        self,
        engine: Engine,
        cache: ArtifactCache,
        build: ImageBuilder,
        source: Callable[[str], Awaitable[bytes]],
        metrics: Metrics,
        *,
        inputs: str,
        on: bool = True,
    ) -> None:
        self._artifacts = MachineCode(engine, cache, ARTIFACT, metrics)
        self._build = build
        self._source = source
        self._metrics = metrics
        self._on = on
        self._inputs = bytes.fromhex(inputs)
        self._ready: Lru[str, DeploymentImage] = Lru(KEPT_BYTES)
        self._refused: Lru[str, bool] = Lru(MAX_REFUSED)
        self._tries: Lru[str, int] = Lru(MAX_REFUSED)
        self._looking: dict[str, anyio.Event] = {}
        self._wanted: dict[str, None] = {}
        self._building: str | None = None
        self._changed = anyio.Event()

    async def get(self, digest: str) -> DeploymentImage | None:
        """The image of a js module, for a start; None if there is none yet, and then it is wanted."""
        if not self._on:
            return None
        image = self._ready.get(digest)
        if image is None and digest != self._building and digest not in self._wanted and not self._refused.get(digest):
            image = await self._look(digest)
            if image is None:
                self.want(digest)
        if image is not None:
            self._metrics.count("deployment_images", "used")
        return image

    def want(self, digest: str) -> None:
        """Has the image built, unless that is under way or done, or has failed before."""
        if not self._on or digest == self._building or self._refused.get(digest) or self._ready.get(digest) is not None:
            return
        if len(self._wanted) >= MAX_WAITING and digest not in self._wanted:
            self._metrics.count("deployment_images", "put_off")
            return
        self._wanted[digest] = None
        self._tell()

    async def run(self) -> None:
        """Builds what is wanted, in its order, until cancelled."""
        while True:
            while not self._wanted:
                await self._changed.wait()
            digest = self._building = next(iter(self._wanted))
            del self._wanted[digest]
            try:
                await self._make(digest)
            finally:
                self._building = None
                self._tell()

    async def idle(self) -> None:
        """Returns when nothing is built or waits to be."""
        while self._wanted or self._building is not None:
            await self._changed.wait()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _look(self, digest: str) -> DeploymentImage | None:
        """From the artifact; who asks meanwhile waits for the same look."""
        looking = self._looking.get(digest)
        if looking is not None:
            await looking.wait()
            return self._ready.get(digest)
        done = self._looking[digest] = anyio.Event()
        try:
            return await self._from_artifact(digest)
        finally:
            del self._looking[digest]
            done.set()

    async def _make(self, digest: str) -> None:
        try:
            if await self._look(digest) is not None:
                return
            built = await self._build(digest, await self._source(digest))
            note, size = _LOAD_MS.pack(built.load_ms), len(built.artifact)
            code = await run_sync(self._artifacts.keep, self._key(digest), built.artifact, "js", note)
            self._keep(digest, DeploymentImage(code, built.load_ms), size)
        except UnavailableError as error:
            tries = (self._tries.get(digest) or 0) + 1
            self._tries.put(digest, tries)
            if tries >= MAX_TRIES:
                self._refused.put(digest, True)
            self._metrics.count("deployment_images", "put_off")
            log.info("deployment image put off", digest=digest, reason=error.name, message=error.message, tries=tries)
        except DormiceError as error:
            self._refused.put(digest, True)
            self._metrics.count("deployment_images", "refused")
            tell = log.error if isinstance(error, InternalError) else log.info
            tell("no deployment image", digest=digest, reason=error.name, message=error.message, detail=error.detail)
        except Exception as error:
            self._refused.put(digest, True)
            self._metrics.count("deployment_images", "refused")
            log.exception("no deployment image", digest=digest, reason="internal/internal_error", error=str(error))
        else:
            self._metrics.count("deployment_images", "built")
            log.info("deployment image built", digest=digest, size=size, load_ms=built.load_ms)

    async def _from_artifact(self, digest: str) -> DeploymentImage | None:
        kept = await run_sync(self._artifacts.load, self._key(digest), "js")
        if kept is None or len(kept.note) != _LOAD_MS.size:
            return None
        image = DeploymentImage(kept.code, _LOAD_MS.unpack(kept.note)[0])
        self._metrics.count("deployment_images", "loaded")
        self._keep(digest, image, kept.size)
        return image

    def _keep(self, digest: str, image: DeploymentImage, weight: int) -> None:
        self._ready.put(digest, image, weight)

    def _key(self, digest: str) -> str:
        return sha256(b"dormice deployment image 1\0" + self._inputs + bytes.fromhex(digest)).hexdigest()
