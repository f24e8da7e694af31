"""What becomes of a failed event: the error that its caller sees, the detail for the log, the dead letter. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from host.actor.entries import Entry, Kind
from host.actor.turns import Settlement
from host.bridge.envelopes import CallError
from host.model.errors import MASKED_MESSAGE, ErrorInfo
from host.model.records import LETTER_PAYLOAD, AlarmRow, DeadLetter
from host.model.tunnel import ActionReply, HttpReply, SocketMessage

__all__ = ["error_of", "failed", "letter", "too_long"]

ABORTED = ErrorInfo("actor", "aborted", "the actor restarted while this was in work; it may have taken effect in part")
TIMED_OUT = ErrorInfo("actor", "action_timed_out", "the handler did not settle within its time")
STUCK = ErrorInfo("guest", "stuck", "the handler waits for something that this actor never started")


def error_of(error: CallError) -> tuple[ErrorInfo, str | None]:
    """What a guest raised, as clients see it, and the detail for the log. The group `user` passes as it is, and so does
    that there is no such action; everything else is masked: a guest cannot forge the host's own errors."""
    metadata = None if error.metadata is UNSET else bytes(error.metadata)
    if error.group == "user":
        return ErrorInfo("user", error.code, error.message, metadata=metadata), None
    if (error.group, error.code) == ("actor", "action_not_found"):
        return ErrorInfo("actor", "action_not_found", error.message), None
    detail = f"{error.group}/{error.code}: {error.message}"
    if metadata is not None:
        detail += "\n" + metadata.decode("utf-8", "replace")
    return ErrorInfo("internal", "internal_error", MASKED_MESSAGE), detail


def failed(entry: Entry, error: ErrorInfo, detail: str | None = None) -> Settlement:
    """The settlement of an event with an error."""
    if entry.kind is Kind.ACTION:
        return Settlement(entry, error, ActionReply(error=error), detail=detail)
    if entry.kind is Kind.REQUEST:
        return Settlement(entry, error, HttpReply(error=error), detail=detail)
    return Settlement(entry, error, detail=detail)


def too_long(limit: str, used: int, allowed: int) -> ErrorInfo:
    return ErrorInfo(
        "message",
        "outgoing_too_long",
        f"{limit}: {used} bytes to send, {allowed} allowed; send less at a time",
        metadata=msgspec.json.encode({"limit": limit, "used": used, "allowed": allowed}),
    )


def letter(entry: Entry, error: ErrorInfo, now: int) -> DeadLetter:
    """What is kept of an event that was given up."""
    payload, ref, index = b"", entry.line or "", 0
    if isinstance(entry.payload, SocketMessage):
        data = entry.payload.data
        payload = data.encode() if isinstance(data, str) else data
        index = entry.payload.index
    elif isinstance(entry.payload, AlarmRow):
        payload, ref = entry.payload.payload, entry.payload.alarm_id
    return DeadLetter(
        kind=entry.kind.value,
        ref=ref,
        index=index,
        reason=error.name,
        message=error.message,
        attempts=entry.attempt,
        at=now,
        payload=payload[:LETTER_PAYLOAD],
    )
