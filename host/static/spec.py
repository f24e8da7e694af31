"""What a class of static actors offers, read once: its actions, the hooks that it has, its options."""

from __future__ import annotations

import inspect
from typing import Any

from msgspec import Struct

from host.bridge.envelopes import StartReply
from host.static.actor import ACTION, Actor

__all__ = ["ActorSpec", "spec_of"]


class ActorSpec(Struct, frozen=True):
    actor: type[Actor]
    actions: frozenset[str]
    request: bool
    socket: bool
    alarm: bool
    auth: bool = False

    @property
    def reply(self) -> StartReply:
        """What it tells the host of itself at a start."""
        return StartReply(
            actions=sorted(self.actions),
            request=self.request,
            socket=self.socket,
            hibernate=self.actor.hibernate,
            sleep_timeout=self.actor.sleep_timeout,
            action_timeout=self.actor.action_timeout,
            connect=True,
            guarded_events=list(self.actor.guarded_events),
            auth=self.auth,
        )


def spec_of(actor: type[Any]) -> ActorSpec:
    """Raises TypeError for what is no class of actors, and says what is wrong with one."""
    if not (isinstance(actor, type) and issubclass(actor, Actor)):
        raise TypeError(f"{actor!r} is no subclass of Actor")
    if type(actor.version) is not int or actor.version < 1:
        raise TypeError(f"{actor.__name__}.version is a whole number from 1, not {actor.version!r}")
    _require_plain_init(actor)
    actions = frozenset(name for name, member in inspect.getmembers(actor) if getattr(member, ACTION, False) is True)
    if hidden := sorted(name for name in actions if hasattr(Actor, name)):
        raise TypeError(f"the action {hidden[0]!r} of {actor.__name__} hides Actor.{hidden[0]}; give it another name")
    return ActorSpec(
        actor,
        actions,
        request=_overrides(actor, "on_request"),
        socket=any(_overrides(actor, hook) for hook in ("on_websocket", "on_message", "on_close")),
        alarm=_overrides(actor, "on_alarm"),
        auth=_overrides(actor, "auth"),
    )


def _require_plain_init(actor: type[Actor]) -> None:
    """The host makes the objects, and knows nothing to give them."""
    try:
        inspect.signature(actor.__init__).bind(None)
    except TypeError as error:
        raise TypeError(
            f"{actor.__name__}.__init__ is called without arguments ({error}); what it needs can be a class attribute"
        ) from None


def _overrides(actor: type[Actor], hook: str) -> bool:
    return getattr(actor, hook) is not getattr(Actor, hook)
