"""A whole host for end-to-end tests: a node behind its real HTTP server on a free port, and the few calls tests
make."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import websockets
from anyio.abc import TaskGroup

from host.actor.registry import Registered
from host.config import Settings
from host.gateway.server import HostServer, bind
from host.node import Node, open_node

__all__ = ["TestHost", "start_host"]


class TestHost:
    """`http` talks to the host's address."""

    __test__ = False

    def __init__(self, node: Node, port: int, http: httpx.AsyncClient) -> None:
        self.node = node
        self.port = port
        self.http = http

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def deploy(self, name: str, source: bytes, content_type: str = "text/javascript", **more: Any) -> str:
        """Uploads a module and makes a definition of it; returns the digest."""
        answer = await self.http.post("/modules", content=source, headers={"content-type": content_type})
        assert answer.status_code == 201, answer.text
        digest: str = answer.json()["digest"]
        answer = await self.http.put(f"/definitions/{name}", json={"module": digest, **more})
        assert answer.status_code == 200, answer.text
        return digest

    async def actor(self, name: str, key: str = "k", **more: Any) -> str:
        """The id of the actor of a key, made if need be."""
        answer = await self.http.put("/actors", json={"name": name, "key": key, **more})
        assert answer.status_code == 200, answer.text
        actor_id: str = answer.json()["actor"]["actor_id"]
        return actor_id

    async def call(self, actor_id: str, action: str, *args: Any) -> Any:
        """The output of an action; fails the test on an error."""
        answer = await self.try_call(actor_id, action, *args)
        assert answer.status_code == 200, answer.text
        return answer.json()["output"]

    async def try_call(self, actor_id: str, action: str, *args: Any) -> httpx.Response:
        return await self.http.post(f"/gateway/{actor_id}/action/{action}", json={"args": list(args)})

    def socket(self, actor_id: str, path: str = "", **more: Any) -> websockets.connect:
        address = f"ws://127.0.0.1:{self.port}/gateway/{actor_id}/websocket/{path}"
        return websockets.connect(address, compression=None, max_size=None, **more)

    async def snapshot(self, actor_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/actors/{actor_id}/snapshot")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def until_asleep(self, actor_id: str) -> dict[str, Any]:
        """Waits, by asking, until the actor sleeps."""
        with anyio.fail_after(10):
            while True:
                found = await self.snapshot(actor_id)
                if found["lifecycle"] == "asleep":
                    return found
                await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def start_host(
    data_dir: Path, *, registered: Mapping[str, Registered] | None = None, port: int = 0, **settings: Any
) -> AsyncGenerator[TestHost]:
    """Runs a host until the block ends, then stops it as a signal would; on a port of its own unless it is to come back
    where another was. Without deployment images unless a test asks
    for them: each takes a second of a core."""
    defaults: dict[str, Any] = {"dev": True, "allow_private_urls": True, "memory_reserve": "0", "images": False}
    chosen = Settings(data_dir=data_dir, **{**defaults, **settings})
    tasks: TaskGroup
    with bind("127.0.0.1", port) as sock:
        async with open_node(chosen, registered=registered) as node, anyio.create_task_group() as tasks:
            server = HostServer(node.app, sock, chosen.limits)
            port = await tasks.start(server.run)
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
                    yield TestHost(node, port, http)
            finally:
                # After a failure too: else the server goes on with a socket whose number others get.
                with anyio.CancelScope(shield=True):
                    await server.stop(node.drain)
