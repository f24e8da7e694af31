"""The user of a session client outside of the host: what it said, what it heard, and whether both fit what is on disk.

It talks to the reference client (host/client/session.py) alone, which has to bring every message and every frame
through whatever happens to the connection and to the host.
"""

from __future__ import annotations

import anyio

from host.client import Client, SessionSocket
from host.client.socket import SocketClosed
from tests.crash.checker import Broken, Line, Once, Row, broken
from tests.end_to_end.host import TestHost

__all__ = ["LABEL", "Talk"]

LABEL = "s"
# Every host call in a turn, a timer that outlives its turn, and an actor that sleeps in between.
STORY = (("all", "plain", "timer", "all"), ("plain", "sleep"), ("all", "plain", "timer", "all"))


class Talk:
    """`over` is set when the session has ended; `ended` then is how."""

    def __init__(self, client: Client, actor_id: str) -> None:
        self.actor_id = actor_id
        self.session: SessionSocket = client.session(actor_id, LABEL)
        self.line = Line()
        self.ended: SocketClosed | None = None
        self.over = anyio.Event()

    async def story(self) -> None:
        """Says all there is to say and hears every answer; in the end the actor closes. Returns as soon as the session
        has ended, however it did."""
        try:
            async with self.session:
                for whats in STORY:
                    await self.say(*whats)
                await self.session.flush()
                await self.say("close")
                await self.session.receive()
        except SocketClosed as closed:
            self.ended = closed
        finally:
            self.over.set()

    async def say(self, *whats: str) -> None:
        """A burst, and as many answers."""
        for what in whats:
            self.line.sent.append(f"{LABEL} {len(self.line.sent) + 1} {what}")
            await self.session.send(self.line.sent[-1])
        while len(self.line.told) < len(self.line.sent):
            word, index = str(await self.session.receive()).split()
            assert word == "ok"
            self.line.told.append(int(index))

    async def take_over(self) -> None:
        """Goes on on a second connection, while the first is open."""
        session = self.session
        async with session._connecting:
            session._connection = None
        await session._connected()

    async def rows(self, host: TestHost) -> list[Row]:
        rows: list[Row] = []
        last = 0
        while page := await host.call(self.actor_id, "log", last + 1):
            rows += [Row(*row) for _, row in page]
            last = page[-1][0]
        return rows

    async def wrong(self, host: TestHost) -> list[Broken]:
        """What breaks the promise, once the actor has been told of the session's end."""
        with anyio.fail_after(20):
            while (await host.snapshot(self.actor_id))["connections"]:
                await anyio.lowlevel.checkpoint()
        return broken({LABEL: self.line}, Once(), await self.rows(host))

    def assert_whole(self, *, struck_at_close: bool = False) -> None:
        """Every answer came, once and in order. The last leaves together with the close: a client that is away at that
        moment finds no session any more, and does not get it."""
        said = sum(map(len, STORY)) + 1
        assert len(self.line.sent) == said
        assert self.ended is not None
        heard = list(range(1, said + 1))
        if struck_at_close:
            assert self.ended.code in (4000, 4004)
            assert self.line.told in (heard, heard[:-1])
        else:
            assert (self.ended.code, self.ended.reason) == (4000, "as told")
            assert self.line.told == heard
