"""The load driver, a process of its own: sockets that keep a number of messages in flight for a while.

Prints one line of JSON: messages answered a second, and percentiles of the time from a message to its answer, in ms.
Every answer is checked against the message it belongs to. With an encoding the messages are actions over /connect
sockets, whose answers may come in any order. Bounded: it ends by itself after its duration.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from host.model.tunnel import ActionRequest
from host.wire.frames.encoding import Encoding
from host.wire.frames.to_client import ActionResponse, Init, decode_to_client
from host.wire.frames.to_server import encode_to_server

SETTLE_SECONDS = 1.0


class Client(WSListener):
    """One socket; `waiting` holds the time at which each message in flight left."""

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = payloads
        self.sent = 0
        self.got = 0
        self.waiting: deque[float] = deque()
        self.times: list[float] = []
        self.wrong = 0
        self.closed = ""
        self.counting = False
        self.stopped = False
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def send(self) -> None:
        assert self.transport is not None
        self.waiting.append(time.perf_counter())
        self.transport.send(WSMsgType.BINARY, self.payloads[self.sent % len(self.payloads)])
        self.sent += 1

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.closed = f"{frame.get_close_code()} {(frame.get_close_message() or b'').decode()}"
            transport.disconnect()
        if frame.msg_type != WSMsgType.BINARY:
            return
        began = self.waiting.popleft()
        if self.counting:
            self.times.append(time.perf_counter() - began)
        if frame.get_payload_as_bytes() != self.payloads[self.got % len(self.payloads)]:
            self.wrong += 1
        self.got += 1
        if not self.stopped:
            self.send()


class Caller(Client):
    """One /connect socket; `begun` holds the time at which each action in flight left, and its arguments."""

    def __init__(self, payloads: list[bytes], encoding: Encoding) -> None:
        super().__init__(payloads)
        self.encoding = encoding
        self.begun: dict[int, tuple[float, bytes]] = {}
        self.ready = asyncio.Event()

    def send(self) -> None:
        assert self.transport is not None
        self.sent += 1
        args = self.payloads[self.sent % len(self.payloads)]
        self.begun[self.sent] = (time.perf_counter(), args)
        frame = encode_to_server(self.encoding, ActionRequest(self.sent, "echo", args))
        if isinstance(frame, bytes):
            self.transport.send(WSMsgType.BINARY, frame)
        else:
            self.transport.send(WSMsgType.TEXT, frame.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.closed = f"{frame.get_close_code()} {(frame.get_close_message() or b'').decode()}"
            transport.disconnect()
        if frame.msg_type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        data = frame.get_payload_as_bytes()
        said = decode_to_client(self.encoding, data.decode() if frame.msg_type == WSMsgType.TEXT else data)
        if isinstance(said, Init):
            self.ready.set()
            return
        if not isinstance(said, ActionResponse):
            self.wrong += 1
            return
        began, args = self.begun.pop(said.id)
        if self.counting:
            self.times.append(time.perf_counter() - began)
        if b"[%b]" % said.output != args:
            self.wrong += 1
        self.got += 1
        if not self.stopped:
            self.send()


async def _connected(url: str, size: int, encoding: Encoding | None) -> Client:
    if encoding is None:
        client = Client([os.urandom(size) for _ in range(16)])
        await ws_connect(lambda: client, url)
        return client
    caller = Caller([msgspec.json.encode([os.urandom(size // 2).hex()]) for _ in range(16)], encoding)
    offered: Any = {"Sec-WebSocket-Protocol": f"rivet, rivet_encoding.{encoding}"}
    await ws_connect(lambda: caller, url, extra_headers=offered)
    await caller.ready.wait()
    return caller


async def main(urls: list[str], depth: int, size: int, seconds: float, encoding: Encoding | None) -> None:
    clients = [await _connected(url, size, encoding) for url in urls]
    for client in clients:
        for _ in range(depth):
            client.send()
    await asyncio.sleep(SETTLE_SECONDS)
    for client in clients:
        client.counting = True
    before, began = sum(client.got for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    count, took = sum(client.got for client in clients) - before, time.perf_counter() - began
    for client in clients:
        client.stopped = True
    closes = [client.closed for client in clients if client.closed]
    if closes:
        raise SystemExit(f"{len(closes)} sockets were closed by the host, the first with {closes[0]}")
    times = sorted(moment for client in clients for moment in client.times)
    result = {
        "per_second": count / took,
        "p50_ms": 1_000 * times[len(times) // 2],
        "p99_ms": 1_000 * times[len(times) * 99 // 100],
        "wrong": sum(client.wrong for client in clients),
    }
    print(msgspec.json.encode(result).decode(), flush=True)
    for client in clients:
        assert client.transport is not None
        client.transport.disconnect()


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.argv[1])
    uvloop.run(main(wanted["urls"], wanted["depth"], wanted["size"], wanted["seconds"], wanted["encoding"]))
