"""A guest that is an isolate: from code to something that takes turns, envelopes and all. Runs on executor threads.

For kind js an actor begins in the image of its module, or the module is loaded into the engine's image first; both
leave the same behind (`host.isolate.loading`). The actor's own seed comes after it.
"""

from __future__ import annotations

from functools import partial

from host.actor.guest import GuestMaker, Place
from host.bridge.codec import Codec
from host.bridge.envelopes import Turn
from host.bridge.reply import Reply
from host.bridge.session import HostCalls
from host.isolate.isolate import Isolate
from host.isolate.loading import load_module, seed_for
from host.isolate.turn_host import NullTurnHost
from host.modules.api import RunnableCode

__all__ = ["IsolateGuest", "isolate_maker"]


class IsolateGuest:
    __slots__ = ("_codec", "_isolate", "calls")

    def __init__(self, isolate: Isolate, codec: Codec, calls: HostCalls) -> None:
        self._isolate = isolate
        self._codec = codec
        self.calls = calls

    def deliver(self, turn: Turn) -> Reply:
        return self._codec.decode_reply(self._isolate.deliver(self._codec.encode_turn(turn)))

    def close(self) -> None:
        self._isolate.close()


def isolate_maker(code: RunnableCode) -> GuestMaker:
    return partial(_wake, code)


def _wake(code: RunnableCode, place: Place) -> IsolateGuest:
    """Raises GuestFault when code of the module that runs at instantiation faults, TenantError when it throws."""
    codec = Codec(code.manifest.codec)
    calls = place.calls(codec, code.manifest)
    digest = bytes.fromhex(code.digest)
    ready = code.image if code.image is not None and code.image.fits(place.limits) else None
    isolate = Isolate(code.code if ready is None else ready.code, place.limits, NullTurnHost(digest))
    try:
        if code.source is not None:
            if ready is None:
                load_module(isolate, code.source, digest)
            isolate.reseed(seed_for(place.random.read(8)))
        isolate.host = calls
    except BaseException:
        isolate.close()
        raise
    return IsolateGuest(isolate, codec, calls)
