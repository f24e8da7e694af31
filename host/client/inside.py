"""A client in the process of its host: requests go to the application itself, without a connection."""

from __future__ import annotations

from typing import Any

import httpx

__all__ = ["INSIDE", "inside"]

# A name for what has no address; loopback, which is all that a host without a token serves.
INSIDE = "http://localhost"


def inside(app: Any) -> httpx.AsyncBaseTransport:
    """`app` is the host's ASGI application."""
    return httpx.ASGITransport(app)
