"""Where the actors of a host are reached, and how to speak with it there."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from host.client.answers import error_of, unreachable
from host.client.session import SessionSocket
from host.client.socket import Way
from host.model.errors import DormiceError
from host.wire.frames.bodies import decode_action_result, encode_action_request
from host.wire.frames.encoding import Encoding, content_type
from host.wire.values import from_python, to_python

__all__ = ["Gateway", "Params", "params_header"]

# Parameters of a connection: JSON, or what makes them anew for each connection.
Params = Any | Callable[[], Any | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Gateway:
    endpoint: str
    http: httpx.AsyncClient = field(repr=False)
    token: str | None = field(repr=False)
    encoding: Encoding
    way: Way | None = None

    def url(self, actor_id: str, path: str) -> str:
        return f"{self.endpoint}/gateway/{quote(actor_id, safe='')}/{path}"

    def socket_url(self, actor_id: str, path: str) -> str:
        return "ws" + self.url(actor_id, path).removeprefix("http")

    def session(
        self, actor_id: str, path: str, protocols: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> SessionSocket:
        """A socket that comes back, not opened yet."""
        return SessionSocket(
            self.socket_url(actor_id, path),
            self.url(actor_id, "session"),
            self.http,
            self.token,
            protocols=protocols,
            headers=headers,
            way=self.way,
        )

    async def action(self, actor_id: str, name: str, args: tuple[Any, ...], headers: Mapping[str, str]) -> Any:
        """The result of an action; raises what it, or the host, answers in place of one."""
        answer = await self.request(
            actor_id,
            f"action/{quote(name, safe='')}",
            method="POST",
            content=encode_action_request(self.encoding, from_python(list(args))),
            headers={**headers, "x-rivet-encoding": self.encoding, "content-type": content_type(self.encoding)},
        )
        if not answer.is_success:
            raise error_of(answer.status_code, answer.content, answer.headers, self.encoding)
        try:
            return to_python(decode_action_result(self.encoding, answer.content))
        except DormiceError as error:
            raise DormiceError("client", "bad_answer", f"the answer is not what a host sends: {error}") from error

    async def request(self, actor_id: str, path: str, **more: Any) -> httpx.Response:
        try:
            return await self.http.request(url=self.url(actor_id, path), **more)
        except httpx.InvalidURL as error:
            raise unreachable(self.endpoint, "not a URL") from error
        except httpx.HTTPError as error:
            raise unreachable(self.endpoint, type(error).__name__) from error


async def params_header(params: Params) -> dict[str, str]:
    """The header that carries the parameters, in ASCII; none if there are none."""
    if callable(params):
        params = params()
        if inspect.isawaitable(params):
            params = await params
    if params is None:
        return {}
    return {"x-rivet-conn-params": json.dumps(json.loads(from_python(params)))}
