"""The one exception of the self-test: something was not contained."""

from __future__ import annotations

__all__ = ["Escaped", "check"]


class Escaped(Exception):
    """What was seen instead of what must happen."""


def check(seen: bool, otherwise: str) -> None:
    if not seen:
        raise Escaped(otherwise[:600])
