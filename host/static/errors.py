"""What a handler of a static actor raises to be understood by its caller, and what a call of its own raises."""

from __future__ import annotations

from typing import Any

__all__ = ["CallFailed", "UserError"]


class UserError(Exception):
    """Reaches the caller as it is: group `user`, this code (default `user_error`), this message, `metadata` (any
    Value). Whatever else a handler raises is logged and masked as `internal/internal_error`."""

    def __init__(self, message: str, *, code: str = "user_error", metadata: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.metadata = metadata


class CallFailed(Exception):
    """A call to another actor, or to the outside, that did not succeed: `group` and `code` say why, as they would to
    any caller. What the other actor raised as a `UserError` is raised as one instead."""

    def __init__(self, group: str, code: str, message: str, metadata: Any = None) -> None:
        super().__init__(f"{group}/{code}: {message}")
        self.group = group
        self.code = code
        self.message = message
        self.metadata = metadata
