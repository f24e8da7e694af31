"""Which cases of the corpus are meant."""

from __future__ import annotations

from host.model.errors import CallerError
from host.selftest.case import Case
from host.selftest.corpus import CORPUS

__all__ = ["select"]


def select(only: str | None) -> tuple[Case, ...]:
    """All, or those whose name or target contains the text."""
    if only is None:
        return CORPUS
    found = tuple(case for case in CORPUS if only in case.name or only in case.attacks or only in case.limits)
    if not found:
        raise CallerError("request", "invalid", f"no hostile case contains {only!r}; --list shows them")
    return found
