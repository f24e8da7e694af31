"""What an actor can be made of, what each kind cannot have, and one of them at work in a node without its ends.

`on_every_kind("feature")` runs a test once for each kind but those that `LACKS` names with a reason. `test_table.py`
sees to it that no feature is without a test and no row without a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from host.model.limits import Limits
from tests.actor.fake_gateway import Socket
from tests.actor.harness import Harness

__all__ = ["FEATURES", "KINDS", "LACKS", "NAME", "TESTED", "World", "on_every_kind", "source"]

Test = TypeVar("Test", bound=Callable[..., Any])

HERE = Path(__file__).parent
NAME = "thing"
KINDS = ("static", "js", "wasm")

FEATURES = {
    "actions": "calls by name, with Values in and out",
    "errors": "of the user pass, others are masked, an unknown action is not found",
    "identity": "who the actor is",
    "generation": "how often its key was created, as the guest sees it",
    "state": "one document, saved with the turn",
    "kv": "an ordered store, limits included",
    "alarms": "set, replaced, fired, tried again, cancelled",
    "schedule": "an action that is run later",
    "crons": "an action that is run again and again, and knows why",
    "timers": "a handler that waits, and others meanwhile",
    "requests": "raw HTTP",
    "sockets": "opened, answered, closed; one message after another",
    "connections": "clients of the /connect protocol: let in or not, actions side by side, events, state over sleeps",
    "hibernation": "sockets with index, state and tags over a sleep",
    "commit": "nothing is seen before it is on disk",
    "sleep": "the hook, the wish, the idle clock, what holds it",
    "upgrade": "a new version finds the state of the old one, and is told",
    "destroy": "its last hook, its end from within and from outside",
    "starts": "input once, a start that throws, back-off",
    "time-outs": "a handler that does not end is answered",
    "randomness": "a stream per actor and start",
    "time": "stands still within a turn",
    "log": "lines under the actor's name",
    "faults": "code that crashes loses its isolate, and nobody else anything",
    "deadline": "code that loops is stopped",
    "memory": "code that hoards is stopped",
}

# (kind, feature) -> why it cannot.
LACKS = {
    ("static", "faults"): "Python in the host's own process: there is no isolate to lose, and an exception is a throw",
    ("static", "deadline"): "nothing can stop a Python function on a thread; whoever registers the class is trusted",
    ("static", "memory"): "the memory is the process's own",
    ("js", "generation"): "the context of the SDK has no generation; clients see it in x-rivet-actor-generation",
    ("wasm", "connections"): "the header for C has no words for them; a module can announce them by the schemas alone",
    ("wasm", "schedule"): "it is the SDKs' work on top of alarms; the header for C has none",
    (
        "wasm",
        "crons",
    ): "the host calls are there (tests/actor/test_crons.py makes them); the header for C has none",
}

TESTED: set[str] = set()


def on_every_kind(feature: str) -> Callable[[Test], Test]:
    TESTED.add(feature)
    kinds = [kind for kind in KINDS if (kind, feature) not in LACKS]
    return pytest.mark.parametrize("thing", kinds, indirect=True)


def source() -> str:
    """The thing in JavaScript."""
    return (HERE / "thing.js").read_text(encoding="utf-8")


class World:
    """A harness in which `thing` is deployed, or registered, as one kind."""

    def __init__(self, kind: str, h: Harness) -> None:
        self.kind = kind
        self.h = h
        self.clock = h.clock

    async def actor(self, key: str = "k", input: bytes | None = None) -> str:
        return await self.h.actor(NAME, key, input)

    async def call(self, actor: str, action: str, *args: Any) -> Any:
        return await self.h.call(actor, action, *args)

    def notes(self, actor: str) -> list[str]:
        """What it has noted, read from disk so that nothing is woken."""
        return self.h.storage.driver.reader(actor).get_many([b"notes"])[b"notes"].decode().split(";")

    async def open(self, actor: str, **more: Any) -> Socket:
        """A socket that has been welcomed."""
        socket = await self.h.open(actor, **more)
        assert socket.frames == ["welcome"]
        return socket

    async def talk(self, socket: Socket, *messages: str | bytes) -> list[str | bytes]:
        """What the client is sent while its messages are handled."""
        before = len(socket.frames)
        for message in messages:
            socket.send(message)
        await self.h.rest()
        return socket.frames[before:]

    async def sleep(self, actor: str) -> None:
        await self.h.asleep(actor)

    @property
    def limits(self) -> Limits:
        return self.h.services.limits
