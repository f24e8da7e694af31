"""Other actors of the namespace, as a static actor calls them.

A call is made after the turn is saved, and its answer comes in a later turn; meanwhile the actor goes on with other
events. Handles find their actor anew at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Raw

from host.bridge.envelopes import ActorCall, CompletionEvent
from host.model.calls import PeerMethod
from host.static.tasks import Deferred, Task
from host.static.values import native
from host.wire.values import from_python

__all__ = ["ActorHandle", "Begin", "Client", "NamedActors"]

# Makes a deferred call; the function reads its result.
Begin = Callable[[Any, Callable[[CompletionEvent], Any]], Deferred[Any]]


class ActorHandle:
    """`await handle.an_action(1, 2)` calls an action; `action` does too, whatever its name."""

    def __init__(self, begin: Begin, target: ActorCall) -> None:
        self._begin = begin
        self._target = target

    def action(self, name: str, *args: Any, timeout: int | None = None) -> Deferred[Any]:
        """Await it for the result. `timeout` in ms. Raises what the other actor did if that is a
        `UserError`, else `CallFailed`."""
        target = self._target
        call = ActorCall(
            target.name,
            target.key,
            target.method,
            name,
            Raw(from_python(list(args))),
            target.input,
            target.actor,
            UNSET if timeout is None else timeout,
        )
        return self._begin(call, _result)

    def resolve(self) -> Deferred[str]:
        """The id of the actor, which is made if the handle makes one."""
        return self._begin(self._target, lambda done: str(_result(done)["actor"]))

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.action(name, *args)


class NamedActors:
    """The actors of one name. A key is a text, or several."""

    def __init__(self, begin: Begin, spawn: Callable[[Any], Task[Any]], name: str) -> None:
        self._begin = begin
        self._spawn = spawn
        self._name = name

    def get(self, key: str | Sequence[str] = ()) -> ActorHandle:
        """Calls of the handle are `actor/not_found` while there is none."""
        return self._keyed("get", key, None)

    def get_or_create(self, key: str | Sequence[str] = (), *, input: Any = None) -> ActorHandle:
        """The first call makes it, with `input`, if there is none."""
        return self._keyed("getOrCreate", key, input)

    def get_for_id(self, actor_id: str) -> ActorHandle:
        return ActorHandle(self._begin, ActorCall(actor=actor_id))

    def create(self, key: str | Sequence[str] = (), *, input: Any = None) -> Task[ActorHandle]:
        """Await it for the handle of the new actor; `actor/duplicate_key` if the key has one."""

        async def made() -> ActorHandle:
            return self.get_for_id(await self._keyed("create", key, input).resolve())

        return self._spawn(made())

    def _keyed(self, method: PeerMethod, key: str | Sequence[str], input: Any) -> ActorHandle:
        parts = [key] if isinstance(key, str) else list(key)
        given = UNSET if input is None else Raw(from_python(input))
        return ActorHandle(self._begin, ActorCall(self._name, parts, method, input=given))


class Client:
    """`client.NAME` are the actors of that name; `client["NAME"]` too."""

    def __init__(self, begin: Begin, spawn: Callable[[Any], Task[Any]]) -> None:
        self._begin = begin
        self._spawn = spawn

    def __getitem__(self, name: str) -> NamedActors:
        return NamedActors(self._begin, self._spawn, name)

    def __getattr__(self, name: str) -> NamedActors:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]


def _result(done: CompletionEvent) -> Any:
    return None if done.result is UNSET else native(bytes(done.result))
