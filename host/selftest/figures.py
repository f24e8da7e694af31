"""What is measured while the corpus runs, and what one case or the whole of it came to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

__all__ = ["TARGET_RATIO", "Result", "Summary", "median_of", "p99"]

# What a neighbour's p99 may come to while somebody is hostile, as a multiple of what it is without.
TARGET_RATIO = 3.0


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
    measured: int = 1
    """How many times it ran; the times are those of the run with the median ratio."""

    @property
    def ratio(self) -> float | None:
        return self.during / self.before if self.before and self.during else None

    @property
    def slow(self) -> bool:
        """The neighbour felt it more than it may."""
        return self.ratio is not None and self.ratio > TARGET_RATIO


def median_of(runs: Sequence[Result]) -> Result:
    """What several runs of one case came to: the times of the one with the median ratio, and not contained if any was
    not."""
    ranked = sorted(runs, key=lambda run: run.ratio or 0.0)
    middle = replace(ranked[len(ranked) // 2], measured=len(runs))
    escaped = next((run for run in runs if not run.contained), None)
    return middle if escaped is None else replace(middle, outcome=escaped.outcome, contained=False)


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
    def slow(self) -> list[Result]:
        """Cases that a neighbour feels more than it may, the worst first."""
        return sorted((result for result in self.results if result.slow), key=lambda one: -(one.ratio or 0.0))

    @property
    def ratio(self) -> float | None:
        """The neighbour's p99 while cases ran, over that before them."""
        before, during = p99(self.before), p99(self.during)
        return during / before if before and during else None
