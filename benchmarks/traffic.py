"""The traffic of the soak: raw sockets, sessions, actions and alarms on one actor, and what its clients were told.

Everything that is random is decided by a generator that the caller seeds; what a kill cuts off depends on real time.
"""

from __future__ import annotations

import random

import anyio
import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from host.client import Client, SessionSocket
from tests.crash.checker import Line, Once, Row
from tests.end_to_end.host import TestHost

__all__ = ["Actor", "SESSION"]

# How a client learns that its host is gone.
GONE = (ConnectionClosed, InvalidHandshake, InvalidMessage, httpx.TransportError, OSError, EOFError)
IN_FLIGHT = 16
WHATS = ("plain", "all", "timer", "sleep")
WEIGHTS = (90, 6, 3, 1)
SESSION = "session"
SESSION_BURST = 40


class Actor:
    """One actor and its history. `acknowledged` counts messages."""

    def __init__(self, actor_id: str, rng: random.Random) -> None:
        self.actor_id = actor_id
        self.lines: dict[str, Line] = {}
        self.once = Once()
        self.rows: list[Row] = []
        self.last_row = 0
        self._rng = rng
        self._session: SessionSocket | None = None

    @property
    def acknowledged(self) -> int:
        return sum(len(line.told) for line in self.lines.values())

    def _message(self, label: str) -> str:
        sent = self.lines[label].sent
        sent.append(f"{label} {len(sent) + 1} {self._rng.choices(WHATS, WEIGHTS)[0]}")
        return sent[-1]

    # --- until the host is gone ----------------------------------------------------------------------------------

    async def raw(self, host: TestHost, label: str) -> None:
        """Keeps some messages in flight."""
        line = self.lines[label] = Line()
        try:
            async with host.socket(self.actor_id, f"raw/{label}") as socket:
                while True:
                    while len(line.sent) < len(line.told) + IN_FLIGHT:
                        await socket.send(self._message(label))
                    self._hear(line, await socket.recv())
        except GONE:
            return

    def _hear(self, line: Line, frame: str | bytes) -> None:
        """Alarms tell whatever socket there is that they went off; that is no answer."""
        word, what = str(frame).split()
        if word == "ok":
            line.told.append(int(what))

    async def actions(self, host: TestHost, label: str) -> None:
        """One after another, an alarm now and then."""
        n = 0
        try:
            while True:
                n += 1
                name = f"{label}-{n}"
                self.once.asked.append(name)
                if self._rng.random() < 0.3:
                    await host.call(self.actor_id, "ring", name, self._rng.randrange(300), "plain")
                else:
                    await host.call(self.actor_id, "once", name, self._rng.choice(("plain", "all")))
                self.once.told.append(name)
        except GONE:
            return

    # --- across the kill -----------------------------------------------------------------------------------------

    async def session(self, client: Client) -> None:
        """Sends a burst and returns when every message of it was answered, which takes a host that comes back."""
        if self._session is None:
            self._session = client.session(self.actor_id, SESSION)
            self.lines[SESSION] = Line()
            await self._session.__aenter__()
        session, line = self._session, self.lines[SESSION]
        target = len(line.sent) + SESSION_BURST

        async def send() -> None:
            for _ in range(SESSION_BURST):
                await session.send(self._message(SESSION))
                await anyio.sleep(self._rng.random() * 0.02)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            while len(line.told) < target:
                self._hear(line, await session.receive())

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- on the host that came back ------------------------------------------------------------------------------

    async def read(self, host: TestHost) -> None:
        """Reads on in the log, once no alarm and no connection of the dead host is left."""
        with anyio.fail_after(30):
            while not await self._quiet(host):
                await anyio.lowlevel.checkpoint()
        while page := await host.call(self.actor_id, "log", self.last_row + 1):
            self.rows += [Row(*row) for _, row in page]
            self.last_row = page[-1][0]

    async def _quiet(self, host: TestHost) -> bool:
        found = await host.snapshot(self.actor_id)
        alarms = [row for row in found["alarms"] if row["alarm"] != "scratch"]
        return not alarms and not [row for row in found["connections"] if row["path"].startswith("/raw/")]

    async def rewritten(self, host: TestHost) -> bool:
        """Whether the log, read again from its start, is another one than was read on the way."""
        before, self.rows, self.last_row = self.rows, [], 0
        await self.read(host)
        return self.rows != before
