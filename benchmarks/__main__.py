"""Prints the table: `python -m benchmarks [--runs N] [--only TEXT]`. Medians of several runs, each on a fresh host."""

from __future__ import annotations

import argparse
import os
import platform
import statistics

from benchmarks.measures import MEASURES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each measure (default 5)")
    parser.add_argument("--only", default="", help="only measures whose name contains this")
    chosen = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {chosen.runs} runs each")
    print(f"{'measure':<52} {'median':>10} {'min':>10} {'max':>10}  {'goal':>16}")
    for measure in MEASURES:
        if chosen.only not in measure.name:
            continue
        if (reason := measure.missing()) is not None:
            print(f"{measure.name:<52} skipped: {reason}", flush=True)
            continue
        found = sorted(measure.run() for _ in range(chosen.runs))
        median = statistics.median(found)
        met = median >= measure.goal if measure.least else median <= measure.goal
        goal = f"{'>=' if measure.least else '<='} {measure.goal:g} {'met' if met else 'missed'}"
        print(
            f"{measure.name:<52} {median:>10.2f} {found[0]:>10.2f} {found[-1]:>10.2f}  {goal:>16} {measure.unit}",
            flush=True,
        )


if __name__ == "__main__":
    main()
