"""How a static actor reaches its capabilities: the same table of host calls as a guest, without envelopes."""

from __future__ import annotations

from typing import Any, Protocol

from host.bridge.envelopes import Call

__all__ = ["Caller"]


class Caller(Protocol):
    def __call__(self, call: Call) -> Any:
        """The answer to a host call; raises `CallerError` with what a guest would be answered."""
        ...
