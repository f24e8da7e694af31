"""The same node without its ends as for the actors."""

from __future__ import annotations

from tests.actor.conftest import h, shelf

__all__ = ["h", "shelf"]
