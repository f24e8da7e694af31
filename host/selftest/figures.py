"""What is measured while the corpus runs, and what one case or the whole of it came to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Result", "Summary", "p99"]


def p99(seconds: Sequence[float]) -> float | None:
    """The 99th percentile; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


@dataclass(frozen=True, slots=True)
class Result:
    """Times in seconds, of the neighbour's calls before the case and while it ran."""

    name: str
    attacks: str
    how: str
    must: str
    outcome: str
    contained: bool
    seconds: float
    before: float | None
    during: float | None
    counted: tuple[str, ...] = ()
    rss: int | None = None


@dataclass(slots=True)
class Summary:
    results: list[Result] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    answers: int = 0
    wrong_answers: list[str] = field(default_factory=list)
    rss_start: int | None = None
    rss_end: int | None = None
    trouble: list[str] = field(default_factory=list)
    """What is wrong with the host as a whole, besides single cases."""

    @property
    def contained(self) -> bool:
        return not self.trouble and not self.wrong_answers and all(result.contained for result in self.results)

    @property
    def ratio(self) -> float | None:
        """The neighbour's p99 while cases ran, over that before them."""
        before, during = p99(self.before), p99(self.during)
        return during / before if before and during else None
