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
            begin = _instant(ms)
            found = self._plain_next(begin) or next(self._ascending(begin), None)
        except (OverflowError, ValueError):
            return None
        return None if found is None else _ms(found)

    def all_after(self, ms: int) -> Iterator[int]:
        """Ascending."""
        try:
            for found in self._ascending(_instant(ms)):
                yield _ms(found)
        except (OverflowError, ValueError):
            return

    def _plain_next(self, begin: datetime) -> datetime | None:
        """The answer if the clocks are not changed near it or near `begin`, for then local times come in the order of
        instants; else None."""
        offset = self._offset(begin)
        naive = next(CronSim(self._text, _wall(begin, offset)), None)
        if naive is None:
            return None
        found = naive.replace(tzinfo=UTC) - offset
        near = (begin - WINDOW, begin + WINDOW, found - WINDOW, found)
        return found if all(self._offset(instant) == offset for instant in near) else None

    def _ascending(self, begin: datetime) -> Iterator[datetime]:
        """Local times in their order, sorted into the order of instants: the two differ by no more than `WINDOW`."""
        waiting: set[datetime] = set()
        for naive in CronSim(self._text, _wall(begin, self._offset(begin)) - WINDOW):
            for instant in sorted(waiting):
                if _wall(instant, self._offset(instant)) + WINDOW >= naive:
                    break
                waiting.remove(instant)
                yield instant
            waiting.update(instant for instant in self._instants(naive) if instant > begin)
        yield from sorted(waiting)

    def _instants(self, naive: datetime) -> list[datetime]:
        """When it is that local time: once, never, or twice; by the rules above."""
        first = naive.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        second = naive.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        if first == second:
            return [first]
        if _wall(first, self._offset(first)) == naive:
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


def _wall(instant: datetime, offset: timedelta) -> datetime:
    return (instant + offset).replace(tzinfo=None)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000
