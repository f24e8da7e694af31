"""Errors by whose fault they are; each has a stable group and code, a clean message, and says whether to try again.

* `CallerError`: the request was wrong. Say what is wrong, which limit it broke and what to do.
* `TenantError`: the tenant's code or module was wrong (a trap, a throw, a module that is refused).
* `UnavailableError`: nobody's fault in the request; try again, perhaps later.
* `InternalError`: ours. Clients see a masked message and a ray id; the detail is in the log.

`HTTP_STATUS` is the one table from codes to statuses. Text writes `group/code`; a close reason is `group.code#ray`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "CallerError",
    "DormiceError",
    "ErrorInfo",
    "GuestFault",
    "InternalError",
    "TenantError",
    "UnavailableError",
    "counted_error",
    "error_from_info",
    "limit_error",
    "no_such_actor",
    "refusal",
    "status_of",
]

MASKED_MESSAGE = "An internal error occurred"

HTTP_STATUS: dict[str, int] = {
    "module/not_wasm": 400,
    "module/malformed": 400,
    "module/bad_export": 400,
    "module/bad_import": 400,
    "module/bad_manifest": 400,
    "module/js_syntax": 400,
    "module/js_threw": 400,
    "module/no_actor": 400,
    "module/hash_mismatch": 400,
    "module/not_in_turn": 500,
    "module/too_large": 413,
    "module/unsupported_type": 415,
    "module/not_found": 404,
    "module/fetch_refused": 400,
    "module/fetch_failed": 502,
    "module/fetch_timeout": 504,
    "module/compile_budget": 422,
    "module/compile_failed": 422,
    "definition/not_found": 404,
    "definition/invalid_name": 400,
    "definition/unknown_name": 400,
    "definition/invalid_options": 400,
    "definition/in_use": 409,
    "definition/deploy_failed": 409,
    "definition/no_older_version": 409,
    "actor/not_found": 404,
    "actor/action_not_found": 404,
    "actor/validation_error": 400,
    "actor/duplicate_key": 400,
    "actor/invalid_request": 400,
    "actor/key_too_large": 400,
    "actor/empty_name": 400,
    "actor/input_too_large": 400,
    "actor/method_not_allowed": 405,
    "actor/call_too_deep": 508,
    "actor/call_timed_out": 504,
    "actor/action_timed_out": 408,
    "actor/aborted": 500,
    "actor/starting": 503,
    "actor/stopping": 503,
    "actor/restarting": 503,
    "actor/start_failed": 503,
    "actor/load_failed": 503,
    "actor/destroyed": 404,
    "actor/restarted": 503,
    "actor/poison_message": 500,
    "fetch/refused": 403,
    "fetch/failed": 502,
    "fetch/timeout": 504,
    "fetch/too_large": 413,
    "message/incoming_too_long": 400,
    "message/outgoing_too_long": 400,
    "storage/unavailable": 503,
    "node/full": 503,
    "node/compiler_down": 503,
    "node/draining": 503,
    "limit/exceeded": 429,
    "auth/forbidden": 403,
    "auth/unauthenticated": 401,
    "session/not_found": 404,
    "request/invalid": 400,
    "request/too_large": 413,
    "request/not_found": 404,
    "request/method_not_allowed": 405,
    "guard/query_duplicate_param": 400,
    "guard/query_invalid_param": 400,
    "guard/query_missing_param": 400,
}


class ErrorInfo(Struct, frozen=True, omit_defaults=True):
    """An error as plain data: what crosses layers, is stored, and is shown. `metadata` is a Value (raw JSON text)."""

    group: str
    code: str
    message: str
    retryable: bool = False
    metadata: bytes | None = None
    retry_after: float | None = None

    @property
    def name(self) -> str:
        return f"{self.group}/{self.code}"


class DormiceError(Exception):
    """The base of every error that this package raises on purpose."""

    fault: ClassVar[str] = "internal"

    def __init__(
        self,
        group: str,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        metadata: bytes | None = None,
        retry_after: float | None = None,
        detail: str | None = None,
    ) -> None:
        """`metadata` is raw JSON and goes to clients; `detail` is for the log only; `retry_after` is in seconds."""
        super().__init__(f"{group}/{code}: {message}")
        self.group = group
        self.code = code
        self.message = message
        self.retryable = retryable
        self.metadata = metadata
        self.retry_after = retry_after
        self.detail = detail
        # The name of the limit that caused it, if one did.
        self.limit: str | None = None
        # The status of the answer, where it is not that of the code.
        self.status: int | None = None
        # Its limit has been counted already, by whoever made it.
        self.counted = False
        # Of the answer in which the error came, for an error of another host: its log has the detail under it.
        self.ray = ""

    @property
    def name(self) -> str:
        return f"{self.group}/{self.code}"

    @property
    def info(self) -> ErrorInfo:
        return ErrorInfo(self.group, self.code, self.message, self.retryable, self.metadata, self.retry_after)


class CallerError(DormiceError):
    fault = "caller"


class TenantError(DormiceError):
    fault = "tenant"


class GuestFault(TenantError):
    """The isolate did what ends it: trap, deadline, memory, stack, budget, bad_pointer, bad_reply. After one it is
    never entered again. `detail` (a wasm or JS stack, an offending length) is for the log."""

    def __init__(self, code: str, message: str, *, detail: str | None = None, metadata: bytes | None = None) -> None:
        super().__init__("guest", code, message, metadata=metadata, detail=detail)


class UnavailableError(DormiceError):
    fault = "unavailable"

    def __init__(self, group: str, code: str, message: str, **more: Any) -> None:
        more.setdefault("retryable", True)
        super().__init__(group, code, message, **more)


class InternalError(DormiceError):
    """`detail` is logged with the ray id; clients see only the masked message."""

    fault = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__("internal", "internal_error", MASKED_MESSAGE, detail=detail)


def limit_error(limit: str, used: int, allowed: int, advice: str, *, name: str = "limit/exceeded") -> CallerError:
    """An error that a limit causes: it names the limit, what was used and what is allowed, and what to do."""
    group, code = name.split("/", 1)
    metadata = b'{"limit":"%s","used":%d,"allowed":%d}' % (limit.encode(), used, allowed)
    error = CallerError(group, code, f"{limit}: {used} used, {allowed} allowed; {advice}", metadata=metadata)
    error.limit = limit
    return error


def refusal(info: ErrorInfo) -> DormiceError:
    """What an auth hook refused a client with: 403, or the `status` from 400 to 499 in the metadata of a guest's error.
    Anything else that went wrong in the hook has the status of its code."""
    error = counted_error(info)
    if info.group == "user":
        try:
            error.status = msgspec.json.decode(info.metadata or b"{}", type=_Refusal).status
        except msgspec.DecodeError:
            error.status = 403  # metadata of another shape says nothing about it
    return error


class _Refusal(Struct):
    status: Annotated[int, Meta(ge=400, le=499)] = 403


def no_such_actor(actor_id: str) -> CallerError:
    """The one way to say it: nobody can tell what is another tenant's from what is not there."""
    return CallerError("actor", "not_found", f"there is no actor {actor_id}; it never was, or it was destroyed")


_UNAVAILABLE = {
    "storage/unavailable",
    "node/full",
    "node/draining",
    "node/compiler_down",
    "actor/starting",
    "actor/stopping",
}


def error_from_info(info: ErrorInfo) -> DormiceError:
    """The exception for an error that travelled as data."""
    kind: type[DormiceError] = DormiceError
    if info.group in ("guest", "user", "module"):
        kind = TenantError
    elif info.name in _UNAVAILABLE:
        kind = UnavailableError
    elif info.group != "internal":
        kind = CallerError
    return kind(
        info.group,
        info.code,
        info.message,
        retryable=info.retryable,
        metadata=info.metadata,
        retry_after=info.retry_after,
    )


def counted_error(info: ErrorInfo) -> DormiceError:
    """The same, for one that was logged and counted where it was made."""
    error = error_from_info(info)
    error.counted = True
    return error


def status_of(group: str, code: str) -> int:
    """The HTTP status of a code: `user/*` is 400, an unknown code is 500."""
    if group == "user":
        return 400
    return HTTP_STATUS.get(f"{group}/{code}", 500)
