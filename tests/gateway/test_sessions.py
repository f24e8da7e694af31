"""Sessions at the gateway, on scripted transports and a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.gateway.sessions import Comeback, comeback_of, session_hash
from host.model.effects import CommitUnit, OutboxFrame, OutboxTrim
from host.model.errors import CallerError, UnavailableError
from host.model.limits import Limits
from host.model.records import ConnectionRow
from host.model.tunnel import Opened, SocketClosed, SocketProtocol
from tests.gateway.support import World, error_of
from tests.gateway.test_sockets import Client, settle

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
SECRET = "0123456789abcdefghijkl"
HASH = session_hash(KEY, SECRET)
CONN = "c" * 32


class Bench:
    """One actor, and the connection of one session on it whose frames are `f1`, `f2`, …"""

    def __init__(self, world: World, actor_id: str) -> None:
        self.world, self.sockets, self.actor_id = world, world.sockets, actor_id
        self.hop = 0
        self.sent = 0

        self.protocol: SocketProtocol = ""

    def opened(self, conn: str = CONN, session: bytes = HASH) -> Opened:
        return Opened(self.actor_id, conn, "gw", "ray", "/", (), None, 0, session, protocol=self.protocol)

    async def commit(self, **more: Any) -> None:
        self.hop += 1
        await self.world.driver.commit(CommitUnit(self.actor_id, 1, 1, self.hop, claims=self.hop == 1, **more))

    async def open(self) -> None:
        """The open is on disk."""
        await self.commit(
            connections=(ConnectionRow(CONN, "gw", "ray", 1, 0, "/", 0, 0, session=HASH),),
        )
        self.sockets.opened(CONN)

    async def send(self, count: int = 1, *, release: bool = True, keep: int = 1_000) -> None:
        """Frames of the actor: committed, then released."""
        first, self.sent = self.sent + 1, self.sent + count
        frames = [OutboxFrame(CONN, n, 2 * n, 2, f"f{n}") for n in range(first, self.sent + 1)]
        await self.commit(outbox=tuple(frames), outbox_trims=(OutboxTrim(CONN, self.sent - keep + 1, 0),))
        if release:
            for frame in frames:
                self.sockets.frame(CONN, frame.data, frame.index)

    @asynccontextmanager
    async def client(
        self,
        seen: int = 0,
        following: int = 1,
        *,
        conn: str = CONN,
        session: bytes = HASH,
        admitted: bool | None = None,
    ) -> AsyncIterator[Client]:
        """A client that connects with these numbers, for the length of the block; it is then gone without a word."""
        client = Client()
        with client._to_host, client._incoming, anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hold, client, Comeback(session, seen, following), conn, admitted)
                await settle()
                yield client
                client.leave(1006)
                await settle()

    async def _hold(self, client: Client, comeback: Comeback, conn: str, admitted: bool | None) -> None:
        opened = self.opened(conn, comeback.session)
        if admitted is None:  # as the upgrade decides
            admitted = comeback.may_be_new and not self.sockets.sessions.knows(self.actor_id, comeback.session)
        await self.sockets.hold_session(opened, comeback, client.receive, client.send, client.abort, admitted=admitted)

    @property
    def posted(self) -> list[tuple[int, object]]:
        return [(message.index, message.data) for message in self.world.service.messages]

    @property
    def closed(self) -> list[SocketClosed]:
        return self.world.service.closed


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(dev=True), Limits(outgoing_queue=100, connections=2))


@pytest.fixture
async def bench(world: World) -> Bench:
    return Bench(world, (await world.actor()).actor_id)


async def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_is_sent_live(bench: Bench) -> None:
    async with bench.client() as first:
        await bench.open()
        await bench.send(2)
        await settle()
        assert first.sent == ["f1", "f2"]
    await bench.send(3)
    async with bench.client(seen=1) as second:
        await bench.send()
        await settle()
        assert second.sent == ["f2", "f3", "f4", "f5", "f6"]
    assert bench.closed == []
    assert len(bench.world.service.opened) == 1
    assert bench.world.metrics.counter("sessions_resumed", "detached") == 1


async def test_frames_that_are_committed_or_released_while_the_outbox_is_read_go_out_once(bench: Bench) -> None:
    async with bench.client() as first:
        await bench.open()
        await bench.send(2)
        await settle()
        assert first.sent == ["f1", "f2"]
    await bench.send(2, release=False)  # f3 and f4: on disk, and about to leave
    read = bench.world.service.outbox
    reads = 0

    async def outbox(actor_id: str, conn_id: str, after: int) -> Any:
        nonlocal reads
        reads += 1
        found = await read(actor_id, conn_id, after)
        if reads == 1:
            for n in (3, 4):
                bench.sockets.frame(CONN, f"f{n}", n)
            await bench.send(2)  # f5 and f6, after the read
        return found

    bench.world.service.outbox = outbox  # type: ignore[method-assign]
    async with bench.client(seen=1) as second:
        assert second.sent == ["f2", "f3", "f4", "f5", "f6"]
    assert reads == 2


async def test_messages_that_are_sent_again_are_taken_once(bench: Bench) -> None:
    async with bench.client() as first:
        first.text("one", "two", "three")
        await settle()
    await bench.open()
    bench.sockets.ack(CONN, 1)
    async with bench.client(following=1) as second:
        second.text("one", "two", "three", "four")
        await settle()
    async with bench.client(following=3) as third:
        third.text("three", "four", "five")
        await settle()
    assert bench.posted == [(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")]
    # what is not acknowledged is still there for an actor that wakes
    assert bench.sockets.rebind(CONN, 3)
    assert bench.posted[5:] == [(4, "four"), (5, "five")]


@pytest.mark.parametrize(("seen", "following"), [(0, 3), (1, 1)])
async def test_numbers_beyond_the_session_s_close_the_newcomer_and_leave_the_session_alone(
    bench: Bench, seen: int, following: int
) -> None:
    async with bench.client() as first:
        first.text("one")
        await bench.open()
        async with bench.client(seen, following) as second:
            assert second.close == (1008, "ws.message_index_skip")
        await bench.send()
        await settle()
        assert first.sent == ["f1"]
    assert bench.closed == []


async def test_a_second_client_takes_over_and_the_first_is_closed(bench: Bench) -> None:
    async with bench.client() as first:
        first.text("one")
        await bench.open()
        await bench.send()
        async with bench.client(seen=1, following=2) as second:
            assert first.close == (4009, "session.taken_over")
            first.text("too late")
            second.text("two")
            await bench.send()
            await settle()
            assert second.sent == ["f2"]
        assert bench.posted == [(1, "one"), (2, "two")]
        # the first's end says nothing about the session, which waits for its client
        first.leave(1000, reason="bye")
        await settle()
        assert bench.closed == []
        assert bench.sockets.sessions.knows(bench.actor_id, HASH)


@pytest.mark.parametrize(
    "changed",
    [{"session": session_hash(KEY, SECRET[::-1]), "seen": 7}, {"seen": 1}, {"following": 2}, {"admitted": False}],
)
async def test_unknown_and_expired_sessions_are_one_error(bench: Bench, changed: dict[str, Any]) -> None:
    async with bench.client(**changed) as client:
        assert client.close == (4004, "session.not_found")
    assert bench.world.service.events == []


async def test_a_secret_of_another_actor_s_session_opens_nothing(bench: Bench) -> None:
    async with bench.client():
        await bench.open()
    stranger = Bench(bench.world, (await bench.world.actor("room", "other")).actor_id)
    async with stranger.client(seen=0, following=2) as client:
        assert client.close == (4004, "session.not_found")
    assert await stranger.sockets.sessions.state(stranger.actor_id, HASH) is None


async def test_a_session_is_not_come_back_to_in_another_protocol(bench: Bench) -> None:
    """What a token allows is looked at for the protocol that its client asks for."""
    async with bench.client():
        await bench.open()
    bench.protocol = "json"
    async with bench.client(seen=0, following=2) as client:
        assert client.close == (4004, "session.not_found")
    bench.protocol = ""
    async with bench.client() as back:
        assert back.close is None


async def test_a_session_ends_when_its_client_does_not_come_back_in_time(bench: Bench) -> None:
    async with bench.client():
        await bench.open()
    bench.world.clock.advance(59.9)
    assert bench.closed == []
    async with bench.client():
        bench.world.clock.advance(100)
        assert bench.closed == []  # the window counts from the drop, and it is back
    bench.world.clock.advance(59.9)
    assert bench.closed == []
    bench.world.clock.advance(0.2)
    assert bench.closed == [SocketClosed(bench.actor_id, CONN, 1006, "session.expired", False)]
    async with bench.client(following=2) as late:
        assert late.close == (4004, "session.not_found")
    assert len(bench.sockets) == 0


@pytest.mark.parametrize(("code", "reason"), [(1000, {"reason": ""}), (1005, {"reason": ""}), (4123, {"reason": "x"})])
async def test_a_client_s_close_ends_its_session_at_once(bench: Bench, code: int, reason: dict[str, str]) -> None:
    async with bench.client() as client:
        client.leave(code, **reason)
        await settle()
        assert bench.closed == [SocketClosed(bench.actor_id, CONN, code, reason["reason"], True)]
        assert not bench.sockets.sessions.knows(bench.actor_id, HASH)


@pytest.mark.parametrize(("code", "reason"), [(1006, {}), (1005, {}), (1012, {}), (1006, {"reason": ""})])
async def test_a_drop_is_no_close(bench: Bench, code: int, reason: dict[str, str]) -> None:
    async with bench.client() as client:
        client.leave(code, **reason)
        await settle()
        assert bench.closed == []
        assert bench.sockets.sessions.knows(bench.actor_id, HASH)
        # the actor may sleep and wake meanwhile
        assert [opened.conn_id for opened in bench.sockets.connections_of(bench.actor_id)] == [CONN]
        assert bench.sockets.rebind(CONN, 0)


async def test_a_client_that_missed_more_than_the_outbox_holds_loses_its_session(bench: Bench) -> None:
    async with bench.client():
        await bench.open()
    await bench.send(10, keep=4)
    async with bench.client(seen=6) as client:
        assert client.sent == ["f7", "f8", "f9", "f10"]
    async with bench.client(seen=5) as client:
        assert client.close == (4010, "session.outbox_truncated")
        assert client.sent == []
    assert bench.closed == [SocketClosed(bench.actor_id, CONN, 4010, "session.outbox_truncated", False)]
    async with bench.client(seen=6) as client:
        assert client.close == (4004, "session.not_found")


async def test_a_slow_reader_is_dropped_and_may_come_back(bench: Bench) -> None:
    async with bench.client() as slow:
        await bench.open()
        slow.reading = anyio.Event()
        await bench.send(60)
        await settle()
        slow.reading.set()
        await settle()
        assert slow.close == (1013, "ws.slow_reader")
        assert bench.closed == []
        async with bench.client(seen=len(slow.sent)) as back:
            await settle()
            assert slow.sent + back.sent == [f"f{n}" for n in range(1, 61)]
    assert bench.world.metrics.counter("connections_closed", "ws.slow_reader") == 1


async def test_an_outbox_that_cannot_be_read_drops_the_connection_and_keeps_the_session(bench: Bench) -> None:
    async with bench.client():
        await bench.open()
        await bench.send()
    read = bench.world.service.outbox

    async def fails(*_: object) -> Any:
        raise UnavailableError("storage", "unavailable", "no disk")

    bench.world.service.outbox = fails  # type: ignore[method-assign, assignment]
    async with bench.client() as client:
        assert client.close == (1013, "storage.unavailable")
    bench.world.service.outbox = read  # type: ignore[method-assign]
    async with bench.client() as client:
        assert client.sent == ["f1"]


async def test_a_close_by_the_actor_ends_the_session_whether_its_client_is_there_or_not(bench: Bench) -> None:
    async with bench.client() as client:
        bench.sockets.close(CONN, 4000, "enough")
        await settle()
        assert client.close == (4000, "enough")
    async with bench.client():
        pass
    bench.sockets.close(CONN, 4000, "enough")
    bench.world.clock.advance(100)
    assert bench.closed == []
    assert not bench.sockets.sessions.knows(bench.actor_id, HASH)


async def test_the_end_of_the_host_keeps_sessions_for_its_return(bench: Bench) -> None:
    async with bench.client() as client:
        await bench.open()
        bench.sockets.close_all()
        await settle()
        assert client.close == (1012, "node.draining")
    bench.world.clock.advance(100)
    assert bench.closed == []


async def test_after_a_restart_the_window_begins_anew_and_numbers_are_those_of_the_disk(bench: Bench) -> None:
    row = ConnectionRow(CONN, "old", "ray", 1, 7, "/", 0, 0, session=HASH)
    await bench.commit(connections=(row,))
    await bench.send(3, release=False)
    bench.sockets.sessions.adopt(await bench.world.driver.adopt_sessions("gw", 5))
    assert await bench.sockets.sessions.state(bench.actor_id, HASH) == (7, 3, bench.world.clock.now_ms() + 60_000)
    bench.world.clock.advance(59)
    async with bench.client(seen=2, following=6) as client:
        assert client.sent == ["f3"]
        client.text("six", "seven", "eight")
        await settle()
        assert bench.posted == [(8, "eight")]
        assert bench.sockets.rebind(CONN, 7)
    bench.world.clock.advance(60)
    assert [closed.reason for closed in bench.closed] == ["session.expired"]


async def test_adopted_sessions_end_too_if_nobody_comes(bench: Bench) -> None:
    await bench.commit(connections=(ConnectionRow(CONN, "old", "ray", 1, 7, "/", 0, 0, session=HASH),))
    bench.sockets.sessions.adopt(await bench.world.driver.adopt_sessions("gw", 5))
    bench.world.clock.advance(60)
    assert [closed.reason for closed in bench.closed] == ["session.expired"]


async def test_adopted_sessions_are_connections_of_their_tenant_until_they_end(bench: Bench) -> None:
    tenant = (await bench.world.service.record(bench.actor_id)).tenant
    await bench.commit(connections=(ConnectionRow(CONN, "old", "ray", 1, 7, "/", 0, 0, session=HASH),))
    bench.sockets.sessions.adopt(await bench.world.driver.adopt_sessions("gw", 5))
    counts = bench.world.service.connections
    assert counts == {tenant: 1}
    async with bench.client(following=6):
        assert counts == {tenant: 1}
    bench.world.clock.advance(60)
    assert counts == {tenant: 0}


# the question about a session ----------------------------------------------------------------------------------------


async def test_the_state_of_a_session_is_told_to_who_has_the_secret(bench: Bench, http: httpx.AsyncClient) -> None:
    path, secret = f"/gateway/{bench.actor_id}/session", {"x-dormice-session": SECRET}
    async with bench.client() as client:
        await bench.open()
        client.text("one", "two")
        await bench.send(3)
        bench.sockets.ack(CONN, 1)
        answer = await http.get(path, headers=secret)
        assert answer.json() == {"received": 1, "sent": 3, "expires_at": None}
        assert answer.headers["cache-control"] == "no-store"
    until = bench.world.clock.now_ms() + 60_000
    assert (await http.get(path, headers=secret)).json()["expires_at"] == until
    for header in ({"x-dormice-session": SECRET[::-1]}, {"x-dormice-session": "x" * 22}):
        answer = await http.get(path, headers=header)
        assert (answer.status_code, error_of(answer)) == (404, "session/not_found")
    assert (await http.get(path, headers={"x-dormice-session": "short"})).status_code == 400
    assert (await http.get(path)).status_code == 400
    other = await bench.world.actor("room", "other")
    answer = await http.get(f"/gateway/{other.actor_id}/session", headers=secret)
    assert error_of(answer) == "session/not_found"


async def test_the_state_is_told_once_the_open_is_on_disk(bench: Bench) -> None:
    told: list[object] = []

    async def ask() -> None:
        told.append(await bench.sockets.sessions.state(bench.actor_id, HASH))

    async with bench.client(), anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settle()
        assert told == []
        bench.sockets.opened(CONN)
    assert told == [(0, 0, None)]


async def test_who_waits_for_an_open_that_fails_learns_that_there_is_no_session(bench: Bench) -> None:
    told: list[object] = []

    async def ask() -> None:
        told.append(await bench.sockets.sessions.state(bench.actor_id, HASH))

    async with bench.client(), anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settle()
        bench.sockets.close(CONN, 1011, "guest.trap")
    assert told == [None]


# parameters ----------------------------------------------------------------------------------------------------------


def test_parameters_have_defaults_and_only_the_hash_of_the_secret_goes_on() -> None:
    assert comeback_of((), KEY) is None
    assert comeback_of([("dm-session", SECRET)], KEY) == Comeback(HASH, 0, 1)
    asked = comeback_of([("dm-next", "9"), ("dm-session", SECRET), ("dm-last-seen", "4")], KEY)
    assert asked == Comeback(HASH, 4, 9)
    assert SECRET not in repr(asked)
    assert session_hash(b"K" * 32, SECRET) != HASH
    assert comeback_of([("dm-session", SECRET), ("dm-resume", "0")], KEY) == Comeback(HASH, 0, 1)


def test_a_client_that_wants_its_session_back_opens_no_new_one() -> None:
    asked = comeback_of([("dm-session", SECRET), ("dm-resume", "1")], KEY)
    assert asked is not None
    assert (asked.resume, asked.may_be_new) == (True, False)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([("dm-next", "1")], "query_missing_param"),
        ([("dm-session", SECRET)] * 2, "query_duplicate_param"),
        ([("dm-session", "short")], "query_invalid_param"),
        ([("dm-session", SECRET + "\n")], "query_invalid_param"),
        ([("dm-session", "x" * 129)], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-next", "0")], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-next", "-1")], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-next", "٣")], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-resume", "2")], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-resume", "yes")], "query_invalid_param"),
        ([("dm-session", SECRET), ("dm-last-seen", "9223372036854775808")], "query_invalid_param"),
    ],
)
def test_bad_parameters_are_refused(params: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(CallerError) as refused:
        comeback_of(params, KEY)
    assert (refused.value.group, refused.value.code) == ("guard", code)
    assert SECRET not in str(refused.value)
