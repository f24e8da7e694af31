"""What becomes of a failed event: the error that its caller sees, the detail for the log, the dead letter. Pure."""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Struct

from host.actor.entries import Entry, Kind
from host.actor.turns import Settlement
from host.bridge.envelopes import CallError
from host.model.errors import MASKED_MESSAGE, ErrorInfo
from host.model.limits import Limits
from host.model.records import LETTER_PAYLOAD, AlarmRow, DeadLetter
from host.model.tunnel import ActionReply, AuthReply, HttpReply, SocketMessage, Subscription

__all__ = ["error_of", "failed", "letter", "too_long"]

ABORTED = ErrorInfo("actor", "aborted", "the actor restarted while this was in work; it may have taken effect in part")
TIMED_OUT = ErrorInfo("actor", "action_timed_out", "the handler did not settle within its time")
# What a guest may tell clients of an error, beside its metadata, which has a limit of its own.
USER_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# What an SDK finds wrong with what a caller sent: none of it says more than the caller already knows.
OF_THE_SDK = frozenset({("actor", "action_not_found"), ("actor", "validation_error")})
ANY_USER_ERROR = "user_error"
MAX_MESSAGE = 4 * 1024
CUT = "... (cut)"
# What is logged of an error that is masked.
MAX_DETAIL = 16 * 1024
# Nobody sees it: whoever asked for it asks the auth hook first, and then again.
UNCHECKED = ErrorInfo("actor", "restarting", "the actor has to be asked about this client first", retryable=True)
STUCK = ErrorInfo("guest", "stuck", "the handler waits for something that this actor never started")


def error_of(error: CallError, limits: Limits, entry: Entry | None = None) -> tuple[ErrorInfo, str | None]:
    """What a guest raised, as clients see it, and the detail for the log. The group `user` passes, if its code is one
    that can stand in a close reason and a counter, with so much of its message as a message may be; and so do the two
    that an SDK says of its caller, and, where `entry` asks to subscribe, that it may not. Everything else is masked: a
    guest cannot forge the host's own errors."""
    metadata = None if error.metadata is UNSET else bytes(error.metadata)
    message = _cut(error.message, MAX_MESSAGE)
    if error.group == "user":
        if metadata is not None and len(metadata) > limits.error_metadata:
            return too_long("error_metadata", len(metadata), limits.error_metadata), f"{error.code[:64]!r}: {message}"
        if USER_CODE.fullmatch(error.code):
            return ErrorInfo("user", error.code, message, metadata=metadata), None
        shown = f"the code {error.code[:80]!r} is not 1 to 64 of A-Z a-z 0-9 _ . -"
        return ErrorInfo("user", ANY_USER_ERROR, message, metadata=metadata), shown
    if (error.group, error.code) == ("auth", "forbidden") and entry is not None and _subscribes(entry):
        return ErrorInfo("auth", "forbidden", message), None
    if (error.group, error.code) in OF_THE_SDK:
        if metadata is not None and len(metadata) > limits.error_metadata:
            return too_long("error_metadata", len(metadata), limits.error_metadata), message
        return ErrorInfo(error.group, error.code, message, metadata=metadata), None
    detail = f"{error.group[:64]}/{error.code[:64]}: {message}"
    if metadata is not None:
        detail += "\n" + _behind(metadata)
    return ErrorInfo("internal", "internal_error", MASKED_MESSAGE), _cut(detail, MAX_DETAIL)


class _Thrown(Struct, forbid_unknown_fields=True):
    """What the JavaScript SDK says of an error that is not for callers."""

    stack: str


_thrown = msgspec.json.Decoder(_Thrown)


def _behind(metadata: bytes) -> str:
    """Of a stack the frames down to the last one in the tenant's module, which the SDK's own lie behind; or else the
    metadata as it is."""
    try:
        lines = _thrown.decode(metadata).stack.splitlines() if len(metadata) <= MAX_DETAIL else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = []
    theirs = [number for number, line in enumerate(lines, 1) if "actor.js:" in line]
    if not lines:
        return metadata[:MAX_DETAIL].decode("utf-8", "replace")
    return "\n".join(lines[: theirs[-1]] if theirs else lines)


def _subscribes(entry: Entry) -> bool:
    return isinstance(entry.payload, SocketMessage) and isinstance(entry.payload.data, Subscription)


def _cut(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, and whole characters."""
    if len(text) * 4 <= size:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[: size - len(CUT)].decode("utf-8", "ignore") + CUT


def failed(entry: Entry, error: ErrorInfo, detail: str | None = None) -> Settlement:
    """The settlement of an event with an error."""
    if entry.kind is Kind.ACTION:
        return Settlement(entry, error, ActionReply(error=error), detail=detail)
    if entry.kind is Kind.REQUEST:
        return Settlement(entry, error, HttpReply(error=error), detail=detail)
    if entry.kind is Kind.AUTH:
        return Settlement(entry, error, AuthReply(error=error), detail=detail)
    return Settlement(entry, error, detail=detail)


def too_long(limit: str, used: int, allowed: int) -> ErrorInfo:
    return ErrorInfo(
        "message",
        "outgoing_too_long",
        f"{limit}: {used} to send, {allowed} allowed; send less at a time",
        metadata=msgspec.json.encode({"limit": limit, "used": used, "allowed": allowed}),
    )


def letter(entry: Entry, error: ErrorInfo, now: int) -> DeadLetter:
    """What is kept of an event that was given up."""
    payload, ref, index = b"", entry.line or "", 0
    if isinstance(entry.payload, SocketMessage):
        data = entry.payload.data
        if isinstance(data, str | bytes):
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
