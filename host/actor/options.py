"""The options of one instance: what the definition says, else what the module said at its start, else the limits."""

from __future__ import annotations

from host.actor.definitions import ActorDefinition
from host.bridge.envelopes import StartReply
from host.model.limits import Limits

__all__ = ["Options"]

LONGEST_HANDLER_MS = 600_000
LONGEST_IDLE_MS = 86_400_000


class Options:
    """In seconds."""

    __slots__ = ("handler_timeout", "hibernate", "sleep_timeout")

    def __init__(self, definition: ActorDefinition, reply: StartReply, limits: Limits) -> None:
        chosen = definition.options
        handler = chosen.action_timeout or reply.action_timeout or limits.handler_timeout
        idle = chosen.sleep_timeout or reply.sleep_timeout or limits.sleep_timeout
        self.handler_timeout: float = min(max(handler, 1), LONGEST_HANDLER_MS) / 1_000
        self.sleep_timeout: float = min(max(idle, 1), LONGEST_IDLE_MS) / 1_000
        self.hibernate: bool = reply.hibernate if chosen.hibernate is None else chosen.hibernate
