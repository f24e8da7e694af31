"""The two loops of an open socket, on raw ASGI callables: this is the path of every message.

The reader numbers and posts without awaiting anything in between, so order is that of the frames. It does not read
while the connection has too much unacknowledged: the kernel's window then slows the client down. The writer wakes once
for all frames that are there. Neither starts a task per message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from msgspec.structs import replace

from host.gateway.apart import apart
from host.gateway.connection import Connection, size_of
from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits
from host.model.tunnel import ActionRequest, SocketClosed, SocketMessage, Subscription
from host.wire.frames.to_server import decode_to_server

__all__ = ["ABORT_EXTENSION", "Receive", "Send", "read_frames", "write_frames"]

# Set in the scope's extensions by our own server: a callable that drops the transport.
ABORT_EXTENSION = "dormice.abort"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def read_frames(
    conn: Connection,
    receive: Receive,
    post: Callable[[SocketMessage], None],
    limits: Limits,
    too_long: Callable[[Connection, int], None],
    malformed: Callable[[Connection, DormiceError], None],
) -> SocketClosed:
    """Until the client is gone; says how it went. What comes on a /connect socket is decoded here, once."""
    encoding = conn.opened.protocol
    max_messages, max_buffered, max_size = limits.incoming_messages, limits.incoming_buffer, limits.message
    while True:
        while conn.unacknowledged >= max_messages or conn.buffered >= max_buffered:
            if conn.closing is not None or conn.gone:
                break
            conn.room_waiter = asyncio.get_running_loop().create_future()
            await conn.room_waiter
        message = await receive()
        if message["type"] != "websocket.receive":
            return _closed(conn, message)
        if conn.closing is not None:
            continue  # it came after our close: the client reads of that soon
        data = message.get("text")
        if data is None:
            data = bytes(message["bytes"])
        size = size_of(data)
        if size > max_size:
            too_long(conn, size)
            continue
        if conn.repeats:  # the client of a session sends again what came before
            conn.repeats -= 1
            continue
        if not encoding:
            post(conn.take(data, size))
            continue
        try:
            asked = await apart(size, decode_to_server, encoding, data)
            if conn.actions is not None:
                _guard(asked, conn.actions)
        except DormiceError as error:
            if not conn.is_closing:
                malformed(conn, error)
            continue
        if conn.is_closing:  # since: nobody numbers messages of this connection any more
            continue
        if isinstance(asked, ActionRequest) and len(asked.args) > limits.action:
            # A megabyte of CBOR may be sixteen of JSON. Its client is told so in its turn; till then nobody reads them.
            asked = replace(asked, args=asked.args[: limits.action + 1])
        # What is kept of it may be larger than it was on the wire.
        post(conn.take(asked, max(size, len(asked.args)) if isinstance(asked, ActionRequest) else size))


def _guard(asked: ActionRequest | Subscription, actions: tuple[str, ...]) -> None:
    """The token of the client is bound to these actions, and to nothing else."""
    if not isinstance(asked, ActionRequest) or asked.name not in actions:
        raise CallerError("auth", "forbidden", "this token does not allow it", detail="bounds of the token")


async def write_frames(conn: Connection, send: Send, scope: anyio.CancelScope) -> None:
    """Until our close frame is sent (then the reader is stopped through `scope`), or the client is gone."""
    try:
        while True:
            while conn.outgoing:
                batch, conn.outgoing = conn.outgoing, []
                for data, size in batch:
                    if conn.cut:
                        break
                    if type(data) is str:
                        await send({"type": "websocket.send", "text": data})
                    else:
                        await send({"type": "websocket.send", "bytes": data})
                    conn.queued -= size
            if conn.closing is not None:
                code, reason = conn.closing
                await send({"type": "websocket.close", "code": code, "reason": reason})
                scope.cancel()
                return
            conn.write_waiter = asyncio.get_running_loop().create_future()
            await conn.write_waiter
    except OSError:
        # How ASGI servers say that the client is gone. The reader learns how, unless it waits for room.
        conn.gone = True
        conn.wake_reader()


def _closed(conn: Connection, message: Message) -> SocketClosed:
    """A client's close frame comes with a reason, if an empty one; a drop (and a stop of the server) without the field:
    there is no code for it but 1006."""
    if "reason" not in message:
        return SocketClosed(conn.actor_id, conn.conn_id, 1006, "", False)
    code, reason = int(message.get("code", 1005)), message["reason"] or ""
    # the server closes for these itself, when frames are malformed: that is no orderly end
    clean = code not in (1002, 1006, 1007, 1009)
    return SocketClosed(conn.actor_id, conn.conn_id, code, reason, clean)
