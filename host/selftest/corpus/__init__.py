"""The corpus: every hostile case that ships, by theme."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.corpus import (
    binary,
    calls,
    connect,
    cpu,
    encodings,
    engine,
    frames,
    identity,
    memory,
    network,
    outgoing,
    parsers,
    quotas,
    stack,
    tenants,
)

__all__ = ["CORPUS"]

CORPUS: tuple[Case, ...] = tuple(
    case
    for theme in (
        cpu,
        memory,
        stack,
        calls,
        frames,
        connect,
        binary,
        parsers,
        encodings,
        identity,
        network,
        outgoing,
        engine,
        tenants,
        quotas,
    )
    for case in theme.CASES
)
