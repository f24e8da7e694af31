"""The client on a real host: every encoding, actions, events, sleep, breaks, sessions, the end of an actor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus

from host.client import ActorHandle, Client, Connection, Event, connection
from host.model.errors import CallerError, DormiceError, TenantError
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.values import UNDEFINED, BigInt, ValueSet
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process

pytestmark = pytest.mark.anyio

SOURCE = Path(__file__).with_name("parlour.js").read_bytes()


@asynccontextmanager
async def parlour(data_dir: Path, encoding: Encoding = "json") -> AsyncIterator[tuple[Client, TestHost]]:
    with anyio.fail_after(60):
        async with start_host(data_dir) as host, Client(host.url, encoding=encoding) as client:
            await client.deploy("parlour", SOURCE, "text/javascript")
            yield client, host


@pytest.fixture(params=ENCODINGS)
async def lobby(new_data_dir: Callable[[], Path], request: pytest.FixtureRequest) -> AsyncIterator[ActorHandle]:
    async with parlour(new_data_dir(), request.param) as (client, _):
        yield client.get_or_create("parlour", "lobby")


VALUES: list[Any] = [
    None, True, 0, -1, 2.5, 2**31, 2**40, 2**53 - 1, -(2**40), "", "текст 🐭", [], {}, [[1, [2]], {"a": {"b": None}}],
    b"\x00\xff", BigInt(5), BigInt(-(2**70)), ValueSet((1, "a")), ["$x", 1], UNDEFINED,
]  # fmt: skip


async def test_values_travel_through_a_guest_and_back(lobby: ActorHandle) -> None:
    """UNDEFINED stands last: a trailing argument that is none is still an argument."""
    assert await lobby.action("echo", *VALUES) == VALUES
    async with lobby.connect() as conn:
        assert await conn.echo(*VALUES) == VALUES


async def test_actions_with_and_without_a_connection_meet_the_same_actor(lobby: ActorHandle) -> None:
    async with lobby.connect({"name": "ada"}) as conn:
        assert [await conn.count(), await lobby.count(2), await conn.count()] == [1, 3, 4]
        assert await conn.whoami() == "ada"
        assert conn.actor_id == await lobby.resolve()
    assert (await lobby).actor_id == conn.actor_id


async def test_events_reach_those_who_want_them(lobby: ActorHandle) -> None:
    async with lobby.connect({"name": "ada"}) as ada, lobby.connect({"name": "bob"}) as bob:
        ada.subscribe("said")
        heard: list[Any] = []
        bob.once("said", lambda *args: heard.append(args))
        # a subscription is in force once what was sent behind it is answered
        await ada.count()
        await bob.count()
        await ada.say("one")
        await bob.say("two")
        await bob.count()
        assert [await anext(ada_events) async for ada_events in _twice(ada)] == [
            Event("said", ("ada", "one")),
            Event("said", ("bob", "two")),
        ]
    assert heard == [("ada", "one")]


async def _twice(conn: Connection) -> AsyncIterator[AsyncIterator[Event]]:
    events = conn.__aiter__()
    for _ in range(2):
        yield events


async def test_errors_are_typed_and_those_that_no_caller_should_see_are_masked(lobby: ActorHandle) -> None:
    async with lobby.connect() as conn:
        for call in (lobby.action, conn.action):
            with pytest.raises(TenantError) as full:
                await call("refuse")
            assert (full.value.name, full.value.message) == ("user/full", "The room is full")
            assert full.value.metadata == b'{"max":8}'
            with pytest.raises(DormiceError) as masked:
                await call("oops")
            assert masked.value.name == "internal/internal_error"
            assert "secret" not in str(masked.value)
            with pytest.raises(CallerError) as unknown:
                await call("nothing")
            assert unknown.value.name == "actor/action_not_found"
        assert await conn.count() == 1


async def test_slow_actions_do_not_hold_up_quick_ones(lobby: ActorHandle) -> None:
    order: list[str] = []
    async with lobby.connect() as conn, anyio.create_task_group() as tasks:

        async def slow() -> None:
            order.append(await conn.later(100, "slow"))

        tasks.start_soon(slow)
        await anyio.lowlevel.checkpoint()
        order.append((await conn.echo("quick"))[0])
    assert order == ["quick", "slow"]


async def test_an_actor_refuses_a_connection_with_an_error_of_its_own(lobby: ActorHandle) -> None:
    with pytest.raises(TenantError) as caught:
        async with lobby.connect({"name": "mallory"}):
            raise AssertionError("it is not open")
    assert caught.value.name == "user/unwelcome"
    assert (await lobby.counts())["opened"] == 1  # that of the call itself


async def test_a_connection_outlives_the_sleep_of_its_actor(lobby: ActorHandle) -> None:
    async with lobby.connect({"name": "ada"}) as conn:
        conn.subscribe("said")
        first = conn.conn_id
        await conn.sleep()
        assert await conn.whoami() == "ada"
        await conn.say("awake")
        events = conn.__aiter__()
        assert await anext(events) == Event("said", ("ada", "awake"))
        assert conn.conn_id == first
        assert await conn.counts() == {"calls": 0, "opened": 1, "closed": 0}


async def test_requests_and_raw_sockets(lobby: ActorHandle) -> None:
    answer = await lobby.fetch("/page?x=1", method="POST", content=b"body")
    assert (answer.status_code, answer.text) == (201, "POST /page body")
    async with lobby.websocket("raw") as socket:
        await socket.send(b"\x01\x02")
        assert await socket.receive() == b"\x01\x02"
    async with lobby.session("raw") as session:
        await session.send("text")
        assert await session.receive() == "text"


async def test_an_actor_that_is_gone_is_made_anew_for_a_handle_by_its_key(lobby: ActorHandle) -> None:
    first = await lobby.resolve()
    await lobby.count(5)
    async with lobby.connect() as conn:
        await conn.action("destroy")
        assert await through(conn.count) == 1
        assert conn.actor_id != first
        assert await lobby.count() == 2


async def test_create_get_and_get_for_id(new_data_dir: Callable[[], Path]) -> None:
    async with parlour(new_data_dir()) as (client, _):
        made = await client.create("parlour", ["a", "b"])
        assert await made.count() == 1
        assert await client.get("parlour", ["a", "b"]).count() == 2
        assert await client.get_for_id(await made.resolve()).count() == 3
        with pytest.raises(CallerError) as twice:
            await client.create("parlour", ["a", "b"])
        assert twice.value.name == "actor/duplicate_key"
        for missing in (client.get("parlour", "other"), client.get_for_id("0" * 32)):
            with pytest.raises(CallerError) as none:
                await missing.count()
            assert none.value.name == "actor/not_found"
            with pytest.raises(CallerError):
                async with missing.connect():
                    raise AssertionError("there is nobody")


async def through(call: Callable[[], Awaitable[Any]]) -> Any:
    """Calls again when the connection broke meanwhile."""
    while True:
        try:
            return await call()
        except DormiceError as error:
            if error.name != "client/connection_lost":
                raise


def cut(conn: Connection) -> None:
    """The TCP connection goes, as when a cable is pulled."""
    link = conn._link
    assert link is not None
    socket = link._connection
    assert socket is not None
    socket.transport.abort()


async def test_a_plain_connection_comes_back_with_its_subscriptions(
    lobby: ActorHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_DELAY", 0.01)
    async with lobby.connect({"name": "ada"}) as conn:
        conn.subscribe("said")
        await conn.count()
        first = conn.conn_id
        cut(conn)
        await through(conn.count)
        assert conn.conn_id != first
        await conn.say("back")
        assert await anext(conn.__aiter__()) == Event("said", ("ada", "back"))


async def test_actions_over_a_session_are_carried_out_exactly_once_whatever_breaks(lobby: ActorHandle) -> None:
    async with lobby.connect({"name": "ada"}, session=True) as conn:
        conn.subscribe("said")
        first = conn.conn_id
        answers: list[int] = []

        async def count() -> None:
            for _ in range(40):
                answers.append(await conn.count())

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(count)
            while len(answers) < 120:
                seen = len(answers)
                if conn.connected and seen % 3 == 0:
                    cut_if_open(conn)
                await conn.whoami()
        assert sorted(answers) == list(range(1, 121))
        assert conn.conn_id == first
        await conn.say("still here")
        assert await anext(conn.__aiter__()) == Event("said", ("ada", "still here"))
        assert (await conn.counts())["opened"] == 1


def cut_if_open(conn: Connection) -> None:
    link = conn._link
    socket = None if link is None else link._connection
    if socket is not None:
        socket.transport.abort()


async def test_a_session_outlives_a_restart_of_the_host(new_data_dir: Callable[[], Path]) -> None:
    data = new_data_dir()

    stops, gone = [anyio.Event(), anyio.Event()], anyio.Event()

    async def hosting(port: int, stop: anyio.Event, *, task_status: TaskStatus[TestHost]) -> None:
        async with start_host(data, port=port) as host:
            task_status.started(host)
            await stop.wait()
        gone.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            host: TestHost = await tasks.start(hosting, 0, stops[0])
            async with Client(host.url) as client:
                await client.deploy("parlour", SOURCE, "text/javascript")
                lobby = client.get_or_create("parlour", "lobby")
                async with lobby.connect({"name": "ada"}, session=True) as conn:
                    conn.subscribe("said")
                    assert await conn.count() == 1
                    stops[0].set()
                    await gone.wait()
                    await tasks.start(hosting, host.port, stops[1])
                    assert await conn.count() == 2
                    await conn.say("back")
                    assert await anext(conn.__aiter__()) == Event("said", ("ada", "back"))
                    assert await conn.counts() == {"calls": 2, "opened": 1, "closed": 0}
            stops[1].set()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_actions_over_a_session_are_exactly_once_though_the_host_is_killed(
    new_data_dir: Callable[[], Path], encoding: Encoding
) -> None:
    answers: list[int] = []
    with anyio.fail_after(90):
        async with host_process(new_data_dir()) as (host, tasks), Client(host.url, encoding=encoding) as client:
            await client.deploy("parlour", SOURCE, "text/javascript")
            lobby = client.get_or_create("parlour", "lobby")
            async with lobby.connect({"name": "ada"}, session=True) as conn:
                first, reached = conn.conn_id, anyio.Event()

                async def count() -> None:
                    for _ in range(20):
                        answers.append(await conn.count())
                        if len(answers) >= 15:
                            reached.set()

                async with anyio.create_task_group() as lanes:
                    for _ in range(3):
                        lanes.start_soon(count)
                    await reached.wait()
                    host.wanted_port = host.port
                    await host.kill()
                    await host.start(tasks)
                assert sorted(answers) == list(range(1, 61))
                assert conn.conn_id == first
                assert await conn.counts() == {"calls": 60, "opened": 1, "closed": 0}
