"""What a tenant uses and may use, as plain data."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["QuotaUse", "TenantUsage"]


class QuotaUse(Struct, frozen=True):
    """`allowed` is in force; `own` tells that an operator set it for this tenant. `used` is now, in the unit given;
    None of one that is a rate, of which nothing is used up."""

    used: int | None
    allowed: int
    maximum: int
    unit: str
    own: bool = False


class TenantUsage(Struct, frozen=True):
    """Counts begin with the process, at `since` (ms). `held_up` counts how often an actor had to wait for CPU time;
    `refusals` are by the name of the limit."""

    namespace: str
    quotas: dict[str, QuotaUse]
    modules: int
    cpu_ms: int
    starts: int
    held_up: int
    refusals: dict[str, int]
    since: int
