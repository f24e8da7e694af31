"""Every test of the gateway is bounded; the asyncio backend is the one that uvicorn runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from host.gateway.auth import AuthPolicy
from tests.gateway.support import World


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(dev=True))


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application without a server in between."""
    with anyio.fail_after(10):
        async with world.client() as client:
            yield client
