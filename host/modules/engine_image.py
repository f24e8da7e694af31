"""The JavaScript engine, pre-initialised with its prelude and compiled: one code for every actor of kind js.

Built once per host, on first use or ahead of it (`warm`), and kept as an artifact under the digest of its inputs, so
that a second start of the host loads it in milliseconds. The image itself is cached as well: it does not depend on the
engine's profile.
"""

from __future__ import annotations

from hashlib import sha256

from anyio.to_thread import run_sync

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.image import build_js_image
from host.modules.cache import ArtifactCache
from host.modules.codes import CodeStore
from host.modules.compile import Compiler

__all__ = ["EngineImage"]

IMAGE = "image"


class EngineImage:
    def __init__(
        self,
        engine: Engine,
        compiler: Compiler,
        codes: CodeStore,
        cache: ArtifactCache,
        *,
        engine_wasm: bytes,
        prelude: bytes,
    ) -> None:
        self._engine = engine
        self._compiler = compiler
        self._codes = codes
        self._cache = cache
        self._engine_wasm = engine_wasm
        self._prelude = prelude
        inputs = b"dormice js image 1\0" + sha256(engine_wasm).digest() + sha256(prelude).digest()
        self.digest = sha256(inputs).hexdigest()
        self._code: Code | None = None

    async def js_code(self) -> Code:
        # held here besides the store's LRU: it must not be forgotten while modules come and go
        if self._code is None:
            self._code = await self._codes.get(self.digest, self.wasm, "the JavaScript engine", kind="js")
        return self._code

    async def wasm(self) -> bytes:
        """The image as a module, before it is compiled."""
        image = await run_sync(self._cache.load, IMAGE, self.digest)
        if image is None:
            image = await self._compiler.run(self._build, "building the JavaScript engine image")
            await run_sync(self._cache.store, IMAGE, self.digest, image)
        return image

    def _build(self) -> bytes:
        return build_js_image(self._engine, self._engine_wasm, self._prelude)
