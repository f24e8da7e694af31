"""How the life of an instance ended, and what a commit that did not happen says about it."""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

from host.model.errors import ErrorInfo

__all__ = ["Ended", "Lost"]


class Ended(Enum):
    ASLEEP = auto()
    FAULT = auto()
    START_FAILED = auto()
    FENCED = auto()
    UNAVAILABLE = auto()
    DESTROYED = auto()
    # It was to stop before its start had begun.
    CALLED_OFF = auto()


class Lost(Struct, frozen=True):
    """A commit did not happen, and so the instance is over. `error` is what those who wait are told, if it is known."""

    ended: Ended
    error: ErrorInfo | None = None
