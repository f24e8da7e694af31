"""Connections of the client, against an actor that the test plays: actions, events, errors, breaks, ends."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from host.client import Event, SocketClosed, connection, events
from host.model.errors import CallerError, DormiceError, ErrorInfo, TenantError
from host.model.tunnel import Subscription
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.values import BigInt
from tests.client.host_double import ACTOR, Peer, playing

pytestmark = pytest.mark.anyio

FULL = ErrorInfo("user", "full", "The room is full", metadata=b'{"max":8}')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coming back takes no time that a test would feel."""
    monkeypatch.setattr(connection, "FIRST_DELAY", 0.001)


async def echo(peer: Peer) -> None:
    await peer.init()
    while True:
        action = await peer.action()
        if action.name == "fail":
            await peer.fail(FULL, action)
        elif action.name == "emit":
            await peer.event("news", 1, "two")
            await peer.answer(action, None)
        else:
            await peer.answer(action, [action.name, BigInt(action.id)])


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_actions_are_answered_or_raise(encoding: Encoding) -> None:
    async with playing(echo, encoding) as (handle, peers), handle.connect() as conn:
        assert (conn.actor_id, conn.conn_id, conn.connected) == (ACTOR, "conn-0", True)
        assert await conn.action("one", 1, b"\x01") == ["one", 1]
        assert await conn.two() == ["two", 2]
        with pytest.raises(TenantError, match="The room is full") as caught:
            await conn.fail()
        assert (caught.value.name, caught.value.metadata) == ("user/full", b'{"max":8}')
    (peer,) = peers
    assert (peer.path, peer.encoding) == (f"/gateway/{ACTOR}/connect", encoding)
    assert peer.headers["authorization"] == "Bearer t0"


async def test_answers_may_come_in_any_order() -> None:
    async def backwards(peer: Peer) -> None:
        await peer.init()
        for action in reversed([await peer.action() for _ in range(3)]):
            await peer.answer(action, action.name)
        await peer.socket.wait_closed()

    answers: dict[str, Any] = {}
    async with playing(backwards) as (handle, _), handle.connect() as conn, anyio.create_task_group() as tasks:

        async def ask(name: str) -> None:
            answers[name] = await conn.action(name)

        for name in ("a", "b", "c"):
            tasks.start_soon(ask, name)
    assert answers == {"a": "a", "b": "b", "c": "c"}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_events_come_to_callbacks_and_to_the_iteration(encoding: Encoding) -> None:
    seen: list[Any] = []
    async with playing(echo, encoding) as (handle, _), handle.connect() as conn:
        conn.subscribe("news", "other")
        end = conn.on("news", lambda *args: seen.append(("on", args)))
        conn.once("news", lambda *args: seen.append(("once", args)))
        await conn.emit()
        await conn.emit()
        end()
        conn.unsubscribe("other")
        await conn.emit()
        got = []
        async for event in conn:
            got.append(event)
            if len(got) == 5:
                break
    args = (1, "two")
    assert seen == [("on", ("subscribed",)), ("once", ("subscribed",)), ("on", args), ("on", args)]
    assert [event for event in got if event.name == "other"] == [Event("other", ("subscribed",))]
    assert [event.args for event in got if event.name == "news"] == [("subscribed",), args, args, args]


async def test_an_async_callback_runs_beside_and_what_a_callback_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = anyio.Event()

    async def later(*args: Any) -> None:
        done.set()
        raise ZeroDivisionError

    def wrong(*args: Any) -> None:
        raise KeyError("no")

    async with playing(echo) as (handle, _), handle.connect() as conn:
        conn.on("news", wrong)
        conn.on("news", later)
        with caplog.at_level(logging.ERROR, "dormice.client"):
            await conn.emit()
            await done.wait()
            assert await conn.still_there() == ["still_there", 2]
    assert [record.message for record in caplog.records] == ["a callback of a connection failed"] * len(caplog.records)
    assert len(caplog.records) >= 2


async def test_subscriptions_are_sent_once_for_a_name_and_again_after_a_break() -> None:
    told: list[list[Subscription]] = []

    async def actor(peer: Peer) -> None:
        await peer.init()
        told.append([])
        while True:
            message = await peer.next()
            if isinstance(message, Subscription):
                told[-1].append(message)
            elif message.name == "cut":
                peer.cut()
                return
            else:
                await peer.answer(message, peer.number)

    async with playing(actor) as (handle, peers), handle.connect() as conn:
        conn.subscribe("a")
        conn.on("a", print)
        end = conn.on("b", print)
        conn.once("c", print)
        end()
        assert await conn.number() == 0
        with pytest.raises(DormiceError) as caught:
            await conn.cut()
        assert caught.value.name == "client/connection_lost"
        assert await conn.number() == 1
        assert conn.conn_id == "conn-1"
    assert told == [
        [Subscription("a", True), Subscription("b", True), Subscription("c", True), Subscription("b", False)],
        [Subscription("a", True), Subscription("c", True)],
    ]
    assert len(peers) == 2


async def test_what_was_not_sent_yet_waits_for_the_next_connection() -> None:
    again = anyio.Event()

    async def actor(peer: Peer) -> None:
        if peer.number == 0:
            await peer.init()
            await peer.action()
            await peer.socket.close(1012, "actor.restarted")
            return
        await again.wait()
        await echo(peer)

    async with playing(actor) as (handle, _), handle.connect() as conn, anyio.create_task_group() as tasks:
        with pytest.raises(DormiceError, match="may have been carried out"):
            await conn.first()
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await conn.second())

        tasks.start_soon(ask)
        await anyio.lowlevel.checkpoint()
        assert not conn.connected
        again.set()
    assert answers == [["second", 2]]


@pytest.mark.parametrize(("code", "reason"), [(1011, "actor.poison_message"), (4001, "go away"), (1000, "")])
async def test_a_close_that_was_meant_is_the_end(code: int, reason: str) -> None:
    async def actor(peer: Peer) -> None:
        await peer.init()
        await peer.action()
        await peer.event("last")
        await peer.socket.close(code, reason)

    async with playing(actor) as (handle, peers), handle.connect() as conn:
        conn.subscribe("last")
        with pytest.raises(DormiceError) as caught:
            await conn.anything()
        assert caught.value.name in ("client/connection_lost", "client/connection_closed")
        got: list[str] = []

        async def read() -> None:
            async for event in conn:
                got.append(event.name)

        if code == 1000:
            await read()
        else:
            with pytest.raises(SocketClosed) as closed:
                await read()
            assert (closed.value.code, closed.value.reason) == (code, reason)
        assert got == ["last", "last"]
        with pytest.raises(SocketClosed):
            await conn.more()
    assert len(peers) == 1


async def test_a_connection_that_the_actor_refuses_raises_its_error() -> None:
    async def by_frame(peer: Peer) -> None:
        await peer.fail(FULL)
        await peer.socket.wait_closed()

    async def by_close(peer: Peer) -> None:
        await peer.socket.close(1011, "user.full#ray1")

    for actor in (by_frame, by_close):
        async with playing(actor) as (handle, peers):
            with pytest.raises(TenantError) as caught:
                async with handle.connect():
                    raise AssertionError("it is not open")
            assert caught.value.name == "user/full"
        assert len(peers) == 1
    assert caught.value.ray == "ray1"


async def test_a_host_that_is_not_there_is_an_error_at_once() -> None:
    async with playing(echo) as (handle, _):
        pass
    with pytest.raises(DormiceError) as caught:
        async with handle.connect():
            raise AssertionError("it is not open")
    assert caught.value.name == "client/unreachable"


async def test_parameters_are_made_for_each_connection() -> None:
    made = 0

    async def params() -> dict[str, Any]:
        nonlocal made
        made += 1
        return {"token": f"tøken{made}"}

    async def actor(peer: Peer) -> None:
        await peer.init()
        action = await peer.action()
        if action.name == "cut":
            peer.cut()
        await peer.answer(action, None)

    async with playing(actor) as (handle, peers), handle.connect(params) as conn:
        with pytest.raises(DormiceError):
            await conn.cut()
        await conn.other()
    assert [peer.headers["x-rivet-conn-params"] for peer in peers] == [
        '{"token": "t\\u00f8ken1"}',
        '{"token": "t\\u00f8ken2"}',
    ]


async def test_an_error_of_no_action_goes_to_those_who_asked_for_errors(caplog: pytest.LogCaptureFixture) -> None:
    async def actor(peer: Peer) -> None:
        await peer.init()
        while True:
            action = await peer.action()
            await peer.fail(FULL)
            await peer.answer(action, None)

    told: list[str] = []
    async with playing(actor) as (handle, _), handle.connect() as conn:
        with caplog.at_level(logging.WARNING, "dormice.client"):
            await conn.one()
        assert "user/full" in caplog.text
        conn.on_error(lambda error: told.append(error.name))
        await conn.two()
    assert told == ["user/full"]


async def test_a_caller_that_gives_up_leaves_the_others_alone() -> None:
    came, late = anyio.Event(), anyio.Event()

    async def actor(peer: Peer) -> None:
        await peer.init()
        first = await peer.action()
        came.set()
        await late.wait()
        await peer.answer(first, "late")
        await peer.answer(await peer.action(), "fine")
        await peer.socket.wait_closed()

    async with playing(actor) as (handle, _), handle.connect() as conn:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conn.action, "slow")
            await came.wait()
            tasks.cancel_scope.cancel()
        late.set()
        assert await conn.quick() == "fine"


async def test_events_that_nobody_takes_end_the_connection_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "WAITING_EVENTS", 10)

    async def actor(peer: Peer) -> None:
        await peer.init()
        await peer.action()
        for number in range(20):
            await peer.event("news", number)
        await peer.socket.wait_closed()

    async with playing(actor) as (handle, peers), handle.connect() as conn:
        conn.subscribe("news")
        with pytest.raises(CallerError) as caught:
            await conn.go()
        assert caught.value.name == "client/slow_consumer"
    assert len(peers) == 1


async def test_closing_ends_what_is_on_its_way_and_the_block_goes_on() -> None:
    async def actor(peer: Peer) -> None:
        await peer.init()
        await peer.socket.wait_closed()

    failed: list[str] = []
    async with playing(actor) as (handle, _), handle.connect() as conn, anyio.create_task_group() as tasks:

        async def ask() -> None:
            try:
                await conn.never()
            except DormiceError as error:
                failed.append(error.name)

        tasks.start_soon(ask)
        await anyio.lowlevel.checkpoint()
        await conn.close()
        await anyio.lowlevel.checkpoint()  # the block is not cancelled with it
        assert [event async for event in conn] == []
        with pytest.raises(DormiceError):
            await conn.more()
    assert failed == ["client/connection_closed"]


async def test_a_frame_that_is_none_is_the_end() -> None:
    async def actor(peer: Peer) -> None:
        await peer.init()
        await peer.action()
        await peer.socket.send("nonsense")
        await peer.socket.wait_closed()

    async with playing(actor) as (handle, peers), handle.connect() as conn:
        with pytest.raises(DormiceError) as caught:
            await conn.anything()
        assert caught.value.name == "request/invalid"
    assert len(peers) == 1


async def test_a_connection_that_was_not_entered_says_so() -> None:
    conn = connection.Connection(None, "json", None, session=False)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="async with"):
        _ = conn.actor_id
    assert conn.connected is False
