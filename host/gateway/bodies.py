"""Request bodies, read with a cap while they stream in, under a deadline. Nothing is kept of one that is too large."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from host.model.clock import Clock
from host.model.errors import CallerError, limit_error

__all__ = ["read_body"]

BODY_TIMEOUT = 60.0


async def read_body(
    request: Request,
    clock: Clock,
    *,
    limit: str,
    allowed: int,
    error: str = "request/too_large",
    advice: str = "send less",
) -> bytes:
    """The whole body, or an error that names the limit, what was sent (as far as it was read) and what is allowed."""
    length = request.headers.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit()):
            raise CallerError("request", "invalid", "content-length is not a number")
        if int(length) > allowed:
            raise limit_error(limit, int(length), allowed, advice, name=error)
        if int(length) == 0:
            return b""
    chunks: list[bytes] = []
    size = 0
    try:
        with clock.fail_after(BODY_TIMEOUT):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > allowed:
                    raise limit_error(limit, size, allowed, advice, name=error)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise CallerError("request", "invalid", f"the body did not arrive within {BODY_TIMEOUT:.0f} s") from None
