"""Answers of the host: decoded where they are good, raised as the host's own typed errors where they are not.

An error of the host comes back as the exception that the host raised (`host.model.errors`); what is not an answer of a
host at all (a proxy's page, nobody listening) is an error of the group `client`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from host.model.errors import DormiceError, ErrorInfo, UnavailableError, error_from_info
from host.model.snapshot import ActorSnapshot
from host.model.status import ActorStatus
from host.wire.frames.bodies import decode_http_error
from host.wire.frames.encoding import Encoding

__all__ = ["decode_answer", "decode_snapshot", "decode_status", "error_of", "unreachable"]

T = TypeVar("T")

RAY_HEADER = "x-rivet-ray-id"
# It is shown in a terminal: nothing but what a host puts there.
_RAY = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


class _Error(Struct, frozen=True):
    group: str
    code: str
    message: str
    metadata: Raw = Raw()


def decode_answer(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DormiceError("client", "bad_answer", f"the answer is not what a host sends: {error}") from error


def error_of(status: int, body: bytes, headers: Mapping[str, str], encoding: Encoding = "json") -> DormiceError:
    """The exception for an answer that is no success, with its ray id; the names of `headers` are in any case. The body
    is in `encoding` unless its content type says JSON."""
    if "application/json" in headers.get("content-type", ""):
        encoding = "json"
    error = _error_of(status, body, headers.get("retry-after"), encoding)
    ray = headers.get(RAY_HEADER, "")
    error.ray = ray if _RAY.match(ray) else ""
    return error


def _error_of(status: int, body: bytes, retry_after: str | None, encoding: Encoding) -> DormiceError:
    try:
        told, _ = decode_http_error(encoding, body)
    except DormiceError:
        return DormiceError("client", "bad_answer", f"status {status}, and not from a host by its body")
    after = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    return error_from_info(replace(told, retryable=status == 503, retry_after=after))


def _info(told: _Error) -> ErrorInfo:
    metadata = bytes(told.metadata)
    return ErrorInfo(told.group, told.code, told.message, metadata=metadata if metadata not in (b"", b"null") else None)


def decode_snapshot(body: bytes) -> ActorSnapshot:
    """Its `last_error` travels as errors do, with metadata as JSON; everything else is the record as it is."""
    fields, error = _split_error(body)
    snapshot = decode_answer(fields, ActorSnapshot)
    return snapshot if error is None else replace(snapshot, last_error=error)


def decode_status(body: bytes) -> ActorStatus:
    """In the same way."""
    fields, error = _split_error(body)
    status = decode_answer(fields, ActorStatus)
    return status if error is None else replace(status, last_error=error)


def _split_error(body: bytes) -> tuple[bytes, ErrorInfo | None]:
    fields = decode_answer(body, dict[str, Raw])
    told = bytes(fields.get("last_error", Raw(b"null")))
    fields["last_error"] = Raw(b"null")
    return msgspec.json.encode(fields), None if told == b"null" else _info(decode_answer(told, _Error))


def unreachable(endpoint: str, reason: object) -> DormiceError:
    return UnavailableError(
        "client", "unreachable", f"no host answers at {endpoint} ({reason}); start one with `dormice serve`"
    )
