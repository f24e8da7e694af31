"""What a session's client asks for when it connects, and the keyed hash of its secret. Pure.

The secret is hashed as soon as it is read: nothing behind this module ever sees it, so it can reach no log, row or
snapshot. The key is the data directory's, so that a stolen database does not let anybody check a guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from msgspec import Struct

from host.model.errors import CallerError

__all__ = ["SECRET_HEADER", "SESSION_PARAMS", "Comeback", "comeback_of", "session_hash"]

SECRET_HEADER = "x-dormice-session"
SESSION_PARAMS = frozenset({"dm-session", "dm-last-seen", "dm-next", "dm-resume"})

# 128 bits are 22 characters of base64url or 32 hex digits; more is the client's choice.
_SECRET = re.compile(r"[A-Za-z0-9._~-]{22,128}\Z")
_NUMBER = re.compile(r"[0-9]{1,19}\Z")
_LABEL = b"dormice session\0"
_HIGHEST = 2**63 - 1


class Comeback(Struct, frozen=True):
    """`session` is the hash of the secret, `last_seen` the index of the last frame that the client has got, `next` the
    index of the first message that it is going to send. `resume`: it wants no other session than the one it had."""

    session: bytes
    last_seen: int
    next: int
    resume: bool = False

    @property
    def may_be_new(self) -> bool:
        return self.last_seen == 0 and self.next == 1 and not self.resume


def comeback_of(params: Sequence[tuple[str, str]], key: bytes) -> Comeback | None:
    """Of the session parameters of an address; None for a plain connection. Raises `guard/…` for bad ones."""
    given: dict[str, str] = {}
    for name, value in params:
        if name in given:
            raise CallerError("guard", "query_duplicate_param", f"the parameter {name!r} is there twice")
        given[name] = value
    if not given:
        return None
    secret = given.get("dm-session")
    if secret is None:
        raise CallerError("guard", "query_missing_param", "dm-session is missing: the secret of the session")
    last_seen, following = _number(given, "dm-last-seen", 0), _number(given, "dm-next", 1)
    if following < 1:
        raise CallerError("guard", "query_invalid_param", "dm-next is at least 1")
    resume = _number(given, "dm-resume", 0)
    if resume > 1:
        raise CallerError("guard", "query_invalid_param", "dm-resume is 0 or 1")
    return Comeback(session_hash(key, secret), last_seen, following, bool(resume))


def session_hash(key: bytes, secret: str) -> bytes:
    if not _SECRET.match(secret):
        raise CallerError(
            "guard", "query_invalid_param", "the secret of a session is 22 to 128 letters, digits, or any of -._~"
        )
    return hmac.new(key, _LABEL + secret.encode(), hashlib.sha256).digest()


def _number(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not _NUMBER.match(text) or int(text) > _HIGHEST:
        raise CallerError("guard", "query_invalid_param", f"{name} is a whole number")
    return int(text)
