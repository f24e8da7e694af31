"""How large what comes in may be where a definition allows less than the host does. Pure.

The gateway has checked everything against the host's own limits already; an actor whose definition leaves those alone
pays nothing for a second look.
"""

from __future__ import annotations

from host.actor.entries import Entry
from host.model.limits import Limits
from host.model.tunnel import ActionCall, HttpCall, SocketMessage

__all__ = ["Sizes"]


class Sizes:
    __slots__ = ("_limits",)

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @classmethod
    def below(cls, host: Limits, actor: Limits) -> Sizes | None:
        """None if the actor's limits are not below the host's."""
        lower = any(getattr(actor, name) < getattr(host, name) for name in ("message", "action", "body"))
        return cls(actor) if lower else None

    def over(self, entry: Entry) -> tuple[str, int, int] | None:
        """(limit, used, allowed) if it is too large."""
        payload, limits = entry.payload, self._limits
        if isinstance(payload, SocketMessage):
            data = payload.data
            if not isinstance(data, str | bytes):
                return None  # the arguments of an action are looked at when it begins, for its caller is told
            size = len(data.encode()) if isinstance(data, str) else len(data)
            return ("message", size, limits.message) if size > limits.message else None
        if isinstance(payload, ActionCall):
            size = len(payload.args)
            return ("action", size, limits.action) if size > limits.action else None
        if isinstance(payload, HttpCall):
            size = len(payload.body)
            return ("body", size, limits.body) if size > limits.body else None
        return None
