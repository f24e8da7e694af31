"""How a deployment image is made: in the jail, behind everything else that is to be compiled.

The child runs the top level on an engine of a profile of its own; the engine's image, compiled for that profile, is
made once and kept beside the artifacts. What comes back is machine code for this host's engine.
"""

from __future__ import annotations

from anyio.to_thread import run_sync

from host.isolate.config import Profile
from host.model.limits import Limits
from host.modules.cache import ArtifactCache
from host.modules.deployment_images import BuiltImage
from host.modules.engine_image import EngineImage
from host.modules.jail.jail import Jail
from host.modules.jail.jobs import IMAGE_PROFILE, Compile, Image

__all__ = ["JailedImageBuilder"]

ENGINE_CODE = "cwasm"
# In the jail's line all images are one tenant's: they are built one at a time anyway.
LINE = "deployment images"


class JailedImageBuilder:
    """`engine_codes` keeps artifacts of `IMAGE_PROFILE`; images are compiled for `profile`."""

    def __init__(
        self, jail: Jail, engine_image: EngineImage, engine_codes: ArtifactCache, profile: Profile, limits: Limits
    ) -> None:
        self._jail = jail
        self._engine_image = engine_image
        self._engine_codes = engine_codes
        self._profile: Profile = profile
        self._limits = limits.as_dict()

    async def __call__(self, digest: str, source: bytes) -> BuiltImage:
        engine = await self._engine_image.wasm()
        job = Image(
            engine=engine,
            engine_code=await self._engine_code(engine),
            source=source,
            digest=bytes.fromhex(digest),
            limits=self._limits,
            profile=self._profile,
        )
        done = await self._jail.run(LINE, job, f"building the image of module {digest[:12]}", behind=True)
        return BuiltImage(done.artifact, max(0, done.load_ms))

    async def _engine_code(self, engine: bytes) -> bytes:
        digest = self._engine_image.digest
        kept = await run_sync(self._engine_codes.load, ENGINE_CODE, digest)
        if kept is not None:
            return kept
        job = Compile(engine, IMAGE_PROFILE, "js")
        done = await self._jail.run(LINE, job, "compiling the JavaScript engine for images", behind=True)
        await run_sync(self._engine_codes.store, ENGINE_CODE, digest, done.artifact)
        return done.artifact
