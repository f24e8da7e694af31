"""The example `chat_room`, on a real host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
import websockets

from tests.end_to_end.host import TestHost

pytestmark = pytest.mark.anyio


async def frame(socket: websockets.ClientConnection) -> Any:
    return json.loads(await socket.recv())


async def test_everybody_hears_everybody_and_who_comes_later_reads_it(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("chat_room", (examples / "chat_room" / "actor.js").read_bytes())
        room = await host.actor("chat_room", "lobby")
        async with host.socket(room, "ada") as ada, host.socket(room, "bob%20b") as bob:
            for socket in (ada, bob):
                assert await frame(socket) == {"type": "welcome", "history": []}
            await ada.send("hi")
            await bob.send("hello")
            await ada.send("bye")
            said = [
                {"from": "ada", "text": "hi", "index": 1},
                {"from": "bob b", "text": "hello", "index": 1},
                {"from": "ada", "text": "bye", "index": 2},
            ]
            heard = [[await frame(socket) for _ in said] for socket in (ada, bob)]
            assert heard[0] == heard[1]
            # the order between two sockets is the room's to choose; within one it is kept
            assert sorted(map(str, heard[0])) == sorted(map(str, said))
            assert [each["index"] for each in heard[0] if each["from"] == "ada"] == [1, 2]
            assert await host.call(room, "history") == heard[0]
        async with host.socket(room, "carol") as carol:
            assert await frame(carol) == {"type": "welcome", "history": heard[0]}


async def test_the_room_sleeps_with_its_sockets_open_and_welcomes_nobody_twice(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("chat_room", (examples / "chat_room" / "actor.js").read_bytes())
        room = await host.actor("chat_room", "lobby")
        async with host.socket(room, "ada") as ada, host.socket(room, "bob") as bob:
            assert [(await frame(socket))["type"] for socket in (ada, bob)] == ["welcome", "welcome"]
            await ada.send("one")
            assert [(await frame(socket))["text"] for socket in (ada, bob)] == ["one", "one"]
            await host.call(room, "triggerSleep")
            asleep = await host.until_asleep(room)
            await ada.send("two")
            await ada.send("three")
            for socket in (ada, bob):
                assert [await frame(socket) for _ in range(2)] == [
                    {"from": "ada", "text": "two", "index": 2},
                    {"from": "ada", "text": "three", "index": 3},
                ]
            awake = await host.snapshot(room)
            assert awake["epoch"] > asleep["epoch"]
            assert [conn["conn_id"] for conn in awake["connections"]] == [
                conn["conn_id"] for conn in asleep["connections"]
            ]
            assert [each["text"] for each in await host.call(room, "history")] == ["one", "two", "three"]


async def test_binary_frames_are_ignored(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("chat_room", (examples / "chat_room" / "actor.js").read_bytes())
        room = await host.actor("chat_room", "lobby")
        async with host.socket(room) as socket:
            await frame(socket)
            await socket.send(b"\x00\x01")
            await socket.send("text")
            assert await frame(socket) == {"from": "someone", "text": "text", "index": 2}
