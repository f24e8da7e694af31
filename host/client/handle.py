"""A handle: one actor, by its id or by its key, and what can be done with it.

    room = client.get_or_create("chat_room", ["lobby"])
    await room.action("send", "hello")      # or: await room.send_message("hello")
    actor = await room                      # looked up, or created: its id and times

A handle by key finds its actor at its first use and remembers it. If the actor turns out to be gone, nothing has been
carried out, so the handle looks once more, and creates the actor again if it was got with `get_or_create`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeVar

import httpx

from host.client.answers import error_of
from host.client.connection import Connection
from host.client.gateway import Gateway, Params, params_header
from host.client.records import ActorInfo
from host.client.session import SessionSocket
from host.client.socket import ActorSocket, Opening, open_socket
from host.model.errors import DormiceError

__all__ = ["ActorHandle"]

T = TypeVar("T")
Find = Callable[[], Awaitable[ActorInfo]]

# So often a key is looked up anew for one call whose actor was destroyed in between.
LOOKS_AGAIN = 3


class ActorHandle:
    """`params` are the parameters of connections; actions and requests without one bring them too. An attribute that
    the handle does not have is an action: `await handle.increment(5)`."""

    def __init__(
        self,
        gateway: Gateway,
        find: Find,
        *,
        actor_id: str | None = None,
        params: Params = None,
    ) -> None:
        """`find` looks the actor up; `actor_id` is set for a handle by id, which never looks again."""
        self._gateway = gateway
        self._find = find
        self._actor_id = actor_id
        self._by_id = actor_id is not None
        self._params = params

    def __await__(self) -> Generator[Any, None, ActorInfo]:
        return self.info().__await__()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any) -> Any:
            return await self.action(name, *args)

        return call

    async def info(self) -> ActorInfo:
        """The actor as the host knows it now; no guest code runs."""
        found = await self._find()
        if not self._by_id:
            self._actor_id = found.actor_id
        return found

    async def resolve(self) -> str:
        """The actor's id."""
        return self._actor_id if self._actor_id is not None else (await self.info()).actor_id

    async def action(self, name: str, *args: Any) -> Any:
        """Carries an action out, waking the actor if it sleeps."""
        headers = await params_header(self._params)

        async def call(actor_id: str) -> Any:
            return await self._gateway.action(actor_id, name, args, headers)

        return await self._reach(call)

    async def fetch(
        self,
        path: str = "",
        *,
        method: str = "GET",
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to a plain HTTP request, whatever its status; raises only if there is no actor to answer. `path`
        may have a query string."""
        sent = {**(headers or {}), **await params_header(self._params)}

        async def call(actor_id: str) -> httpx.Response:
            rest = f"request/{path.lstrip('/')}"
            answer = await self._gateway.request(actor_id, rest, method=method, content=content, headers=sent)
            if not answer.is_success and "x-rivet-actor" not in answer.headers:
                raise error_of(answer.status_code, answer.content, answer.headers)
            return answer

        return await self._reach(call)

    def websocket(self, path: str = "") -> Opening[ActorSocket]:
        """A raw WebSocket: `async with handle.websocket("room") as socket`, or `await` it."""

        async def dial(actor_id: str) -> ActorSocket:
            url = self._gateway.socket_url(actor_id, f"websocket/{path.lstrip('/')}")
            return await open_socket(
                url, self._gateway.token, headers=await params_header(self._params), way=self._gateway.way
            )

        return Opening(lambda: self._reach(dial))

    def session(self, path: str = "") -> Opening[SessionSocket]:
        """A raw WebSocket that comes back by itself after a break, with nothing lost and nothing twice."""

        async def dial() -> SessionSocket:
            headers = await params_header(self._params)
            return self._gateway.session(await self.resolve(), f"websocket/{path.lstrip('/')}", (), headers)

        return Opening(dial)

    def connect(self, params: Params = None, *, session: bool = False) -> Connection:
        """A connection, for actions and events: `async with handle.connect() as conn`. With `session` it is the same
        connection also after a break, and its actions are carried out exactly once."""
        return Connection(self, self._gateway.encoding, self._params if params is None else params, session=session)

    # for connections ---------------------------------------------------------------------------------------------

    @property
    def by_id(self) -> bool:
        return self._by_id

    async def open_link(self, params: Params, *, session: bool) -> ActorSocket | SessionSocket:
        """A socket that speaks the protocol of connections; it has not been read from."""
        protocols = (f"rivet_encoding.{self._gateway.encoding}",)
        headers = await params_header(params)

        async def dial(actor_id: str) -> ActorSocket | SessionSocket:
            if session:
                link = self._gateway.session(actor_id, "connect", protocols, headers)
                await link.open()
                return link
            url = self._gateway.socket_url(actor_id, "connect")
            return await open_socket(
                url, self._gateway.token, protocols=protocols, headers=headers, way=self._gateway.way
            )

        return await self._reach(dial)

    def forget(self) -> None:
        """The actor that was found is gone: the next use looks again."""
        if not self._by_id:
            self._actor_id = None

    # inside ------------------------------------------------------------------------------------------------------

    async def _reach(self, use: Callable[[str], Awaitable[T]]) -> T:
        for _ in range(LOOKS_AGAIN):
            try:
                return await use(await self.resolve())
            except DormiceError as error:
                # an actor that is not there has carried nothing out
                if error.name != "actor/not_found" or self._by_id or self._actor_id is None:
                    raise
                self._actor_id = None
        return await use(await self.resolve())
