"""What a handler of a static actor raises to be understood by its caller."""

from __future__ import annotations

from typing import Any

__all__ = ["UserError"]


class UserError(Exception):
    """Reaches the caller as it is: group `user`, this code (default `user_error`), this message, `metadata` (any
    Value). Whatever else a handler raises is logged and masked as `internal/internal_error`."""

    def __init__(self, message: str, *, code: str = "user_error", metadata: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.metadata = metadata
