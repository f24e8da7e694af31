"""CORS, for the data plane only: web pages may talk to actors, never to the control plane.

The origin is echoed rather than `*`, because browsers' clients send their requests with credentials; nothing here
depends on cookies, so echoing grants a page no more than a `*` would.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response

__all__ = ["CORS_PREFIX", "cors_headers", "preflight"]

CORS_PREFIX = "access-control-"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED = (
    "authorization, content-type, x-dormice-session, x-rivet-actor, x-rivet-conn-params, x-rivet-encoding, "
    "x-rivet-skip-ready-wait, x-rivet-target, x-rivet-token"
)
EXPOSED = "retry-after, x-rivet-actor, x-rivet-actor-generation, x-rivet-actor-key, x-rivet-ray-id"
MAX_AGE = "86400"


def cors_headers(headers: Headers) -> list[tuple[str, str]]:
    """What an answer to this request carries; nothing if no browser asks."""
    origin = headers.get("origin")
    if origin is None:
        return []
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", EXPOSED),
        ("vary", "Origin"),
    ]


def preflight(headers: Headers) -> Response:
    """The answer to OPTIONS; the CORS headers above come on top."""
    return Response(
        status_code=204,
        headers={
            "allow": METHODS,
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": headers.get("access-control-request-headers", ALLOWED),
            "access-control-max-age": MAX_AGE,
        },
    )
