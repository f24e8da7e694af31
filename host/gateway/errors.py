"""Errors as clients see them: one shape, in the encoding of the client, for HTTP answers and refused upgrades, and one
form for close reasons.

Guarantees: whatever is not a `DormiceError`, and every error of the group `internal`, is masked, and the ray id in the
answer is the one in the log line; `detail` is logged and never sent; each refusal is logged and counted (D10).
Lines name the route, never the path or the query string, for both may hold tokens.
"""

from __future__ import annotations

import math

from msgspec import Struct
from starlette.responses import Response

from host.model.errors import MASKED_MESSAGE, DormiceError, ErrorInfo, InternalError, status_of
from host.model.ports import Metrics
from host.model.records import ActorRecord
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger
from host.wire.frames.bodies import encode_http_error
from host.wire.frames.encoding import DEFAULT_ENCODING, Encoding, content_type
from host.wire.frames.errors import ActorSpecifier
from host.wire.keys import encode_key

__all__ = ["Refusal", "close_reason", "cut_reason", "refuse"]

MAX_REASON = 123

log = get_logger("gateway")


class Refusal(Struct, frozen=True):
    """An error ready to be sent, on HTTP or in place of a handshake."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    media_type: str

    def response(self) -> Response:
        return Response(self.body, self.status, headers=dict(self.headers), media_type=self.media_type)


def refuse(
    error: Exception,
    *,
    ray: str,
    route: str,
    metrics: Metrics,
    actor: ActorRecord | None = None,
    encoding: Encoding = DEFAULT_ENCODING,
) -> Refusal:
    """Logs and counts the error, and says what the client is to see of it."""
    if isinstance(error, DormiceError):
        shown, traceback = error, None
    else:
        shown, traceback = InternalError(repr(error)), error
    masked = shown.group == "internal"
    status = shown.status or status_of(shown.group, shown.code)
    _log(shown, traceback, status, ray, route, actor)
    if not shown.counted:
        note_limit(metrics, shown)
    metrics.count("errors", "user" if shown.group == "user" else shown.name)

    info = ErrorInfo(
        shown.group,
        shown.code,
        MASKED_MESSAGE if masked else shown.message,
        metadata=None if masked else shown.metadata,
    )
    whose = None if actor is None else ActorSpecifier(actor.actor_id, actor.generation, encode_key(actor.key))
    headers: list[tuple[str, str]] = []
    if shown.retry_after is not None:
        headers.append(("retry-after", str(max(1, math.ceil(shown.retry_after)))))
    if status == 401:
        headers.append(("www-authenticate", "Bearer"))
    body = encode_http_error(encoding, info, whose)
    return Refusal(status, tuple(headers), body, content_type(encoding))


def close_reason(group: str, code: str, ray: str = "") -> str:
    """`group.code#ray`, within what a close frame can carry."""
    return cut_reason(f"{group}.{code}#{ray}" if ray else f"{group}.{code}")


def cut_reason(text: str) -> str:
    """At most 123 bytes of UTF-8, cut between characters."""
    data = text.encode("utf-8", "replace")
    return data[:MAX_REASON].decode("utf-8", "ignore")


def _log(
    error: DormiceError, traceback: Exception | None, status: int, ray: str, route: str, actor: ActorRecord | None
) -> None:
    write = log.error if status >= 500 else log.info
    if error.fault == "unavailable" or error.group == "guest":
        # a tenant whose code faults must not be able to raise the operator's alarm
        write = log.warning
    detail = error.detail
    if error.group == "internal" and detail is None:  # an error that a guest did not mean for its callers
        stack = b"" if error.metadata is None else error.metadata
        detail = f"{error.message} {stack.decode(errors='replace')}".rstrip()
    write(
        "request refused" if status < 500 else "request failed",
        error=error.name,
        status=status,
        ray=ray,
        route=route,
        actor_id=actor.actor_id if actor is not None else None,
        detail=detail,
        exc_info=traceback,
    )
