"""Machine code between the artifact cache and the engine: mapped from the very file whose HMAC was checked.

Mapped code costs no memory of this process: its pages are the system's cache of the file, shared by all that map it and
dropped when memory is short. Code that has just been compiled takes the same way, through the file. Only where a file
cannot be kept or mapped (a full disk, a file system mounted noexec, no /proc) is the code a copy in memory.

Every code that leaves here has had its ABI checked, for the isolate's fast call path trusts the signatures.

Synchronous: callers run it on a worker thread.
"""

from __future__ import annotations

from msgspec import Struct

from host.isolate.abi import Kind
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.model.errors import DormiceError, InternalError
from host.model.ports import Metrics
from host.modules.cache import ArtifactCache
from host.telemetry.logging import get_logger

__all__ = ["Loaded", "MachineCode"]

log = get_logger("modules")


class Loaded(Struct, frozen=True):
    """`note` is what the code was kept with; `size` is that of the artifact."""

    code: Code
    note: bytes
    size: int


class MachineCode:
    """The artifacts of one `kind` in the cache."""

    def __init__(self, engine: Engine, cache: ArtifactCache, kind: str, metrics: Metrics) -> None:
        self._engine = engine
        self._cache = cache
        self._kind = kind
        self._metrics = metrics

    def load(self, key: str, abi: Kind) -> Loaded | None:
        """What was kept under `key`; None if there is nothing that this host wrote and this engine takes."""
        try:
            loaded = self._from_file(key)
            if loaded is not None:
                loaded.code.check_abi(abi)
        except DormiceError as error:
            # ours by its HMAC, yet the engine will not have it: a miss, and the next store replaces it
            self._metrics.count("artifact_cache_errors", "refused")
            log.warning("artifact not used", reason="refused", kind=self._kind, detail=error.detail or error.message)
            return None
        return loaded

    def keep(self, key: str, artifact: bytes, abi: Kind, note: bytes = b"") -> Code:
        """The code of a new artifact, which is kept. Raises the error of one that misses the ABI or does not fit this
        engine; that one is not kept."""
        stored = self._cache.store(self._kind, key, artifact, note)
        try:
            loaded = self._from_file(key) if stored else None
            code = self._engine.deserialize(artifact) if loaded is None else loaded.code
            code.check_abi(abi)
        except BaseException:
            self._cache.remove(self._kind, key)
            raise
        return code

    def _from_file(self, key: str) -> Loaded | None:
        artifact = self._cache.open(self._kind, key)
        if artifact is None:
            return None
        with artifact:
            try:
                return Loaded(self._engine.map(artifact.file), artifact.note, artifact.size)
            except InternalError as error:
                unmapped = error
        copy = self._cache.load_noted(self._kind, key)
        if copy is None:
            return None
        code = self._engine.deserialize(copy[0])
        # it fits the engine, so something about the system stands in the way
        self._metrics.count("artifact_cache_errors", "unmapped")
        log.info("artifact copied", kind=self._kind, detail=unmapped.detail or unmapped.message)
        return Loaded(code, copy[1], len(copy[0]))
