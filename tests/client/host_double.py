"""A host's /connect in small: a WebSocket server on which a test plays the actor, frame by frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from host.client import ActorHandle, Client
from host.model.errors import ErrorInfo
from host.model.tunnel import ActionRequest, Subscription
from host.wire.frames.encoding import Encoding, parse_encoding
from host.wire.frames.to_client import encode_action_response, encode_error, encode_event, encode_init
from host.wire.frames.to_server import decode_to_server
from host.wire.values import from_python

__all__ = ["Peer", "playing"]

ACTOR = "a" * 32


class Peer:
    """The host's end of one connection."""

    def __init__(self, number: int, socket: ServerConnection) -> None:
        self.number = number
        self.socket = socket
        request = socket.request
        assert request is not None
        self.path, self.headers = request.path, request.headers
        offered = [name.strip() for name in request.headers["sec-websocket-protocol"].split(",")]
        self.encoding: Encoding = next(parse_encoding(n[15:]) for n in offered if n.startswith("rivet_encoding."))

    async def init(self) -> None:
        await self.socket.send(encode_init(self.encoding, ACTOR, f"conn-{self.number}"))

    async def next(self) -> ActionRequest | Subscription:
        return decode_to_server(self.encoding, await self.socket.recv())

    async def action(self) -> ActionRequest:
        """The next action; subscriptions before it are answered with an event of their name."""
        while not isinstance(found := await self.next(), ActionRequest):
            await self.event(found.event, "subscribed" if found.on else "unsubscribed")
        return found

    async def answer(self, action: ActionRequest, output: object) -> None:
        await self.socket.send(encode_action_response(self.encoding, action.id, from_python(output)))

    async def fail(self, error: ErrorInfo, action: ActionRequest | None = None) -> None:
        await self.socket.send(encode_error(self.encoding, error, action_id=None if action is None else action.id))

    async def event(self, name: str, *args: object) -> None:
        await self.socket.send(encode_event(self.encoding, name, from_python(list(args))))

    def cut(self) -> None:
        self.socket.transport.abort()


@asynccontextmanager
async def playing(
    actor: Callable[[Peer], Awaitable[None]], encoding: Encoding = "json"
) -> AsyncIterator[tuple[ActorHandle, list[Peer]]]:
    """A handle of an actor that `actor` plays, once for each connection; and the connections that were made."""
    peers: list[Peer] = []

    async def serve_one(socket: ServerConnection) -> None:
        peer = Peer(len(peers), socket)
        peers.append(peer)
        with suppress(ConnectionClosed):
            await actor(peer)

    async with serve(serve_one, "127.0.0.1", 0, subprotocols=[Subprotocol("rivet")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", token="t0", encoding=encoding) as client:
            with anyio.fail_after(10):
                yield client.get_for_id(ACTOR), peers
