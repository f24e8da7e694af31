"""The client outside of a real host: what it sends over HTTP and WebSockets, what it is told, its history for the
checker. Each scenario goes on until it is over or the host is gone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.crash.checker import Broken, Line, Once, Row, broken
from tests.end_to_end.host import TestHost

__all__ = ["Client", "HOST_GONE", "marks_on_disk"]

HOST_GONE = (ConnectionClosed, InvalidHandshake, InvalidMessage, httpx.TransportError, OSError, EOFError)


class Client:
    def __init__(self, actor_id: str) -> None:
        self.actor_id = actor_id
        self.lines: dict[str, Line] = {}
        self.once = Once()

    async def messages(self, host: TestHost) -> None:
        """Bursts and actions, across a timer, a sleep and a close by the actor."""
        async with host.socket(self.actor_id, "a") as a, host.socket(self.actor_id, "b") as b:
            self.lines.update(a=Line(), b=Line())
            await self.burst(a, "a", "all", "all", "plain", "all")
            await self.action(host, "x1", "all")
            await self.burst(a, "a", "timer", "plain", "sleep")
            await self.burst(a, "a", "all", "plain")
            await self.burst(b, "b", "all", "sleep")
            await self.action(host, "x2", "all")
            await self.burst(a, "a", "timer", "all")
            await self.burst(b, "b", "plain", "close")
            await self.burst(a, "a", "all")

    async def alarms(self, host: TestHost) -> None:
        """Alarms one after another; each tells a socket that it went off."""
        async with host.socket(self.actor_id, "a") as a:
            self.lines["a"] = Line()
            for n, what in enumerate(("all", "timer", "sleep", "all", "all", "sleep", "timer", "all", "close")):
                name = f"r{n}"
                self.once.asked.append(name)
                await host.call(self.actor_id, "ring", name, 5, what)
                self.once.told.append(name)
                assert await a.recv() == f"rang {name}"

    async def burst(self, socket: ClientConnection, label: str, *whats: str) -> None:
        """Sends all at once and waits for as many answers."""
        line = self.lines[label]
        for what in whats:
            line.sent.append(f"{label} {len(line.sent) + 1} {what}")
            await socket.send(line.sent[-1])
        for _ in whats:
            word, index = str(await socket.recv()).split()
            assert word == "ok"
            line.told.append(int(index))

    async def action(self, host: TestHost, name: str, what: str) -> None:
        self.once.asked.append(name)
        if await host.call(self.actor_id, "once", name, what) == name:
            self.once.told.append(name)

    async def broken(self, host: TestHost) -> list[Broken]:
        """Asks the host that came back. Alarms that were set have gone off once this has found none left."""
        await self.until_quiet(host)
        return broken(self.lines, self.once, await self.rows(host))

    async def until_quiet(self, host: TestHost) -> None:
        with anyio.fail_after(20):
            while True:
                found = await host.snapshot(self.actor_id)
                left = [row for row in found["alarms"] if row["alarm"] != "scratch"]
                if not left and not found["connections"]:
                    return
                await anyio.lowlevel.checkpoint()

    async def rows(self, host: TestHost) -> list[Row]:
        rows: list[Row] = []
        last = 0
        while page := await host.call(self.actor_id, "log", last + 1):
            rows += [Row(*row) for _, row in page]
            last = page[-1][0]
        return rows


def marks_on_disk(data_dir: Path, actor_id: str) -> dict[str, int]:
    """The watermark of each connection, by the label that is its path, read from the file of a host that is dead. Only
    read: the log is for the next host to recover."""
    conn = sqlite3.connect(f"{(data_dir / 'dormice.db').as_uri()}?mode=ro", uri=True)
    try:
        rows = conn.execute("SELECT path, msg_index FROM connections WHERE actor_id = ?", (actor_id,)).fetchall()
        return {str(path).strip("/"): index for path, index in rows}
    finally:
        conn.close()
