"""Sessions end to end: a client that comes back after a broken network and a killed host, and finds everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import websockets

from host.client import Client, SessionSocket
from host.client.session import SessionLost
from host.model.limits import Limits
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process
from tests.end_to_end.unreliable import Network, unreliable_network

pytestmark = pytest.mark.anyio

LEDGER = (Path(__file__).parent / "ledger.js").read_bytes()


async def talk(socket: SessionSocket, count: int, trouble: Callable[[int], None]) -> list[str | bytes]:
    """Sends `count` messages from one task and receives their two frames each in another; `trouble` is called with the
    number of frames got so far."""
    frames: list[str | bytes] = []

    async def send() -> None:
        for n in range(1, count + 1):
            await socket.send(f"message {n}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while len(frames) < 2 * count:
            frames.append(await socket.receive())
            trouble(len(frames))
    return frames


async def check(host: TestHost, actor: str, frames: list[str | bytes], count: int) -> None:
    """Nothing lost, doubled or reordered, in either direction."""
    sent = [f"message {n}" for n in range(1, count + 1)]
    assert await host.call(actor, "messages") == sent
    assert frames == [f"{text} {which}" for text in sent for which in "ab"]


async def check_life(host: TestHost, actor: str) -> None:
    """One open and, once the actor has been told, one close: all the breaks in between were none to it."""
    with anyio.fail_after(10):
        while not (state := await host.call(actor, "all"))["closed"]:
            await anyio.lowlevel.checkpoint()
    assert (state["opened"], state["closed"]) == (1, [[1000, "", True]])


async def test_a_client_that_loses_its_tcp_connection_again_and_again_loses_nothing(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(60):
        async with start_host(new_data_dir()) as host, unreliable_network(lambda: host.port) as network:
            await host.deploy("ledger", LEDGER)
            actor = await host.actor("ledger")
            async with Client(f"http://127.0.0.1:{network.port}") as client, client.session(actor) as socket:

                def trouble(got: int) -> None:
                    if got % 101 == 0:
                        network.cut()

                frames = await talk(socket, 600, trouble)
                await socket.flush()
                assert network.cuts >= 10
            await check(host, actor, frames, 600)
            await check_life(host, actor)


async def test_a_client_that_closes_while_its_connection_is_broken_comes_back_to_say_so(
    new_data_dir: Callable[[], Path],
) -> None:
    """Else the actor would hear of it only when the window is over."""
    with anyio.fail_after(60):
        async with start_host(new_data_dir()) as host, unreliable_network(lambda: host.port) as network:
            await host.deploy("ledger", LEDGER)
            actor = await host.actor("ledger")
            async with Client(f"http://127.0.0.1:{network.port}") as client, client.session(actor) as socket:
                await socket.send("message 1")
                frames = [await socket.receive(), await socket.receive()]
                network.cut()
            await check(host, actor, frames, 1)
            await check_life(host, actor)


async def test_a_client_finds_everything_after_its_host_was_killed(new_data_dir: Callable[[], Path]) -> None:
    """kill -9 while messages and frames are under way, three times."""
    with anyio.fail_after(60):
        folder = new_data_dir()
        async with host_process(folder) as (host, tasks), unreliable_network(lambda: host.port) as network:
            await host.deploy("ledger", LEDGER)
            actor = await host.actor("ledger")
            kill, killed = [anyio.Event() for _ in range(3)], 0

            async def trouble_maker() -> None:
                nonlocal killed
                for event in kill:
                    await event.wait()
                    await host.kill()
                    await host.start(tasks)
                    killed += 1

            async with (
                Client(f"http://127.0.0.1:{network.port}") as client,
                client.session(actor) as socket,
                anyio.create_task_group() as troubles,
            ):
                troubles.start_soon(trouble_maker)

                def trouble(got: int) -> None:
                    if got in (150, 420, 700):
                        kill[(got > 150) + (got > 420)].set()

                frames = await talk(socket, 500, trouble)
                await socket.flush()
                secret = socket._secret
            assert killed == 3
            await check(host, actor, frames, 500)
            await check_life(host, actor)
            # the secret is nowhere: not in a row, not in a log line, not in what operators see
            assert secret not in host.stderr
            assert secret not in (await host.http.get(f"/actors/{actor}/snapshot")).text
            await host.kill()
            for path in folder.rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path
            with sqlite3.connect(folder / "dormice.db") as database:
                assert database.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
            database.close()


async def test_forged_foreign_expired_and_truncated_sessions_end_as_they_should(
    new_data_dir: Callable[[], Path],
) -> None:
    limits = Limits(session_window=300, outbox_frames=4)
    secret = "s3cret-of-exactly-this-client"

    with anyio.fail_after(30):
        async with start_host(new_data_dir(), limits=limits) as host:
            await host.deploy("ledger", LEDGER)
            actor, other = await host.actor("ledger"), await host.actor("ledger", "other")

            def dial(seen: int, following: int, *, to: str = actor, with_secret: str = "") -> websockets.connect:
                query = f"dm-session={with_secret or secret}&dm-last-seen={seen}&dm-next={following}"
                return host.socket(to, f"?{query}")

            async def ended(socket: websockets.connect) -> tuple[int, str]:
                async with socket as connection:
                    await connection.wait_closed()
                    assert connection.close_code is not None
                    return connection.close_code, connection.close_reason or ""

            async def told() -> list[list[object]]:
                closed: list[list[object]] = (await host.call(actor, "all"))["closed"]
                return closed

            async with dial(0, 1) as socket:
                for text in ("one", "two", "three"):
                    await socket.send(text)
                assert [await socket.recv() for _ in range(6)][-1] == "three b"
                not_found = (4004, "session.not_found")
                assert await ended(dial(6, 4, to=other)) == not_found
                assert await ended(dial(6, 4, with_secret="x" * 32)) == not_found
                assert (await host.call(other, "all"))["opened"] == 0
                socket.transport.abort()
            # of six frames four are kept: the client that saw two may come back, the one that saw one may not
            async with dial(2, 4) as socket:
                assert [await socket.recv() for _ in range(4)] == ["two a", "two b", "three a", "three b"]
                socket.transport.abort()
            assert await ended(dial(1, 4)) == (4010, "session.outbox_truncated")
            assert await ended(dial(6, 4)) == not_found
            assert await told() == [[4010, "session.outbox_truncated", False]]

            # the secret of a session that has ended opens no other, whatever the numbers
            assert await ended(dial(0, 1)) == not_found
            secret = "an0ther-secret-of-this-client"
            async with dial(0, 1) as socket:
                await socket.send("four")
                assert await socket.recv() == "four a"
                socket.transport.abort()
            await host.http.post(f"/actors/{actor}/sleep")
            while len(closed := await told()) < 2:
                await anyio.lowlevel.checkpoint()
            assert closed[1] == [1006, "session.expired", False]
            assert await ended(dial(2, 2)) == not_found
            assert (await host.snapshot(actor))["connections"] == []
            state = await host.http.get(f"/gateway/{actor}/session", headers={"x-dormice-session": secret})
            assert (state.status_code, state.json()["code"]) == (404, "not_found")


# Its message is handled at once, and settles a while later: so it has taken effect and is not acknowledged.
SLOW = b"""\
import { actor } from "isolate";
export default actor({
  state: { handled: 0, opened: 0 },
  onWebSocket(c, websocket) {
    c.state.opened += 1;
    websocket.onmessage = () => {
      c.state.handled += 1;
      return new Promise((done) => setTimeout(done, 500));
    };
  },
  actions: { all: (c) => c.state },
});
"""


class Edge:
    """Where a session ends between the question of its client, who has no acknowledgement yet, and its return."""

    def __init__(self, host: TestHost, network: Network) -> None:
        self.host = host
        self.upgrades: list[bytes] = []
        network.gate = self._gate

    async def _gate(self, head: bytes) -> None:
        if b"dm-session" not in head:
            return
        self.upgrades.append(head)
        if len(self.upgrades) > 1:
            while len(self.host.node.sockets):
                await anyio.lowlevel.checkpoint()

    async def handled(self, actor: str) -> None:
        while not (await self.host.call(actor, "all"))["handled"]:
            await anyio.lowlevel.checkpoint()

    async def check(self, actor: str) -> None:
        assert len(self.upgrades) == 2
        assert b"dm-next=1" in self.upgrades[1]
        assert b"dm-last-seen=0" in self.upgrades[1]
        assert b"dm-resume=1" in self.upgrades[1]
        assert await self.host.call(actor, "all") == {"handled": 1, "opened": 1}


async def test_a_client_whose_session_ends_just_before_it_is_back_loses_it_and_opens_no_other(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(30):
        async with (
            start_host(new_data_dir(), limits=Limits(session_window=200)) as host,
            unreliable_network(lambda: host.port) as network,
            Client(f"http://127.0.0.1:{network.port}") as client,
        ):
            await host.deploy("slow", SLOW)
            actor, edge = await host.actor("slow"), Edge(host, network)
            async with client.session(actor) as socket:
                await socket.send("once")
                await edge.handled(actor)
                network.cut()
                with pytest.raises(SessionLost):
                    await socket.receive()
            await edge.check(actor)


async def test_a_client_that_does_not_ask_for_its_session_alone_opens_no_other_either(
    new_data_dir: Callable[[], Path],
) -> None:
    """Neither before its end is on disk, nor after, nor after a restart of the host."""
    folder, limits = new_data_dir(), Limits(session_window=100)
    query = "?dm-session=a-secret-of-a-simple-client"

    async def refused(host: TestHost, actor: str) -> None:
        async with host.socket(actor, query) as connection:
            await connection.wait_closed()
            assert connection.close_code == 4004
        assert await host.call(actor, "all") == {"handled": 1, "opened": 1}

    with anyio.fail_after(30):
        async with start_host(folder, limits=limits) as host:
            await host.deploy("slow", SLOW)
            actor = await host.actor("slow")
            async with host.socket(actor, query) as connection:
                await connection.send("once")
                while not (await host.call(actor, "all"))["handled"]:
                    await anyio.lowlevel.checkpoint()
                connection.transport.abort()
            while len(host.node.sockets):
                await anyio.lowlevel.checkpoint()
            assert (await host.snapshot(actor))["connections"]
            await refused(host, actor)
            while (await host.snapshot(actor))["connections"]:
                await anyio.lowlevel.checkpoint()
            await refused(host, actor)
        async with start_host(folder, limits=limits) as host:
            await refused(host, actor)


async def test_a_client_whose_session_ended_before_it_knew_of_it_takes_another(
    new_data_dir: Callable[[], Path],
) -> None:
    """Nothing was sent, so nothing can be doubled."""
    with anyio.fail_after(30):
        async with (
            start_host(new_data_dir(), limits=Limits(session_window=50)) as host,
            unreliable_network(lambda: host.port) as network,
            Client(f"http://127.0.0.1:{network.port}") as client,
        ):
            await host.deploy("ledger", LEDGER)
            actor = await host.actor("ledger")
            questions = 0
            cut, ended = anyio.Event(), anyio.Event()
            secrets: set[bytes] = set()

            async def gate(head: bytes) -> None:
                nonlocal questions
                if b"dm-session=" in head:
                    secrets.add(head.partition(b"dm-session=")[2].partition(b"&")[0])
                questions += b"/session HTTP" in head
                if questions == 1 and not cut.is_set():
                    cut.set()
                    network.cut()
                    while len(host.node.sockets):
                        await anyio.lowlevel.checkpoint()
                    ended.set()
                elif cut.is_set():
                    # whatever the client tries meanwhile finds the session at its end
                    await ended.wait()

            network.gate = gate
            async with client.session(actor) as socket:
                await socket.send("one")
                assert [await socket.receive(), await socket.receive()] == ["one a", "one b"]
                await socket.flush()
            assert questions > 1
            assert len(secrets) == 2
            assert await host.call(actor, "messages") == ["one"]
