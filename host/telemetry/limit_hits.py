"""The one counter of limits, `dormice_limits_total{reason="<limit>"}`, bumped where a refusal or kill becomes visible.

An error that a limit caused names it in its metadata. What a guest raised does not count, whatever it says.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from host.model.errors import DormiceError, ErrorInfo
from host.model.limits import LIMITS
from host.model.ports import Metrics

__all__ = ["limit_of", "note_limit"]

_NAMES = frozenset(limit.name for limit in LIMITS)


class _Named(Struct):
    limit: str


_decode = msgspec.json.Decoder(_Named).decode


def limit_of(error: ErrorInfo | DormiceError) -> str | None:
    """The limit that caused the error, or None."""
    if error.metadata is None or error.group == "user":
        return None
    try:
        name = _decode(error.metadata).limit
    except msgspec.DecodeError:
        return None
    return name if name in _NAMES else None


def note_limit(metrics: Metrics, error: ErrorInfo | DormiceError) -> None:
    name = limit_of(error)
    if name is not None:
        metrics.count("limits", name)
