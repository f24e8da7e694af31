"""What is large is decoded apart from the event loop, one at a time, and its connection may end meanwhile."""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from typing import Any

import anyio
import anyio.to_thread
import pytest

from host.gateway import pumps
from host.gateway.apart import LARGE, apart
from host.gateway.connection import Connection
from host.gateway.pumps import read_frames
from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits
from host.model.tunnel import ActionRequest, Opened, SocketMessage
from host.wire.frames.to_server import encode_to_server

pytestmark = pytest.mark.anyio


async def test_what_is_small_is_worked_on_at_once() -> None:
    assert await apart(LARGE - 1, threading.get_ident) == threading.get_ident()


async def test_the_loop_goes_on_while_something_large_is_worked_on() -> None:
    let_go, done = threading.Event(), anyio.Event()

    def work() -> int:
        assert let_go.wait(10)
        return threading.get_ident()

    async def go_on() -> None:
        let_go.set()  # nobody would, if the loop stood still
        done.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            assert await apart(LARGE, work) != threading.get_ident()
            await done.wait()


async def test_one_is_worked_on_at_a_time() -> None:
    began: list[str] = []
    let_go = threading.Event()

    def work(name: str) -> None:
        began.append(name)
        assert let_go.wait(10)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b", "c"):
                tasks.start_soon(apart, LARGE, work, name)
            for _ in range(5):  # other threads come and go: there would be time to begin
                await anyio.to_thread.run_sync(threading.get_ident)
            assert began == ["a"]
            let_go.set()
    assert began == ["a", "b", "c"]


async def test_an_error_comes_back_from_there() -> None:
    def work() -> None:
        raise CallerError("request", "invalid", "no")

    with pytest.raises(CallerError):
        await apart(LARGE, work)


class Client:
    """Sends one action of a /connect socket, and is gone."""

    def __init__(self, frame: str | bytes) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "websocket.receive", **({"text": frame} if isinstance(frame, str) else {"bytes": frame})},
            {"type": "websocket.disconnect", "code": 1000},
        ]

    async def receive(self) -> MutableMapping[str, Any]:
        return self.messages.pop(0)


async def read(frame: str | bytes, conn: Connection) -> tuple[list[SocketMessage], list[DormiceError]]:
    posted: list[SocketMessage] = []
    malformed: list[DormiceError] = []
    with anyio.fail_after(10):
        await read_frames(
            conn,
            Client(frame).receive,
            posted.append,
            Limits(),
            lambda conn, size: None,
            lambda conn, error: malformed.append(error),
        )
    return posted, malformed


def connection() -> Connection:
    return Connection(Opened("a" * 32, "c", "gw", "r", "/", (), None, 0, protocol="bare"))


async def test_a_large_frame_is_posted_once_it_is_decoded() -> None:
    args = b'["' + b"x" * LARGE + b'"]'
    frame = encode_to_server("bare", ActionRequest(1, "n", args))
    posted, malformed = await read(frame, connection())
    assert [message.data for message in posted] == [ActionRequest(1, "n", args)]
    assert malformed == []


@pytest.mark.parametrize("good", [True, False])
async def test_a_frame_whose_connection_ended_while_it_was_decoded_is_nobodys(
    monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    conn = connection()

    async def slowly(size: int, work: Any, *args: Any) -> Any:
        conn.begin_close(4009, "session.taken_over", cut=True)
        return work(*args)

    monkeypatch.setattr(pumps, "apart", slowly)
    frame = encode_to_server("bare", ActionRequest(1, "n", b"[]")) if good else b"\x04\x00\x07"
    assert await read(frame, conn) == ([], [])
    assert conn.next_index == 1
