"""Time zones come from the package and from nowhere else."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

import pytest

from host.cron.zones import zone_named, zone_names
from host.model.errors import CallerError


def test_the_names_are_those_of_the_database() -> None:
    assert {"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"} <= zone_names()


@pytest.mark.parametrize("name", sorted(zone_names()))
def test_every_zone_has_rules(name: str) -> None:
    offset = datetime(2031, 7, 1, tzinfo=UTC).astimezone(zone_named(name)).utcoffset()
    assert offset is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "utc",
        "Europe/berlin",
        "Mars/Base",
        "../etc/passwd",
        "/etc/localtime",
        "zones",
        "Europe",
        "a\0b",
        "x" * 10_000,
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        zone_named(name)
    assert caught.value.info.name == "request/invalid"
    assert "time zone" in caught.value.info.message
    assert len(caught.value.info.message) < 300


def test_the_database_of_the_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    zone_named.__globals__["_zone"].cache_clear()
    assert datetime(2026, 7, 1, tzinfo=zone_named("Europe/Berlin")).strftime("%Z") == "CEST"
