"""The load driver, a process of its own: sockets that keep a number of messages in flight for a while.

Prints one line of JSON: messages answered a second, and percentiles of the time from a message to its answer, in ms.
Every answer is checked against the message it belongs to. Bounded: it ends by itself after its duration.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

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


async def main(urls: list[str], depth: int, size: int, seconds: float) -> None:
    payloads = [os.urandom(size) for _ in range(16)]
    clients: list[Client] = []
    for url in urls:
        client = Client(payloads)
        await ws_connect(lambda client=client: client, url)
        clients.append(client)
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
    uvloop.run(main(wanted["urls"], wanted["depth"], wanted["size"], wanted["seconds"]))
