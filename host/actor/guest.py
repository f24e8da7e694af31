"""What an instance runs, whatever it is made of: an isolate with a tenant's module, or a Python class of the operator.

Events go in as a turn, settled events come out as a reply, and what the turn wants to change is recorded by `calls`.
Nothing above this asks which kind it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from host.bridge.codec import Codec
from host.bridge.envelopes import Turn
from host.bridge.reply import Reply
from host.bridge.session import HostCalls
from host.capabilities.random import RandomStream
from host.capabilities.state import ActorState
from host.model.definitions import Manifest
from host.model.failpoints import FailPoints
from host.model.limits import Limits
from host.model.ports import StateReader
from host.model.records import ActorImage

__all__ = ["Guest", "GuestMaker", "Place"]


class Guest(Protocol):
    """Entered on executor threads, by one owner at a time. `calls.state` is the hydrated state that it works on."""

    @property
    def calls(self) -> HostCalls: ...

    def deliver(self, turn: Turn) -> Reply:
        """One turn. Raises `GuestFault` when the guest has to be given up, and then it is never entered again."""
        ...

    def close(self) -> None:
        """Frees what it holds; safe to call twice, and on any thread while it is not entered."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """What one start of an actor gives its guest: the actor as it is on disk, a reader of its cold KV, its stream of
    random bytes, and the limits in force."""

    image: ActorImage
    limits: Limits
    reader: StateReader
    random: RandomStream
    failpoints: FailPoints

    def calls(self, codec: Codec, manifest: Manifest) -> HostCalls:
        """The host calls of this start, over freshly hydrated state."""
        state = ActorState.from_image(self.image)
        return HostCalls(codec, state, self.reader, self.limits, manifest, self.random, self.failpoints)


# Makes the guest of one start. It runs code of the guest, so it is called on an executor thread; raises `GuestFault` or
# `TenantError` when that code fails.
GuestMaker = Callable[[Place], Guest]
