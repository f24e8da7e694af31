"""sha256 as tenants write it: 64 hex digits, with or without `sha256:` in front, in either case."""

from __future__ import annotations

import re
from hashlib import sha256

from host.model.errors import CallerError

__all__ = ["digest_of", "parse_digest", "require_hash"]

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")


def digest_of(data: bytes) -> str:
    return sha256(data).hexdigest()


def parse_digest(text: str) -> str:
    match = _DIGEST.match(text.lower())
    if match is None:
        raise CallerError("request", "invalid", f"{text[:80]!r} is not a sha256: 64 hex digits, or sha256: and those")
    return match.group(1)


def require_hash(data: bytes, expected: str) -> None:
    """Raises unless the bytes are the pinned ones. Called before anything looks into them."""
    found = digest_of(data)
    if found != expected:
        raise CallerError(
            "module",
            "hash_mismatch",
            f"the bytes do not have the given sha256: expected {expected}, found {found} ({len(data)} bytes)",
        )
