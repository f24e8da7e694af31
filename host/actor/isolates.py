"""Waking an isolate: from code and an actor's image to something that takes events. Runs on an executor thread.

For kind js the tenant's module is loaded into the engine image first; its top level sees no time, no host calls, and
randomness seeded by its own digest, so that it is the same in every actor. The actor's own seed comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from host.actor.services import Services
from host.bridge.codec import Codec
from host.bridge.session import HostCalls
from host.capabilities.random import RandomStream, actor_seed
from host.capabilities.state import ActorState
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.errors import TenantError
from host.model.limits import Limits
from host.model.records import ActorImage
from host.modules.api import RunnableCode

__all__ = ["Awake", "wake_isolate"]


@dataclass(slots=True)
class Awake:
    isolate: Isolate
    codec: Codec
    calls: HostCalls
    state: ActorState


def wake_isolate(code: RunnableCode, image: ActorImage, epoch: int, limits: Limits, services: Services) -> Awake:
    """Raises GuestFault when code of the module that runs at instantiation faults, TenantError when it throws."""
    record = image.record
    state = ActorState.from_image(image)
    codec = Codec(code.manifest.codec)
    random = RandomStream(actor_seed(services.data_key, record.actor_id, epoch))
    reader = services.storage.reader(record.actor_id)
    calls = HostCalls(codec, state, reader, limits, code.manifest, random, services.failpoints)
    digest = bytes.fromhex(code.digest)
    isolate = Isolate(code.code, limits, NullTurnHost(digest))
    try:
        if code.source is not None:
            isolate.reseed(int.from_bytes(digest[:8], "little") >> 1)
            _check_loaded(isolate.load(code.source))
            isolate.reseed(int.from_bytes(random.read(8), "little") >> 1)
        isolate.host = calls
    except BaseException:
        isolate.close()
        raise
    return Awake(isolate, codec, calls, state)


def _check_loaded(reply: bytes) -> None:
    loaded: dict[str, Any] = msgspec.json.decode(reply)
    error = loaded.get("error")
    if error is not None:
        raise TenantError("module", str(error.get("code", "js_threw")), str(error.get("message", "")))
