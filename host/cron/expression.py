"""Cron expressions of five fields, in a time zone.

A library reads the expression and finds the local times that it names, on a calendar without a time zone. What a change
of the clocks makes of a local time is decided here, by two rules (they are Debian's):

* An expression that names times of day, for neither its minute nor its hour begins with `*`, runs once for each: at
  the end of the gap if the clocks are put forward past it, and in the first of two passes if they are put back.
* One whose minute or hour begins with `*` follows the clock as it goes: what a gap leaves out does not run, and what
  comes twice runs twice.

Both hold for shifts of any length. Nothing here knows what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from host.cron.zones import zone_named
from host.model.errors import CallerError

__all__ = ["Expression", "parse"]

MAX_LENGTH = 128
FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last day of the month), LW (its last weekday)",
    "month": "1 to 12, JAN to DEC",
    "day-of-week": "0 to 7, SUN to SAT (0 and 7 are Sunday), 5L (the last Friday of the month), 5#2 (its second)",
}
# More than any clock is put back at once; what is put forward, of which there were whole days, needs no such room.
WINDOW = timedelta(hours=4)
MINUTE = timedelta(minutes=1)
ANY_TIME = datetime(2000, 1, 1)


class Expression:
    """One that is right and fires. Times are in ms since the epoch."""

    __slots__ = ("_at_times", "_text", "_zone")

    def __init__(self, text: str, zone: ZoneInfo) -> None:
        self._text = text
        self._zone = zone
        minute, hour = text.split()[:2]
        self._at_times = not minute.startswith("*") and not hour.startswith("*")

    def next_after(self, ms: int) -> int | None:
        """None if there is none within fifty years, or before the end of the calendar."""
        try:
            found = self._next(_instant(ms))
        except (OverflowError, ValueError):
            return None
        return None if found is None else _ms(found)

    def all_after(self, ms: int) -> Iterator[int]:
        """Ascending."""
        try:
            for found in self._ascending(_instant(ms), WINDOW):
                yield _ms(found)
        except (OverflowError, ValueError):
            return

    def _next(self, begin: datetime) -> datetime | None:
        """Far from any change local times come in the order of instants; near one they have to be looked at more
        widely."""
        window = timedelta()
        while True:
            found = next(self._ascending(begin, window), None)
            needed = max(self._change_near(begin), timedelta() if found is None else self._change_near(found))
            if needed <= window:
                return found
            window = needed

    def _ascending(self, begin: datetime, window: timedelta) -> Iterator[datetime]:
        """Local times in their order, brought into the order of instants: the two differ by no more than `window`."""
        waiting: list[datetime] = []
        last = begin
        for naive in CronSim(self._text, self._wall(begin) - window):
            for instant in self._instants(naive):
                if instant > begin:
                    heappush(waiting, instant)
            while waiting and self._wall(waiting[0]) + window <= naive:
                instant = heappop(waiting)
                if instant > last:
                    last = instant
                    yield instant
        yield from (instant for instant in sorted(set(waiting)) if instant > last)

    def _change_near(self, instant: datetime) -> timedelta:
        """By how much the clocks are changed within `WINDOW` of it."""
        offsets = [self._offset(instant + by) for by in (-WINDOW, timedelta(), WINDOW)]
        return max(offsets) - min(offsets)

    def _wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self._zone).replace(tzinfo=None)

    def _instants(self, naive: datetime) -> list[datetime]:
        """When it is that local time: once, never, or twice; by the rules above."""
        first = naive.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        second = naive.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        if first == second:
            return [first]
        if self._wall(first) == naive:
            return [first] if self._at_times else [first, second]
        # In a gap, which lies between the two readings of it.
        return [self._end_of_gap(second, first)] if self._at_times else []

    def _end_of_gap(self, before: datetime, after: datetime) -> datetime:
        """The first minute with the new offset."""
        new = self._offset(after)
        steps = range((after - before) // MINUTE)
        low, high = 0, len(steps)
        while low < high:
            middle = (low + high) // 2
            if self._offset(before + middle * MINUTE) == new:
                high = middle
            else:
                low = middle + 1
        return before + low * MINUTE

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset


@lru_cache(maxsize=1_024)
def parse(text: str, time_zone: str) -> Expression:
    """Raises `request/invalid`, and says which field is wrong and what it may be, for what is no expression, for a time
    zone that there is not, and for an expression that would never fire."""
    zone = zone_named(time_zone)
    if len(text) > MAX_LENGTH or not text.isascii():
        raise _invalid(f"a cron expression is ASCII text of at most {MAX_LENGTH} characters")
    parts = text.upper().split()
    if len(parts) != len(FIELDS):
        raise _invalid(f"a cron expression has five fields ({', '.join(FIELDS)}), not {len(parts)}: {text!r}")
    for place, (name, allowed) in enumerate(FIELDS.items()):
        alone = ["0", "0", "*", "*", "*"]
        alone[place] = parts[place]
        if not _reads(alone):
            raise _invalid(
                f"{name} {parts[place]!r} is wrong; allowed: *, {allowed}; ranges a-b that go up, lists a,b, steps /n"
            )
    days, weekdays = parts[2], parts[4]
    # Both would have to hold, which may be never: finding that out takes a look at every day of fifty years.
    last = "#" in weekdays or "L" in weekdays
    if (days.startswith("*/") and last) or (weekdays.startswith("*/") and "L" in days):
        raise _invalid(f"day-of-month {days!r} and day-of-week {weekdays!r} cannot be combined: list the days")
    plain = " ".join(parts)
    if not _reads(parts) or next(CronSim(plain, ANY_TIME), None) is None:
        raise _invalid(f"{text!r} never fires: no month {parts[3]!r} has a day {days!r}")
    return Expression(plain, zone)


def _reads(parts: list[str]) -> bool:
    try:
        CronSim(" ".join(parts), ANY_TIME)
    except CronSimError:
        return False
    return True


def _invalid(message: str) -> CallerError:
    return CallerError("request", "invalid", message)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1_000, UTC)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000
