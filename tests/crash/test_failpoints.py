"""The switch of the fail points: what it understands, what it costs when it is off, and its actions on a real host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from host.config import Settings, failpoint
from host.model.errors import CallerError
from host.model.failpoints import GUEST_POINTS, OFF, FailPoint, FailPoints, FailSetting, parse_failpoint
from tests.crash.checker import Line
from tests.crash.client import Client
from tests.crash.writer import WRITER
from tests.end_to_end.host_process import host_process

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("before_commit", FailSetting(FailPoint.BEFORE_COMMIT, 1, "kill")),
        ("before_turn:3", FailSetting(FailPoint.BEFORE_TURN, 3, "kill")),
        ("call_kv_put:2:trap", FailSetting(FailPoint.CALL_KV_PUT, 2, "trap")),
        ("before_ack:cut", FailSetting(FailPoint.BEFORE_ACK, 1, "cut")),
        ("any:trace", FailSetting(None, 1, "trace")),
    ],
)
def test_a_setting_names_a_point_perhaps_a_hit_and_an_action(text: str, setting: FailSetting) -> None:
    assert parse_failpoint(text) == setting


@pytest.mark.parametrize(
    "text",
    ["", "nowhere", "any", "any:kill", "before_ack:0", "before_ack:-1", "before_ack:trap", "before_ack:1:kill:x"],
)
def test_any_other_setting_keeps_the_host_from_starting(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        Settings(Path("data"), dev=True, failpoint=text).check()
    assert "before_commit" in caught.value.info.message


def test_the_setting_comes_from_the_environment_and_is_off_without_it() -> None:
    assert failpoint({"DORMICE_FAILPOINT": "before_turn"}) == "before_turn"
    assert failpoint({"DORMICE_FAILPOINT": ""}) is None
    assert failpoint({}) is None
    assert Settings(Path("data")).failpoint is None


def test_the_action_is_done_at_the_nth_hit_of_its_point_alone() -> None:
    done: list[FailPoint] = []
    points = FailPoints(FailPoint.BEFORE_ACK, done.append, nth=2)
    for _ in range(3):
        points.hit(FailPoint.BEFORE_TURN)
        points.hit(FailPoint.BEFORE_ACK)
    assert done == [FailPoint.BEFORE_ACK]
    every = FailPoints(None, done.append, nth=3, every=True)
    for point in (FailPoint.BEFORE_TURN, FailPoint.BEFORE_COMMIT, FailPoint.AFTER_COMMIT, FailPoint.BEFORE_ACK):
        every.hit(point)
    assert done == [FailPoint.BEFORE_ACK, FailPoint.AFTER_COMMIT, FailPoint.BEFORE_ACK]
    assert every.on


def test_off_does_nothing_anywhere() -> None:
    assert not OFF.on
    for point in FailPoint:
        OFF.hit(point)
    assert {point for point in FailPoint if point not in GUEST_POINTS} == {
        FailPoint.BEFORE_COMMIT,
        FailPoint.AFTER_COMMIT,
        FailPoint.BEFORE_ACK,
    }


async def test_a_trap_on_a_real_host_costs_an_attempt_and_nothing_else(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(40):
        async with host_process(new_data_dir(), "call_kv_put:3:trap") as (host, _tasks):
            await host.deploy("writer", WRITER.encode())
            client = Client(await host.actor("writer"))
            async with host.socket(client.actor_id, "a") as socket:
                client.lines["a"] = Line()
                await client.burst(socket, "a", "plain", "all", "plain")
            assert [line["on"] for line in host.lines if line["event"] == "guest fault"] == ["message"]
            assert client.lines["a"].told == [1, 2, 3]
            assert await client.broken(host) == []


async def test_a_cut_on_a_real_host_drops_the_client_of_which_the_actor_is_told_once(
    new_data_dir: Callable[[], Path],
) -> None:
    with anyio.fail_after(40):
        async with host_process(new_data_dir(), "before_commit:3:cut") as (host, _tasks):
            await host.deploy("writer", WRITER.encode())
            client = Client(await host.actor("writer"))
            async with host.socket(client.actor_id, "a") as socket:
                client.lines["a"] = Line()
                with pytest.raises(ConnectionClosed):
                    await until_cut(client, socket)
            assert await client.broken(host) == []
            assert [code for _, code in await host.call(client.actor_id, "closes")] == [1006]


async def until_cut(client: Client, socket: ClientConnection) -> None:
    for _ in range(3):
        await client.burst(socket, "a", "plain")
