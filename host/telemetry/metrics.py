"""Counters, gauges and histograms of one process, in memory, rendered as Prometheus text.

It serves production and tests alike: what `/metrics` shows is what a test reads. Recording is a dict update, cheap
enough for every message. It belongs to the event loop: executor threads hand their numbers back with their results.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

__all__ = ["BUCKETS", "MetricsRegistry"]

# Seconds. A turn takes tens of microseconds and a fsync some hundred; a start may take its whole 15 s.
BUCKETS: tuple[float, ...] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
)  # fmt: skip

# A reason is one of a few codes. Should one ever be derived from what strangers send, memory stays bounded.
MAX_REASONS = 256
OTHER = "other"

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class _Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0


class MetricsRegistry:
    """Implements `host.model.ports.Metrics`. Names are without the `dormice_` prefix and the `_total` suffix."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[str, int]] = {}
        self._gauges: dict[str, float] = {}
        self._gauge_calls: dict[str, Callable[[], float]] = {}
        self._histograms: dict[str, _Histogram] = {}

    def count(self, name: str, reason: str = "", n: int = 1) -> None:
        """D10: every refusal, close, dead letter and eviction comes by here, with its reason."""
        reasons = self._counters.get(name)
        if reasons is None:
            reasons = self._counters[_checked(name)] = {}
        if reason not in reasons and len(reasons) >= MAX_REASONS:
            reason = OTHER
        reasons[reason] = reasons.get(reason, 0) + n

    def gauge(self, name: str, value: float) -> None:
        if name not in self._gauges:
            _checked(name)
        self._gauges[name] = value

    def gauge_from(self, name: str, read: Callable[[], float]) -> None:
        """A gauge that is asked when metrics are rendered; a later call for the same name replaces the former."""
        self._gauge_calls[_checked(name)] = read

    def observe(self, name: str, seconds: float) -> None:
        histogram = self._histograms.get(name)
        if histogram is None:
            histogram = self._histograms[_checked(name)] = _Histogram()
        histogram.counts[bisect_left(BUCKETS, seconds)] += 1
        histogram.total += seconds

    def counter(self, name: str, reason: str | None = None) -> int:
        """The count for a reason, or of all reasons together; 0 if nothing was counted."""
        reasons = self._counters.get(name, {})
        return sum(reasons.values()) if reason is None else reasons.get(reason, 0)

    def gauge_value(self, name: str) -> float | None:
        read = self._gauge_calls.get(name)
        return read() if read is not None else self._gauges.get(name)

    def observations(self, name: str) -> int:
        histogram = self._histograms.get(name)
        return 0 if histogram is None else sum(histogram.counts)

    def render(self) -> str:
        """The Prometheus text exposition format, version 0.0.4, sorted by name."""
        lines: list[str] = []
        for name, reasons in sorted(self._counters.items()):
            metric = f"dormice_{name}_total"
            lines.append(f"# TYPE {metric} counter")
            for reason, value in sorted(reasons.items()):
                label = f'{{reason="{_escaped(reason)}"}}' if reason else ""
                lines.append(f"{metric}{label} {value}")
        for name in sorted(self._gauges.keys() | self._gauge_calls.keys()):
            lines.append(f"# TYPE dormice_{name} gauge")
            lines.append(f"dormice_{name} {_number(self.gauge_value(name) or 0)}")
        for name, histogram in sorted(self._histograms.items()):
            metric = f"dormice_{name}_seconds"
            lines.append(f"# TYPE {metric} histogram")
            running = list(accumulate(histogram.counts))
            for bound, value in zip(BUCKETS, running, strict=False):
                lines.append(f'{metric}_bucket{{le="{_number(bound)}"}} {value}')
            lines.append(f'{metric}_bucket{{le="+Inf"}} {running[-1]}')
            lines.append(f"{metric}_sum {_number(histogram.total)}")
            lines.append(f"{metric}_count {running[-1]}")
        return "\n".join(lines) + "\n" if lines else ""


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"not a metric name: {name!r}")
    return name


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
