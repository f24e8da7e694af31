"""What a case has in its hands: a tenant of its own on the host under test, and bare sockets to it.

Everything goes over the network as strangers' bytes do. Actors that a case makes are destroyed behind it, so that the
next case finds the host as this one did.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import anyio
import anyio.abc
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from host.model.clock import Clock
from host.selftest.escaped import Escaped, check

__all__ = ["JS", "WASM", "HostUnderTest", "Lab", "error_of"]

JS, WASM = "text/javascript", "application/wasm"
# As many bytes of an answer to bytes of ours are read.
MAX_RAW = 64 * 1024
_SAMPLE = re.compile(r"^dormice_(\w+?)(?:_total)?(?:\{reason=\"(.*)\"\})? (\S+)$", re.MULTILINE)


class HostUnderTest(Protocol):
    """A host in a process of its own."""

    @property
    def endpoint(self) -> str: ...

    @property
    def pid(self) -> int: ...

    def running(self) -> bool: ...

    def log_tail(self, lines: int = ...) -> str: ...


class Lab:
    """`tenant` is the namespace of this case alone."""

    def __init__(self, host: HostUnderTest, http: httpx.AsyncClient, clock: Clock, tenant: str, token: str) -> None:
        self.host = host
        self.http = http
        self.clock = clock
        self.tenant = tenant
        self.token = token
        address = urlsplit(host.endpoint)
        self.address = (address.hostname or "127.0.0.1", address.port or 80)
        self._made: list[str] = []

    # the control plane -------------------------------------------------------------------------------------------

    async def upload(self, data: bytes, kind: str) -> httpx.Response:
        return await self.http.post("/modules", params=self._where(), content=data, headers={"content-type": kind})

    async def define(self, name: str, digest: str, **more: Any) -> httpx.Response:
        return await self.http.put(f"/definitions/{name}", params=self._where(), json={"module": digest, **more})

    async def deploy(self, code: str | bytes, *, name: str = "guest", **more: Any) -> None:
        """Uploads and defines; hostile as it may be, this one has to be admitted. `more`: `limits`, `options`."""
        data, kind = (code.encode(), JS) if isinstance(code, str) else (code, WASM)
        answer = await self.upload(data, kind)
        check(answer.status_code == 201, f"the module was not admitted: {answer.status_code} {answer.text}")
        answer = await self.define(name, answer.json()["digest"], **more)
        check(answer.status_code == 200, f"the definition was not taken: {answer.status_code} {answer.text}")

    async def try_actor(self, key: str = "k", *, name: str = "guest", **more: Any) -> httpx.Response:
        return await self.http.put("/actors", params=self._where(), json={"name": name, "key": key, **more})

    async def actor(self, key: str = "k", *, name: str = "guest", **more: Any) -> str:
        answer = await self.try_actor(key, name=name, **more)
        check(answer.status_code == 200, f"no actor was made: {answer.status_code} {answer.text}")
        actor_id: str = answer.json()["actor"]["actor_id"]
        self._made.append(actor_id)
        return actor_id

    async def snapshot(self, actor_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/actors/{actor_id}/snapshot", params=self._where())
        check(answer.status_code == 200, f"no snapshot: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def sleep(self, actor_id: str) -> httpx.Response:
        return await self.http.post(f"/actors/{actor_id}/sleep", params=self._where())

    async def metrics(self) -> dict[tuple[str, str], float]:
        """Counters and gauges by name and reason."""
        answer = await self.http.get("/metrics")
        return {(name, reason): float(value) for name, reason, value in _SAMPLE.findall(answer.text)}

    # the data plane ----------------------------------------------------------------------------------------------

    async def call(self, actor_id: str, action: str, *args: Any) -> httpx.Response:
        return await self.http.post(f"/gateway/{actor_id}/action/{quote(action, safe='')}", json={"args": list(args)})

    async def output(self, actor_id: str, action: str, *args: Any) -> Any:
        """The output of an action that has to succeed."""
        answer = await self.call(actor_id, action, *args)
        check(answer.status_code == 200, f"{action} was answered {answer.status_code} {answer.text}")
        return answer.json()["output"]

    async def socket(self, actor_id: str, path: str = "", *, queue: int | None = 16, **more: Any) -> ClientConnection:
        """A WebSocket with the token; `queue` frames are read ahead."""
        host, port = self.address
        return await connect(
            f"ws://{host}:{port}/gateway/{actor_id}/websocket/{path}",
            additional_headers={"authorization": f"Bearer {self.token}", **more},
            compression=None,
            max_size=None,
            max_queue=queue,
            proxy=None,
            open_timeout=15,
        )

    async def connection(self, actor_id: str, encoding: str, **more: Any) -> ClientConnection:
        """A /connect socket with the token."""
        host, port = self.address
        return await connect(
            f"ws://{host}:{port}/gateway/{actor_id}/connect",
            additional_headers={"authorization": f"Bearer {self.token}", **more},
            subprotocols=[Subprotocol("rivet"), Subprotocol(f"rivet_encoding.{encoding}")],
            compression=None,
            max_size=None,
            proxy=None,
            open_timeout=15,
        )

    async def upgrade(self, actor_id: str, kind: str, offered: str) -> httpx.Response:
        """What an upgrade is answered that is refused before the handshake."""
        return await self.http.get(
            f"/gateway/{actor_id}/{kind}",
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
                "sec-websocket-protocol": offered,
            },
        )

    async def raw(self, sent: bytes | Sequence[bytes], seconds: float = 5.0) -> bytes:
        """Sends bytes on a connection and reads until the host closes it or is silent for long; b"" if it was reset."""
        got = b""
        try:
            async with await anyio.connect_tcp(*self.address) as stream:
                for chunk in [sent] if isinstance(sent, bytes) else sent:
                    await stream.send(chunk)
                with self.clock.fail_after(seconds):
                    while len(got) < MAX_RAW:
                        got += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError):
            pass  # whatever was read up to here is the answer
        return got

    def request_head(self, method: str, path: str, *more: str) -> bytes:
        """The head of an HTTP/1.1 request with the token, for `raw`."""
        host, port = self.address
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}:{port}", f"authorization: Bearer {self.token}", *more]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    # afterwards --------------------------------------------------------------------------------------------------

    async def clean_up(self) -> None:
        for actor_id in self._made:
            answer = await self.http.delete(f"/actors/{actor_id}", params=self._where())
            check(answer.status_code in (200, 404), f"an actor could not be destroyed: {answer.text}")

    def _where(self) -> dict[str, str]:
        return {"namespace": self.tenant}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error in an answer, in the one form that the host gives errors."""
    try:
        error = answer.json()
        error["name"] = f"{error['group']}/{error['code']}"
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        raise Escaped(f"{answer.status_code} is no error of the host's: {answer.text[:200]!r}") from None
    return dict(error)
