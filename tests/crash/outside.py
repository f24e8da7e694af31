"""The client of a node without its two ends: what it sends, what it is told, and its history for the checker.

The scenario passes every fail point: messages in bursts, actions, alarms, timers, sleeps, wakes, a close by the
actor.
"""

from __future__ import annotations

import json

import anyio

from host.model.errors import DormiceError
from tests.actor.fake_gateway import Socket
from tests.actor.harness import Failed, Harness
from tests.crash.checker import Broken, Line, Once, Row, broken

__all__ = ["Outside"]


class Outside:
    def __init__(self, h: Harness, actor_id: str) -> None:
        self.h = h
        self.actor_id = actor_id
        self.lines: dict[str, Line] = {}
        self.sockets: dict[str, Socket] = {}
        self.once = Once()

    # --- what it does --------------------------------------------------------------------------------------------

    async def scenario(self) -> None:
        await self.open("a")
        await self.send("a", "all", "all", "plain")
        await self.action("x1", "all")
        await self.send("a", "timer", "plain")
        await self.h.advance(1)
        await self.ring("r1", "all")
        await self.send("a", "sleep")
        await self.h.advance(40)
        await self.send("a", "all", "all")
        await self.open("b")
        await self.send("b", "all", "close")
        await self.action("x2", "timer")
        await self.ring("r2", "sleep")
        await self.send("a", "all")
        # Long enough for every delay after a fault, and to fall asleep.
        await self.h.advance(120)

    async def open(self, label: str) -> None:
        """Tries again when the actor could not be started."""
        for _ in range(4):
            try:
                with anyio.fail_after(10):
                    socket = await self.h.gateway.open(self.actor_id)
            except DormiceError:
                await self.h.advance(3)
                continue
            self.sockets[label] = socket
            self.lines[label] = Line()
            await self.h.rest()
            return

    async def send(self, label: str, *whats: str) -> None:
        """A burst; nothing if the connection is gone."""
        socket = self.sockets.get(label)
        for what in whats:
            if socket is None or socket.closed is not None:
                return
            sent = self.lines[label].sent
            sent.append(f"{label} {len(sent) + 1} {what}")
            socket.send(sent[-1])
        await self.h.rest()
        await self.h.advance(2)

    async def action(self, name: str, what: str) -> None:
        self.once.asked.append(name)
        try:
            await self.h.call(self.actor_id, "once", name, what)
            self.once.told.append(name)
        except (Failed, DormiceError):
            await self.h.advance(3)

    async def ring(self, name: str, what: str) -> None:
        """An alarm whose setting was answered has gone off when the scenario is over."""
        self.once.asked.append(name)
        try:
            await self.h.call(self.actor_id, "ring", name, 5, what)
            self.once.told.append(name)
        except (Failed, DormiceError):
            await self.h.advance(3)
        await self.h.advance(5)

    # --- what it knows in the end --------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        found = self.h.storage.driver.reader(self.actor_id).range(b"log/", b"log0", reverse=False, limit=10_000)
        return [Row(*json.loads(value)) for _, value in found]

    def closes(self) -> list[str]:
        found = self.h.storage.driver.reader(self.actor_id).range(b"closed/", b"closed0", reverse=False, limit=10_000)
        return [key.split(b"/")[1].decode() for key, _ in found]

    def read_frames(self) -> None:
        """From what the gateway was told: frames are answers, acknowledgements are watermarks."""
        for label, socket in self.sockets.items():
            answers = [str(frame) for frame in socket.frames if str(frame).startswith("ok ")]
            self.lines[label].told = [int(answer.split()[1]) for answer in answers]
            acks = (line for line in self.h.happened("ack") if line[1] == socket.conn)
            self.lines[label].marks = [int(str(line[2])) for line in acks]

    def broken(self) -> list[Broken]:
        self.read_frames()
        return self.broken_as_told()

    def broken_as_told(self) -> list[Broken]:
        """With what was read of the frames before; what the gateway of another node was told is not asked."""
        return broken(self.lines, self.once, self.rows())
