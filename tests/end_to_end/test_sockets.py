"""Raw WebSockets as clients see them: whose they are, what passes through them, how they end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

SOCKETS = (Path(__file__).parent / "sockets.js").read_bytes()
NONE = b'import { actor } from "isolate"; export default actor({ actions: { one() { return 1; } } });'


@pytest.fixture(scope="module")
async def shared(new_module_dir: Callable[[], Path]) -> AsyncIterator[TestHost]:
    async with start_host(new_module_dir()) as host:
        await host.deploy("sockets", SOCKETS)
        await host.deploy("none", NONE)
        yield host


@pytest.fixture
async def host(shared: TestHost) -> AsyncIterator[TestHost]:
    """The shared host, with a bound on the time of a test."""
    with anyio.fail_after(15):
        yield shared


async def end_of(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the host closes the socket; whatever came before has been read."""
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason.split("#")[0]


async def closes(host: TestHost, actor: str, count: int) -> dict[str, Any]:
    """The state of an actor once it was told of so many closes."""
    while len((state := await host.call(actor, "all"))["closed"]) < count:
        await anyio.lowlevel.checkpoint()
    found: dict[str, Any] = state
    return found


async def test_actors_and_namespaces_do_not_see_each_others_sockets(host: TestHost) -> None:
    other = {"namespace": "other"}
    javascript = {"content-type": "text/javascript"}
    answer = await host.http.post("/modules", params=other, content=SOCKETS, headers=javascript)
    made = {"module": answer.json()["digest"]}
    assert (await host.http.put("/definitions/sockets", params=other, json=made)).status_code == 200
    answer = await host.http.put("/actors", params=other, json={"name": "sockets", "key": "same"})
    actors = [
        await host.actor("sockets", "same"),
        await host.actor("sockets", "another"),
        answer.json()["actor"]["actor_id"],
    ]
    assert len(set(actors)) == 3
    async with host.socket(actors[0]) as first, host.socket(actors[1]) as second, host.socket(actors[2]) as third:
        for number, (actor, socket) in enumerate(zip(actors, (first, second, third), strict=True)):
            await socket.send(f"own {number}")
            assert await socket.recv() == f"own {number}"
            assert await host.call(actor, "broadcast", f"all {number}") == 1
        for number, socket in enumerate((first, second, third)):
            await socket.send("nothing between")
            assert [await socket.recv(), await socket.recv()] == [f"all {number}", "nothing between"]


async def test_two_sockets_of_an_actor_have_numbers_of_their_own(host: TestHost) -> None:
    actor = await host.actor("sockets", "two")
    async with host.socket(actor, "numbered/a") as one, host.socket(actor, "numbered/b") as two:
        for index in (1, 2, 3):
            await one.send("x")
            assert await one.recv() == f"{index} x"
        await two.send("y")
        assert await two.recv() == "1 y"
        assert await host.call(actor, "broadcast", "to both") == 2
        assert [await one.recv(), await two.recv()] == ["to both", "to both"]
        indexes = {row["path"]: row["msg_index"] for row in (await host.snapshot(actor))["connections"]}
        assert indexes == {"/numbered/a": 3, "/numbered/b": 1}


async def test_close_codes_pass_both_ways(host: TestHost) -> None:
    actor = await host.actor("sockets", "codes")
    async with host.socket(actor) as one, host.socket(actor) as two, host.socket(actor) as three:
        await one.close(4_001, "bye ✓")
        assert (await closes(host, actor, 1))["closed"] == [[4_001, "bye ✓", True]]
        await two.send("close 4100 because")
        assert await two.recv() == "last words"
        assert await end_of(two) == (4_100, "because")
        state = await closes(host, actor, 2)
        assert state["closed"][1] == [4_100, "because", True]
        assert state["sockets"] == 1
        await three.send("still here")
        assert await three.recv() == "still here"
        three.transport.abort()
        assert (await closes(host, actor, 3))["closed"][2] == [1_006, "", False]
    assert (await host.snapshot(actor))["connections"] == []


async def test_frames_arrive_exactly_as_they_were_sent(host: TestHost) -> None:
    actor = await host.actor("sockets", "exact")
    frames: list[str | bytes] = [
        "",
        b"",
        "text ✓ \u2028 \U0001f400 \x00 end",
        bytes(range(256)),
        "x" * 1_023,
        os.urandom(1_023),
        os.urandom(1_024),
        os.urandom(16_384),
        "ü" * 524_288,
        os.urandom(1_048_576),
        '"quotes" and \\ and {"$bin":0}',
    ]
    async with host.socket(actor) as socket:
        for frame in frames:
            await socket.send(frame)
            got = await socket.recv()
            assert type(got) is type(frame)
            assert got == frame
        for frame in frames:
            if len(frame) < 100_000:
                await socket.send(frame)
        assert [await socket.recv() for frame in frames if len(frame) < 100_000] == [
            frame for frame in frames if len(frame) < 100_000
        ]


async def test_messages_sent_while_asleep_arrive_once_in_order_with_indexes_that_go_on(host: TestHost) -> None:
    actor = await host.actor("sockets", "asleep")
    async with host.socket(actor, "numbered") as socket:
        for index in (1, 2):
            await socket.send("awake")
            assert await socket.recv() == f"{index} awake"
        await host.http.post(f"/actors/{actor}/sleep")
        asleep = await host.until_asleep(actor)
        assert [row["msg_index"] for row in asleep["connections"]] == [2]
        for number in range(300):
            await socket.send(f"{number}")
        assert [await socket.recv() for _ in range(300)] == [f"{number + 3} {number}" for number in range(300)]
        state = await host.call(actor, "all")
        assert (state["wakes"], state["opened"]) == (2, ["/numbered"])
        await socket.send("nothing between")
        assert await socket.recv() == "303 nothing between"


async def test_a_client_that_closes_while_its_actor_sleeps_is_told_once(host: TestHost) -> None:
    actor = await host.actor("sockets", "leaves")
    async with host.socket(actor) as leaving, host.socket(actor) as staying:
        await staying.send("x")
        assert await staying.recv() == "x"
        await host.http.post(f"/actors/{actor}/sleep")
        await host.until_asleep(actor)
        await leaving.close(4_002, "while asleep")
        while len((await host.snapshot(actor))["connections"]) == 2:
            await anyio.lowlevel.checkpoint()
        for _ in range(2):
            state = await host.call(actor, "all")
            assert state["closed"] == [[4_002, "while asleep", True]]
            assert (state["wakes"], state["sockets"]) == (2, 1)
        await staying.send("y")
        assert await staying.recv() == "y"


async def test_destroying_an_actor_closes_its_sockets_and_refuses_new_ones(host: TestHost) -> None:
    actor = await host.actor("sockets", "destroyed")
    async with host.socket(actor) as one, host.socket(actor) as two:
        await one.send("x")
        assert await one.recv() == "x"
        assert (await host.http.delete(f"/actors/{actor}")).status_code == 200
        assert await end_of(one) == (1_000, "actor.destroyed")
        assert await end_of(two) == (1_000, "actor.destroyed")
    assert await refusal(host, actor) == (404, "actor/not_found")


async def test_destroying_an_actor_that_sleeps_closes_its_sockets_too(host: TestHost) -> None:
    actor = await host.actor("sockets", "destroyed-asleep")
    async with host.socket(actor) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
        await host.http.post(f"/actors/{actor}/sleep")
        await host.until_asleep(actor)
        assert (await host.http.delete(f"/actors/{actor}")).status_code == 200
        assert await end_of(socket) == (1_000, "actor.destroyed")


async def refusal(host: TestHost, actor: str) -> tuple[int, str]:
    """Status and code with which an upgrade is refused before the handshake."""
    with pytest.raises(InvalidStatus) as refused:
        async with host.socket(actor):
            pass
    answer = refused.value.response
    assert answer.headers["content-type"] == "application/json"
    assert answer.body is not None
    assert b"secret" not in answer.body
    error = msgspec.json.decode(answer.body)
    return answer.status_code, f"{error['group']}/{error['code']}"


async def test_an_upgrade_is_refused_before_the_handshake(host: TestHost) -> None:
    assert await refusal(host, "0" * 32) == (404, "actor/not_found")
    assert await refusal(host, await host.actor("none")) == (405, "actor/method_not_allowed")
    broken = await host.actor("sockets", "broken")
    assert await refusal(host, broken) == (503, "actor/start_failed")
    assert await refusal(host, broken) == (503, "actor/start_failed")


async def test_an_open_that_throws_closes_its_socket_alone(host: TestHost) -> None:
    actor = await host.actor("sockets", "open-throws")
    async with host.socket(actor) as good, host.socket(actor, "refuses") as bad:
        assert await end_of(bad) == (1_011, "internal.internal_error")
        await good.send("x")
        assert await good.recv() == "x"
    assert [row["path"] for row in (await host.snapshot(actor))["connections"]] in ([], ["/"])


async def test_sockets_opened_during_a_slow_start_all_open_and_the_start_runs_once(host: TestHost) -> None:
    actor = await host.actor("sockets", "slow")
    counts: list[int] = []

    async def client(number: int) -> None:
        async with host.socket(actor, f"greet/{number}") as socket:
            await socket.send(f"at once {number}")
            assert await socket.recv() == "welcome"
            assert await socket.recv() == f"at once {number}"
            counts.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(client, number)
    assert sorted(counts) == list(range(8))
    state = await closes(host, actor, 8)
    assert (state["created"], state["wakes"]) == (1, 1)
    assert sorted(state["opened"]) == [f"/greet/{number}" for number in range(8)]
