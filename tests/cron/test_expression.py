"""Cron expressions: what they mean, above all where clocks are changed, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

import pytest

from host.cron.expression import parse
from host.cron.zones import zone_named
from host.model.errors import CallerError

DAY = 86_400_000
MINUTE = timedelta(minutes=1)


def ms(zone: str, *at: int, fold: int = 0) -> int:
    return int(datetime(*at, tzinfo=zone_named(zone), fold=fold).timestamp()) * 1_000  # type: ignore[arg-type, misc]


def shown(zone: str, at: int) -> str:
    return datetime.fromtimestamp(at // 1_000, zone_named(zone)).strftime("%Y-%m-%d %H:%M %z")


def times(text: str, zone: str, begin: int, end: int) -> list[str]:
    """Later than `begin`, up to `end`: each found from the one before it."""
    expression, found = parse(text, zone), list[int]()
    while (at := expression.next_after(found[-1] if found else begin)) is not None and at <= end:
        found.append(at)
    return [shown(zone, at) for at in found]


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("* * * * *", "2026-01-01 00:01"),
        ("*/15 * * * *", "2026-01-01 00:15"),
        ("5,10 * * * *", "2026-01-01 00:05"),
        ("0 9-17/4 * * *", "2026-01-01 09:00"),
        ("0 0 1 * *", "2026-02-01 00:00"),
        ("0 0 L * *", "2026-01-31 00:00"),
        ("0 0 LW 2 *", "2026-02-27 00:00"),
        ("30 6 * * mon-fri", "2026-01-01 06:30"),
        ("30 6 * * sat,0", "2026-01-03 06:30"),
        ("30 6 * * 7", "2026-01-04 06:30"),
        ("0 0 * * 5L", "2026-01-30 00:00"),
        ("0 0 * * 1#2", "2026-01-12 00:00"),
        ("0 0 1 jan,jul *", "2026-07-01 00:00"),
        ("0 12 13 * 5", "2026-01-02 12:00"),  # day-of-month or day-of-week, if neither begins with *
        ("0 12 */2 * 5", "2026-01-09 12:00"),  # and both, if one does
        ("59 23 31 12 *", "2026-12-31 23:59"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 0 29 2 */7", "2032-02-29 00:00"),
        ("  0\t0  1 1 * ", "2027-01-01 00:00"),
    ],
)
def test_the_first_time_after_the_beginning_of_2026(text: str, first: str) -> None:
    at = parse(text, "UTC").next_after(ms("UTC", 2026, 1, 1))
    assert at is not None
    assert shown("UTC", at) == f"{first} +0000"


def test_a_time_that_fits_is_not_later_than_itself() -> None:
    at = ms("UTC", 2026, 1, 1, 12, 0)
    expression = parse("0 12 * * *", "UTC")
    assert expression.next_after(at - 1) == at
    assert expression.next_after(at) == at + DAY
    assert expression.next_after(at + 59_999) == at + DAY


def test_leap_days_of_a_century_leave_out_2100() -> None:
    found = times("0 0 29 2 *", "UTC", ms("UTC", 2080, 1, 1), ms("UTC", 2110, 1, 1))
    assert [one[:4] for one in found] == ["2080", "2084", "2088", "2092", "2096", "2104", "2108"]


def test_there_is_no_time_after_the_end_of_the_calendar() -> None:
    assert parse("0 0 1 1 *", "UTC").next_after(ms("UTC", 9999, 6, 1)) is None
    assert parse("* * * * *", "Asia/Tokyo").next_after(2**53 - 1) is None
    assert parse("0 0 1 1 *", "Asia/Tokyo").next_after(ms("UTC", 9998, 6, 1)) == ms("Asia/Tokyo", 9999, 1, 1)
    assert list(parse("0 0 1 1 *", "Asia/Tokyo").all_after(ms("UTC", 9999, 6, 1))) == []


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("60 * * * *", "minute '60' is wrong; allowed: *, 0 to 59"),
        ("* 24 * * *", "hour '24' is wrong; allowed: *, 0 to 23"),
        ("* * 0 * *", "day-of-month '0' is wrong; allowed: *, 1 to 31"),
        ("* * 32 * *", "day-of-month '32' is wrong"),
        ("* * * 13 *", "month '13' is wrong; allowed: *, 1 to 12"),
        ("* * * mai *", "month 'MAI' is wrong"),
        ("* * * * 8", "day-of-week '8' is wrong; allowed: *, 0 to 7"),
        ("* * * * 1#6", "day-of-week '1#6' is wrong"),
        ("30-10 * * * *", "minute '30-10' is wrong"),
        ("*/0 * * * *", "minute '*/0' is wrong"),
        ("1,,2 * * * *", "minute '1,,2' is wrong"),
        ("-1 * * * *", "minute '-1' is wrong"),
        ("1/2/3 * * * *", "minute '1/2/3' is wrong"),
        ("? * * * *", "minute '?' is wrong"),
        ("L * * * *", "minute 'L' is wrong"),
        ("", "five fields"),
        ("* * * *", "five fields (minute, hour, day-of-month, month, day-of-week), not 4"),
        ("* * * * * *", "not 6"),
        ("@daily", "not 1"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        ("0 0 */20 * 1L", "cannot be combined"),
        ("0 0 LW * */7", "cannot be combined"),
        ("٣ * * * *", "ASCII"),
        ("1" * 129, "at most 128"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse(text, "UTC")
    assert caught.value.info.name == "request/invalid"
    assert says in caught.value.info.message


@pytest.mark.parametrize("zone", ["", "Berlin", "europe/berlin", "../UTC"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(CallerError, match="there is no time zone"):
        parse("* * * * *", zone)


# --- clocks are changed -----------------------------------------------------------------------------------------------


def test_times_of_day_in_a_gap_run_once_at_its_end() -> None:
    begin, end = ms("Europe/Berlin", 2026, 3, 28, 12, 0), ms("Europe/Berlin", 2026, 3, 30, 12, 0)
    assert times("30 2 * * *", "Europe/Berlin", begin, end) == ["2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"]
    assert times("15,45 2 * * *", "Europe/Berlin", begin, end) == [
        "2026-03-29 03:00 +0200",
        "2026-03-30 02:15 +0200",
        "2026-03-30 02:45 +0200",
    ]


def test_times_of_day_that_come_twice_run_in_the_first_pass() -> None:
    begin, end = ms("Europe/Berlin", 2026, 10, 24, 12, 0), ms("Europe/Berlin", 2026, 10, 26, 12, 0)
    assert times("30 2 * * *", "Europe/Berlin", begin, end) == ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]
    # Also for one who asks between the two passes, and in the second.
    between = ms("Europe/Berlin", 2026, 10, 25, 2, 10, fold=1)
    assert times("30 2 * * *", "Europe/Berlin", between, end) == ["2026-10-26 02:30 +0100"]


def test_what_follows_the_clock_leaves_the_gap_out_and_runs_in_both_passes() -> None:
    spring = times("*/30 * * * *", "America/New_York", ms("UTC", 2026, 3, 8, 6, 0), ms("UTC", 2026, 3, 8, 8, 0))
    assert [one[11:] for one in spring] == ["01:30 -0500", "03:00 -0400", "03:30 -0400", "04:00 -0400"]
    autumn = times("*/30 * * * *", "America/New_York", ms("UTC", 2026, 11, 1, 4, 30), ms("UTC", 2026, 11, 1, 7, 0))
    assert [one[11:] for one in autumn] == [
        "01:00 -0400",
        "01:30 -0400",
        "01:00 -0500",
        "01:30 -0500",
        "02:00 -0500",
    ]
    day = ms("Europe/Berlin", 2026, 3, 29), ms("Europe/Berlin", 2026, 3, 30)
    assert len(times("0 * * * *", "Europe/Berlin", *day)) == 23
    assert times("0 */2 * * *", "Europe/Berlin", day[0], day[0] + 6 * 3_600_000)[0][11:16] == "04:00"


def test_half_an_hour_on_lord_howe() -> None:
    zone = "Australia/Lord_Howe"
    spring = ms(zone, 2026, 10, 3, 12, 0), ms(zone, 2026, 10, 5, 12, 0)
    assert times("15 2 * * *", zone, *spring) == ["2026-10-04 02:30 +1100", "2026-10-05 02:15 +1100"]
    assert times("45 2 * * *", zone, *spring) == ["2026-10-04 02:45 +1100", "2026-10-05 02:45 +1100"]
    autumn = ms(zone, 2026, 4, 4, 12, 0), ms(zone, 2026, 4, 6, 12, 0)
    assert times("45 1 * * *", zone, *autumn) == ["2026-04-05 01:45 +1100", "2026-04-06 01:45 +1030"]
    assert [one[11:] for one in times("*/15 1 * * *", zone, autumn[0], ms(zone, 2026, 4, 5, 12, 0))] == [
        "01:00 +1100",
        "01:15 +1100",
        "01:30 +1100",
        "01:45 +1100",
        "01:30 +1030",
        "01:45 +1030",
    ]


def test_where_clocks_are_never_changed_every_day_is_alike() -> None:
    zone = "Asia/Kolkata"
    found = times("30 2 * * *", zone, ms(zone, 2026, 1, 1), ms(zone, 2028, 1, 1))
    assert len(found) == 730
    assert {one[11:] for one in found} == {"02:30 +0530"}


def test_a_day_that_an_island_left_out_runs_at_its_end() -> None:
    zone = "Pacific/Apia"
    begin, end = ms(zone, 2011, 12, 29, 0, 0), ms(zone, 2012, 1, 1, 0, 0)
    assert times("0 12 * * *", zone, begin, end) == [
        "2011-12-29 12:00 -1000",
        "2011-12-31 00:00 +1400",
        "2011-12-31 12:00 +1400",
    ]
    assert [one[8:16] for one in times("0 */12 * * *", zone, begin, end)] == [
        "29 12:00", "31 00:00", "31 12:00", "01 00:00",
    ]  # fmt: skip


# --- against the plainest reading of the rules -----------------------------------------------------------------------


def plainly(text: str, zone: str, begin: int, end: int) -> Iterator[int]:
    """Every minute is looked at; times of day are looked up, and moved on while there is no such time."""
    tz = zone_named(zone)
    minute, hour, *rest = text.split()
    assert rest == ["*", "*", "*"]
    minutes, hours = _numbers(minute, 60), _numbers(hour, 24)
    if minute.startswith("*") or hour.startswith("*"):
        for at in range(begin + 60_000, end + 1, 60_000):
            wall = datetime.fromtimestamp(at // 1_000, tz)
            if wall.minute in minutes and wall.hour in hours:
                yield at
        return
    found: set[int] = set()
    day = datetime.fromtimestamp(begin // 1_000, UTC).date() - timedelta(days=2)
    while day < date.fromordinal(datetime.fromtimestamp(end // 1_000, UTC).toordinal() + 2):
        for h in hours:
            for m in minutes:
                wall = datetime(day.year, day.month, day.day, h, m)
                while (there := wall.replace(tzinfo=tz)).astimezone(UTC).astimezone(tz).replace(tzinfo=None) != wall:
                    wall += MINUTE
                found.add(int(there.timestamp()) * 1_000)
        day += timedelta(days=1)
    yield from sorted(at for at in found if begin < at <= end)


def _numbers(field: str, size: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, size, int(field[2:] or 1)))
    if "-" in field:
        low, high = field.split("-")
        return set(range(int(low), int(high) + 1))
    return {int(part) for part in field.split(",")}


CHANGES = [
    ("Europe/Berlin", 2026, 3, 29),
    ("Europe/Berlin", 2026, 10, 25),
    ("America/New_York", 2026, 3, 8),
    ("America/New_York", 2026, 11, 1),
    ("Australia/Lord_Howe", 2026, 4, 5),
    ("Australia/Lord_Howe", 2026, 10, 4),
    ("Asia/Kolkata", 2026, 3, 29),
    ("Africa/Cairo", 2026, 4, 24),
    ("Africa/Cairo", 2026, 10, 30),
    ("America/Santiago", 2026, 4, 5),
    ("America/Santiago", 2026, 9, 6),
    ("Pacific/Chatham", 2026, 9, 27),
    ("Antarctica/Troll", 2026, 3, 29),
    ("Antarctica/Troll", 2026, 10, 25),
    ("Antarctica/Casey", 2010, 3, 5),
    ("Pacific/Apia", 2011, 12, 30),
]
EXPRESSIONS = [
    "*/20 * * * *", "0 * * * *", "*/10 2 * * *", "*/20 0 * * *", "0 */2 * * *", "10 */3 * * *", "*/15 3 * * *",
    "30 2 * * *", "15,45 2 * * *", "0 0 * * *", "15 2,3 * * *", "30 0-4 * * *", "45 1 * * *", "59 23 * * *",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "year", "month", "day"), CHANGES)
def test_around_every_change_it_is_as_the_rules_say(zone: str, year: int, month: int, day: int, text: str) -> None:
    begin = ms("UTC", year, month, day) - DAY
    end = begin + 3 * DAY
    expected = [shown(zone, at) for at in plainly(text, zone, begin, end)]
    assert times(text, zone, begin, end) == expected
    assert [shown(zone, at) for at in takewhile(lambda at: at <= end, parse(text, zone).all_after(begin))] == expected
