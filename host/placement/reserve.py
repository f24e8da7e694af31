"""How much memory is to stay available, as an operator writes it. Pure."""

from __future__ import annotations

from msgspec import Struct

from host.model.errors import CallerError

__all__ = ["Reserve", "parse_reserve"]

_UNITS = {"": 1, "K": 1_024, "M": 1_024**2, "G": 1_024**3, "T": 1_024**4}


class Reserve(Struct, frozen=True):
    """What is to stay available: bytes, or a share of all there is. Nothing of both: there is no watch."""

    bytes: int = 0
    percent: int = 0

    def of(self, total: int) -> int:
        return self.bytes or total * self.percent // 100


def parse_reserve(text: str) -> Reserve:
    """`10%`, `512M`, `0`; raises `request/invalid`."""
    number, unit = text.strip()[:-1], text.strip()[-1:].upper()
    if unit.isdigit():
        number, unit = text.strip(), ""
    if number.isascii() and number.isdigit() and len(number) < 16:
        if unit == "%" and int(number) <= 90:
            return Reserve(percent=int(number))
        if unit in _UNITS:
            return Reserve(bytes=int(number) * _UNITS[unit])
    raise CallerError(
        "request",
        "invalid",
        f"--memory-reserve {text[:40]!r} is neither a share up to 90% nor bytes, as in 10% or 512M",
    )
