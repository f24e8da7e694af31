"""The user of a /connect session outside of the host: the actions it asked for, the answers and events that came, and
whether they fit each other and what is on disk.

Actions interleave, so answers come in any order; each has one answer, and an action took effect exactly if it was
answered with a result. What may be answered otherwise: one that was in work, with turns on disk, when its isolate or
the host went (`actor/aborted`), and the one in whose turn the guest was struck.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio

from host.client import Client
from host.client.socket import SocketClosed
from host.model.tunnel import ActionRequest, Subscription
from host.wire.frames.to_client import ActionResponse, ErrorFrame, EventFrame, Init, decode_to_client
from host.wire.frames.to_server import encode_to_server
from host.wire.values import from_python, to_python
from tests.crash.session_talk import Talk
from tests.end_to_end.host import TestHost

__all__ = ["ConnectTalk"]

# Answers that overtake others, every host call in a turn, and an actor that sleeps in between.
STORY = (("all", "slow", "plain", "timer", "all"), ("slow", "plain", "sleep"), ("slow", "all", "plain", "slow", "all"))
ABORTED, TRAP = "actor/aborted", "guest/trap"


class ConnectTalk(Talk):
    """`answers` maps an action's number to all that was said of it: its result, or the name of its error."""

    def __init__(self, client: Client, actor_id: str) -> None:
        super().__init__(client, actor_id)
        self.session = client._gateway.session(actor_id, "connect")
        self.whats: dict[int, str] = {}
        self.answers: dict[int, list[Any]] = {}
        self.events: list[tuple[str, int]] = []
        self.inits = 0
        self.number = 0

    async def story(self) -> None:
        try:
            async with self.session:
                await self._send(Subscription("all", True))
                for whats in STORY:
                    await self.say(*whats)
                await self.session.flush()
                await self.say("close")
                if self.answers[self.number] == [TRAP]:
                    await self.say("close")
                await self._hear()
        except SocketClosed as closed:
            self.ended = closed
        finally:
            self.over.set()

    async def _send(self, message: ActionRequest | Subscription) -> None:
        await self.session.send(encode_to_server("json", message))

    async def say(self, *whats: str) -> None:
        """A burst of actions, and an answer to each."""
        for what in whats:
            self.number += 1
            self.whats[self.number] = what
            await self._send(ActionRequest(self.number, "does", from_python([self.number, what])))
        while self.whats.keys() - self.answers.keys():
            await self._hear()

    async def _hear(self) -> None:
        frame = decode_to_client("json", await self.session.receive())
        match frame:
            case ActionResponse():
                self.answers.setdefault(frame.id, []).append(to_python(frame.output))
            case ErrorFrame():
                assert frame.action_id is not None, frame.error
                self.answers.setdefault(frame.action_id, []).append(frame.error.name)
            case EventFrame():
                self.events.append((frame.name, *to_python(frame.args)))
            case Init():
                self.inits += 1

    async def check(self, host: TestHost, *, traps: int = 0) -> None:
        """Once the actor has been told of the session's end. `traps` is how many actions were struck in their turn. The
        last answer leaves together with the close: a client that is away at that moment does not get it."""
        with anyio.fail_after(20):
            while (await host.snapshot(self.actor_id))["connections"]:
                await anyio.lowlevel.checkpoint()
        rows = Counter(await host.call(self.actor_id, "log"))
        heard = Counter(self.events)
        assert self.inits == 1
        assert len(self.whats) - sum(map(len, STORY)) in (1, 1 + traps)
        trapped = 0
        for number, what in self.whats.items():
            told = self.answers.get(number, [])
            if what == "close" and not told:
                continue
            assert len(told) == 1, (number, what, told)
            if told == [number]:
                assert rows[number] == 1, (number, what)
                assert heard[("mine", number)] == heard[("all", number)] == 1, (number, what, heard)
                continue
            assert told == [TRAP] or (told == [ABORTED] and what == "slow"), (number, what, told)
            trapped += told == [TRAP]
            assert rows[number] == heard[("mine", number)] == heard[("all", number)] == 0, (number, what)
        assert trapped <= traps
        assert rows.keys() <= self.whats.keys()
        assert set(rows.values()) <= {1}
        assert self.ended is not None
        assert await host.call(self.actor_id, "closes") == 1
