"""Connection tokens: what one client may do, for a short time, signed with the data directory's key. Pure.

    dmc_<base64url of a JSON payload>.<base64url of HMAC-SHA256 over the part before the dot>

Nothing is stored, so a token cannot be revoked, only expire. The payload is read after the signature has been compared,
in constant time and as text, so that a token has one spelling. What is in it can be read by whoever has the token:
claims are no place for secrets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from host.model.identity import Bounds, Identity

__all__ = ["CONNECTION_PREFIX", "BadToken", "mint", "verify"]

CONNECTION_PREFIX = "dmc_"
# Far above what claims, names and keys come to: nobody has to hash more to refuse it.
MAX_LENGTH = 16 * 1_024
_LABEL = b"dormice connection token 1\0"


class BadToken(Exception):
    """Not one that this host made, or not any more. The reason is for the log."""


class _Payload(Struct, frozen=True, omit_defaults=True):
    tenant: str = field(name="t")
    expires_at: int = field(name="e")
    name: str | None = field(name="n", default=None)
    key: tuple[str, ...] | None = field(name="k", default=None)
    actor_id: str | None = field(name="a", default=None)
    actions: tuple[str, ...] | None = field(name="x", default=None)
    claims: Raw | UnsetType = field(name="c", default=UNSET)


def mint(key: bytes, tenant: str, expires_at: int, bounds: Bounds, claims: bytes | None) -> str:
    """`claims` is a Value; `expires_at` in ms."""
    payload = _Payload(
        tenant,
        expires_at,
        bounds.name,
        bounds.key,
        bounds.actor_id,
        bounds.actions,
        UNSET if claims is None else Raw(claims),
    )
    body = CONNECTION_PREFIX + _text(msgspec.json.encode(payload))
    return f"{body}.{_signature(key, body)}"


def verify(key: bytes, token: str, now: int) -> Identity:
    """Raises BadToken."""
    body, _, signature = token.partition(".")
    if len(token) > MAX_LENGTH or not token.isascii():
        raise BadToken("malformed")
    if not hmac.compare_digest(signature, _signature(key, body)):
        raise BadToken("signature")
    try:
        encoded = body[len(CONNECTION_PREFIX) :]
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        payload = msgspec.json.decode(data, type=_Payload)
    except (binascii.Error, msgspec.DecodeError):
        raise BadToken("payload") from None
    if now >= payload.expires_at:
        raise BadToken("expired")
    return Identity(
        "connection",
        payload.tenant,
        ("connect",),
        claims=None if payload.claims is UNSET else bytes(payload.claims),
        expires_at=payload.expires_at,
        bounds=Bounds(payload.name, payload.key, payload.actor_id, payload.actions),
    )


def _signature(key: bytes, body: str) -> str:
    return _text(hmac.new(key, _LABEL + body.encode("ascii"), hashlib.sha256).digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
