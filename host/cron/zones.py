"""Time zones by their IANA names, with the rules of the `tzdata` package and no others.

The machine's own database is never asked: a container may have none, and two hosts must not differ in when an actor
runs. The files are read once each; apart from that nothing here depends on anything but its arguments.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from host.model.errors import CallerError

__all__ = ["zone_named", "zone_names"]


@cache
def zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def zone_named(name: str) -> ZoneInfo:
    """Raises `request/invalid` for a name that there is not."""
    if name not in zone_names():
        raise CallerError(
            "request",
            "invalid",
            f"there is no time zone {name[:64]!r}; a time zone has an IANA name, such as Europe/Berlin or UTC, "
            "spelt as there",
        )
    return _zone(name)


@cache
def _zone(name: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
