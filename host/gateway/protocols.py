"""uvicorn's two protocols, with the gaps closed through which a stranger could hold memory or get a bare answer.

Written against uvicorn 0.54, which the project pins; tests hold on to each of these:

* The request line and headers are bounded (the parser itself bounds neither).
* A body that was refused while it came is read to its end, within bounds, and thrown away: a socket that is closed with
  unread bytes in it is reset, and a reset takes the refusal away from a client that is still sending.
* A WebSocket whose handshake is malformed gets its refusal instead of silence, and one that the application refuses
  is no error of the application in the log.
* An idle socket does not keep what only its handshake needed.
* Messages before a malformed frame are delivered, even if both came in one piece.
* A frame larger than the limit is closed with our reason, not the parser's text.
* Reading stops when messages wait that nobody takes, not for each message: that costs two system calls.
* A frame for a client that takes it now is put together and written at once.
* A client that takes nothing can be dropped: `abort` travels to the application as an ASGI extension, and a client
  that answers no ping, or pings without reading, is dropped as well. Closing alone waits for its buffer to drain.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from host.gateway.pumps import ABORT_EXTENSION

__all__ = ["HttpProtocol", "WebSocketProtocol"]

MAX_URL = 16 * 1_024
MAX_HEADERS = 64 * 1_024
# How long a dead client's socket may take to swallow the last frame.
DROP_AFTER = 5.0
# What is still read of a request that has its answer already.
LATE_BYTES = 64 * 1_024 * 1_024
LATE_SECONDS = 10.0
# Messages that wait for the application may be so large together before reading stops at once; what is read in one go
# of the event loop is taken before the next one.
UNREAD_BYTES = 64 * 1_024
# A frame up to this size is one piece with its head; of a larger one no copy is made.
ONE_PIECE = 4 * 1_024
_TEXT, _BINARY = 0x81, 0x82
_HEAD_2, _HEAD_8 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


class HttpProtocol(HttpToolsProtocol):
    _header_bytes = 0
    _late_bytes = 0
    _late_timer: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            raise ValueError("the request line is too long")  # the parser stops, and uvicorn answers 400

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEADERS:
            raise ValueError("the headers are too long")
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            if self._late_timer is None:
                self._late_timer = self.loop.call_later(LATE_SECONDS, self.transport.close)
            self._late_bytes += len(body)
            if self._late_bytes > LATE_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._end_of_late_body() and not self.transport.is_closing():
            # uvicorn took its timer away when the bytes came, and sets it again with the next answer only
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_late_body()
        super().connection_lost(exc)

    def _end_of_late_body(self) -> bool:
        timer, self._late_timer, self._late_bytes = self._late_timer, None, 0
        if timer is not None:
            timer.cancel()
        return timer is not None


class _FrameProtocol(ServerProtocol):
    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            reason = "message.incoming_too_long"
        super().fail(code, reason)


class _Inbox:
    """What uvicorn uses of an asyncio.Queue, at a tenth of the memory: an idle socket should cost next to nothing."""

    __slots__ = ("events", "waiter")

    def __init__(self) -> None:
        self.events: list[ASGIReceiveEvent] = []
        self.waiter: asyncio.Future[None] | None = None

    def put_nowait(self, event: ASGIReceiveEvent) -> None:
        self.events.append(event)
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def empty(self) -> bool:
        return not self.events


class WebSocketProtocol(WebSocketsSansIOProtocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _FrameProtocol(max_size=config.ws_max_size, logger=logging.getLogger("uvicorn.error"))
        self._inbox = _Inbox()
        self.queue = cast("asyncio.Queue[ASGIReceiveEvent]", self._inbox)
        self._unread = 0
        self._looks = False

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # the application's task starts later, so it finds this in its scope
            extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), ABORT_EXTENSION: self.abort}
            self.scope["extensions"] = extensions

    def start_keepalive(self) -> None:
        """The handshake is sent: nobody looks at its headers again, which are a third of an idle socket's memory. The
        parser keeps the request itself."""
        super().start_keepalive()
        self.request.headers.clear()
        self.response.headers.clear()
        self.scope["headers"] = []

    def send_receive_event_to_app(self) -> None:
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        if self.close_sent:
            self.frames = []
            return
        if self.curr_msg_data_type == "text":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                super().send_receive_event_to_app()  # which closes
                return
            self._inbox.put_nowait({"type": "websocket.receive", "text": text})
        else:
            self._inbox.put_nowait({"type": "websocket.receive", "bytes": data})
        self.frames = []
        if self.read_paused:
            return
        self._unread += len(data)
        if self._unread > UNREAD_BYTES:
            self._pause()
        elif not self._looks:
            # An application that waits for messages comes before this look, and takes what is there.
            self._looks = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        self._looks = False
        if not self._inbox.events:
            self._unread = 0
        elif not (self.read_paused or self.close_sent):
            self._pause()

    def _pause(self) -> None:
        self.read_paused = True
        self.transport.pause_reading()

    async def receive(self) -> ASGIReceiveEvent:
        inbox = self._inbox
        while not inbox.events:
            inbox.waiter = self.loop.create_future()
            await inbox.waiter
        message = inbox.events.pop(0)
        if self.read_paused and not inbox.events:
            self.read_paused = False
            self._unread = 0
            self.transport.resume_reading()
        return message

    def _write_now(self, message: ASGISendEvent) -> bool:
        """Writes a message as one frame; False if that is not all there is to it, and uvicorn has to see to it."""
        if not (self.handshake_complete and self.writable.is_set() and self.conn.state is OPEN):
            return False
        if self.close_sent or self.disconnected or self.initial_response is not None or self.conn.extensions:
            return False
        data, opcode = cast("bytes | None", message.get("bytes")), _BINARY
        if data is None:
            data, opcode = cast(str, message["text"]).encode(), _TEXT  # type: ignore[typeddict-item]
        size = len(data)
        if size < 126:
            self.transport.write(bytes((opcode, size)) + data)
        elif size <= ONE_PIECE:
            self.transport.write(_HEAD_2(opcode, 126, size) + data)
        else:
            head = _HEAD_2(opcode, 126, size) if size < 65_536 else _HEAD_8(opcode, 127, size)
            self.transport.writelines((head, data))
        return True

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.send" and self._write_now(message):
            return
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # by its refusal; else uvicorn takes the end of the application for a fault

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.conn.receive_data(data)
        self.handle_events()  # uvicorn drops those that came in one piece with a malformed frame
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        elif not self.handshake_initiated and self.conn.handshake_exc is not None:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.abort()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(DROP_AFTER, self.transport.abort)
