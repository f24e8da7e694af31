"""When a cron runs next, and what it missed. Pure: every time is given. Times in ms since the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from msgspec import Struct

from host.cron.expression import parse
from host.model.records import Repeat

__all__ = ["MOST_COUNTED", "Missed", "missed", "next_after"]

# What was missed is counted up to here: a host that was down for a year must not count for minutes.
MOST_COUNTED = 1_000
END_OF_TIME = 2**53 - 1


class Missed(Struct, frozen=True):
    """`number` times in a row, from `first` to `last`, that were not run; `last` is the last that was counted."""

    first: int
    last: int
    number: int


def next_after(repeat: Repeat, ms: int) -> int | None:
    """The earliest time later than `ms`, or None if there is none any more. That of an interval is anchor + n·interval,
    however late anything ran."""
    if repeat.kind == "cron":
        return parse(repeat.expression, repeat.time_zone).next_after(ms)
    found = repeat.anchor + max(1, (ms - repeat.anchor) // repeat.interval + 1) * repeat.interval
    return found if found <= END_OF_TIME else None


def missed(repeat: Repeat, after: int, until: int) -> Missed | None:
    """Of the times later than `after` and up to `until`."""
    if repeat.kind == "every":
        first = next_after(repeat, after)
        if first is None or first > until:
            return None
        number = min((until - first) // repeat.interval + 1, MOST_COUNTED)
        return Missed(first, first + (number - 1) * repeat.interval, number)
    found: Missed | None = None
    for number, time in zip(count(1), _times(repeat, after), strict=False):
        if time > until or number > MOST_COUNTED:
            break
        found = Missed(time if found is None else found.first, time, number)
    return found


def _times(repeat: Repeat, after: int) -> Iterator[int]:
    return parse(repeat.expression, repeat.time_zone).all_after(after)
