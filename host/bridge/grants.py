"""Which host calls a module may make: those whose capability its manifest lists, and those that every guest has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host.bridge.host_calls import HOST_CALLS, TurnContext
from host.model.definitions import CAPABILITIES, Manifest

__all__ = ["CALL_NAMES", "granted_calls"]

CALL_NAMES: frozenset[str] = frozenset(row.name for row in HOST_CALLS)


def granted_calls(manifest: Manifest) -> dict[type, Callable[[TurnContext, Any], Any]]:
    """The handlers of what is granted, by the Struct of the call. A capability that this host does not know, or that is
    not listed, grants nothing."""
    granted = CAPABILITIES.intersection(manifest.capabilities)
    return {row.struct: row.run for row in HOST_CALLS if row.capability is None or row.capability in granted}
