"""`dormice connect`: a raw WebSocket to an actor; each line typed is a frame, each frame received is a line.

When the input ends (a pipe), the socket stays until nothing has arrived for a moment, so that the answers to what was
piped in are still seen.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Annotated

import anyio
import typer

from host.cli.target import DEFAULT, Endpoint, Key, Namespace, with_host
from host.client.client import Client
from host.client.socket import ActorSocket, SocketClosed
from host.clock import SystemClock
from host.model.clock import Clock
from host.telemetry.escape import printable
from host.wire.keys import decode_key

__all__ = ["Lines", "connect", "converse", "shown"]

STDIN = 0
LINGER = 1.0


def connect(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    key: Key,
    path: Annotated[str, typer.Argument(help="The path that the actor sees.")] = "",
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Open a raw WebSocket to an actor: type lines to send, read what comes. Ctrl-D ends it."""

    async def work(host: Client) -> SocketClosed | None:
        actor = host.get_or_create(name, decode_key(key))
        async with actor.websocket(path) as socket:
            typer.echo(f"connected to {await actor.resolve()}", err=True)
            return await converse(socket, Lines(STDIN), SystemClock())

    closed = with_host(endpoint, namespace, work)
    if closed is not None:
        typer.echo(str(closed), err=True)
        raise typer.Exit(0 if closed.code == 1000 else 1)


class Lines:
    """The lines of a file descriptor, read on a thread that is given up when nobody wants more: a terminal cannot be
    asked to stop waiting for a key."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        # the reader waits for the consumer: what is typed ahead stays in the terminal or the pipe
        self._room = threading.Semaphore(256)
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="dormice-stdin", daemon=True).start()

    async def next(self) -> str | None:
        """None at the end of the input."""
        line = await self._queue.get()
        self._room.release()
        return line

    def _read(self) -> None:
        rest = b""
        # os.read takes no lock of Python's own streams, which a thread left behind would hold at exit
        while data := _read_some(self._fd):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._put(line.decode("utf-8", "replace").removesuffix("\r"))
        if rest:
            self._put(rest.decode("utf-8", "replace"))
        self._put(None)

    def _put(self, line: str | None) -> None:
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        except RuntimeError:  # the loop is closed: nobody wants more
            return


async def converse(socket: ActorSocket, lines: Lines, clock: Clock) -> SocketClosed | None:
    """Until the input ends (None) or the socket is closed (how)."""
    heard = anyio.Event()
    ended = anyio.Event()
    outcome: list[SocketClosed] = []

    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            nonlocal heard
            try:
                while True:
                    frame = await socket.receive()
                    typer.echo(shown(frame, terminal=sys.stdout.isatty()))
                    heard.set()
                    heard = anyio.Event()
            except SocketClosed as closed:
                outcome.append(closed)
                tasks.cancel_scope.cancel()

        async def speak() -> None:
            try:
                while (line := await lines.next()) is not None:
                    await socket.send(line)
            except SocketClosed:
                return  # the listener tells how
            ended.set()

        tasks.start_soon(listen)
        tasks.start_soon(speak)
        await ended.wait()
        while await _heard_within(heard, LINGER, clock):
            pass
        tasks.cancel_scope.cancel()
    return outcome[0] if outcome else None


def shown(frame: str | bytes, *, terminal: bool) -> str:
    """A frame as a line. What an actor sends is a stranger's: it does not steer the terminal of whoever looks."""
    if isinstance(frame, bytes):
        return f"<{len(frame)} bytes> {frame.hex()}"
    return "\n".join(map(printable, frame.split("\n"))) if terminal else frame


async def _heard_within(heard: anyio.Event, seconds: float, clock: Clock) -> bool:
    try:
        with clock.fail_after(seconds):
            await heard.wait()
    except TimeoutError:
        return False
    return True


def _read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 65_536)
    except OSError:  # a terminal that went away has no more to say
        return b""
