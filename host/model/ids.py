"""Identifiers. An `actor_id` and a `conn_id` are 128 random bits as 32 hex digits, new each time and never reused.

The randomness is passed in (`RandomBytes`), so that this package stays pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["RandomBytes", "is_id", "new_id"]

RandomBytes = Callable[[int], bytes]

_ID = re.compile(r"[0-9a-f]{32}\Z")


def new_id(random: RandomBytes) -> str:
    return random(16).hex()


def is_id(text: str) -> bool:
    return _ID.match(text) is not None
