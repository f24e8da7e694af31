"""The checker: is what an outside client saw, and what is on disk in the end, as docs/reliability.md promises?

A history is what the client sent and was told, and the actor's log as it was read at the end. The guest appends a row
to its log for each message, action and alarm in the turn that handles it, under a counter that never goes back, so a
message that took effect twice has two rows and the order of the rows is the order of effects.

It knows nothing of the host: only sent, told and found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Broken", "Kind", "Line", "Once", "Row", "broken", "counts"]

Kind = Literal["lost", "doubled", "reordered", "invented", "index_back"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the actor's log: a message (`source` is the connection's label, `index` its message index) or a thing
    that happens once (`source` "once", `text` its name, `index` 0)."""

    source: str
    index: int
    text: str


@dataclass(slots=True)
class Line:
    """One connection. `sent` are the texts, message 1 first; `told` the indexes of the answers in the order in which
    they came; `marks` the watermarks that the host reported, in the order in which it did."""

    sent: list[str] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Once:
    """Actions and alarms by name. `told` are those that the host answered: what of an action, or the setting of an
    alarm whose time is over."""

    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Broken:
    kind: Kind
    what: str


def broken(lines: dict[str, Line], once: Once, rows: Sequence[Row]) -> list[Broken]:
    """Everything that breaks the promise; empty if it held."""
    found = [Broken("invented", f"a row of nobody: {row}") for row in rows if row.source not in (*lines, "once")]
    by_source: dict[str, list[Row]] = {label: [] for label in (*lines, "once")}
    for row in rows:
        if row.source in by_source:
            by_source[row.source].append(row)
    for label, line in lines.items():
        found += _line(label, line, by_source[label])
    return [*found, *_once(once, by_source["once"])]


def counts(found: Sequence[Broken]) -> dict[Kind, int]:
    sums: dict[Kind, int] = {"lost": 0, "doubled": 0, "reordered": 0, "invented": 0, "index_back": 0}
    for one in found:
        sums[one.kind] += 1
    return sums


def _line(label: str, line: Line, rows: Sequence[Row]) -> Iterator[Broken]:
    took: set[int] = set()
    last = 0
    for row in rows:
        name = f"message {row.index} of {label}"
        if not 1 <= row.index <= len(line.sent) or line.sent[row.index - 1] != row.text:
            yield Broken("invented", f"{name} was never sent as {row.text!r}")
        if row.index in took:
            yield Broken("doubled", f"{name} took effect twice")
        elif row.index < last:
            yield Broken("reordered", f"{name} took effect after message {last}")
        took.add(row.index)
        last = max(last, row.index)
    missing = (index for index in range(1, last) if index not in took)
    yield from (Broken("lost", f"message {index} of {label} was passed over by message {last}") for index in missing)
    yield from _told(label, line, took)
    highest = 0
    for mark in line.marks:
        if mark < highest:
            yield Broken("index_back", f"the index of {label} went back from {highest} to {mark}")
        highest = max(highest, mark)
    for index in range(last + 1, highest + 1):
        yield Broken("lost", f"message {index} of {label} is below the watermark {highest} and has no row")


def _told(label: str, line: Line, took: set[int]) -> Iterator[Broken]:
    seen: set[int] = set()
    last = 0
    for index in line.told:
        name = f"the answer to message {index} of {label}"
        if index in seen:
            yield Broken("doubled", f"{name} came twice")
        elif index < last:
            yield Broken("reordered", f"{name} came after that to message {last}")
        elif index not in took:
            yield Broken("lost", f"message {index} of {label} was acknowledged and has no row")
        seen.add(index)
        last = max(last, index)


def _once(once: Once, rows: Sequence[Row]) -> Iterator[Broken]:
    asked = set(once.asked)
    times: dict[str, int] = {}
    for row in rows:
        times[row.text] = times.get(row.text, 0) + 1
    for name, n in times.items():
        if name not in asked:
            yield Broken("invented", f"{name} was never asked for")
        if n > 1:
            yield Broken("doubled", f"{name} took effect {n} times")
    for name in once.told:
        if name not in times:
            yield Broken("lost", f"{name} was answered and has no row")
