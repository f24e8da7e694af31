"""The opaque cursor of actor listings, and the check of a page's size; shared by the drivers.

A cursor names the last actor of its page, not an offset, so that actors that come and go between two pages neither
repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii

from host.model.errors import CallerError
from host.model.ids import is_id

__all__ = ["check_limit", "decode_cursor", "encode_cursor"]


def encode_cursor(created_at: int, actor_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_at}.{actor_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, str]:
    """(created_at, actor_id) of the last actor of the page before; `request/invalid` for anything else."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        created_at, _, actor_id = raw.decode("ascii").partition(".")
        at = int(created_at)
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not is_id(actor_id) or not 0 <= at < 2**63 or encode_cursor(at, actor_id) != cursor:
        raise _bad_cursor()
    return at, actor_id


def check_limit(limit: int) -> None:
    if limit < 1:
        raise CallerError("request", "invalid", f"limit is {limit}; it must be at least 1")


def _bad_cursor() -> CallerError:
    return CallerError("request", "invalid", "the cursor is not one that a listing returned; start without a cursor")
