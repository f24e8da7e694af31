"""Tokens finer than the admin's: made, listed, revoked, and turned into the identity that they stand for.

The secret of a tenant token is 256 random bits, shown once; storage has its hash under the data directory's key, so
that a stolen database does not let anybody check a guess. It is looked up by that hash, which nobody can steer, so a
lookup tells nothing by the time it takes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from host.gateway.connection_tokens import CONNECTION_PREFIX, BadToken, mint, verify
from host.model.clock import Clock
from host.model.errors import limit_error
from host.model.identity import Bounds, Identity, Scope, TokenRow
from host.model.ids import RandomBytes, new_id
from host.storage.driver import Driver
from host.telemetry.logging import get_logger

__all__ = ["Tokens", "is_token"]

TENANT_PREFIX = "dmt_"
_LENGTH = 64
_LABEL = b"dormice tenant token\0"

log = get_logger("tokens")


def is_token(text: str) -> bool:
    """Whether it says of itself that it is one of ours, valid or not."""
    return text.startswith((TENANT_PREFIX, CONNECTION_PREFIX))


class Tokens:
    def __init__(self, storage: Driver, key: bytes, clock: Clock, random: RandomBytes) -> None:
        self._storage = storage
        self._key = key
        self._clock = clock
        self._random = random

    async def identify(self, token: str) -> Identity:
        """Raises BadToken."""
        if token.startswith(CONNECTION_PREFIX):
            return verify(self._key, token, self._clock.now_ms())
        if not token.startswith(TENANT_PREFIX) or len(token) > _LENGTH:
            raise BadToken("unknown")
        digest = self._hash(token)
        row = await self._storage.token_by_hash(digest)
        if row is None or not hmac.compare_digest(row.hash, digest):
            raise BadToken("unknown or revoked")
        if row.expires_at is not None and self._clock.now_ms() >= row.expires_at:
            raise BadToken("expired")
        return Identity("tenant", row.tenant, row.scopes, token_id=row.token_id, expires_at=row.expires_at)

    async def create(
        self, tenant: str, scopes: Sequence[Scope], label: str, expires_at: int | None, *, allowed: int
    ) -> tuple[TokenRow, str]:
        """The row, and the token itself, which is nowhere else. Durable. `allowed` is how many the tenant may have."""
        secret = TENANT_PREFIX + base64.urlsafe_b64encode(self._random(32)).rstrip(b"=").decode("ascii")
        now = self._clock.now_ms()
        row = TokenRow(
            new_id(self._random), tenant, label, tuple(dict.fromkeys(scopes)), self._hash(secret), now, expires_at
        )
        if not await self._storage.put_token(row, allowed, now):
            raise limit_error("tenant_tokens", allowed + 1, allowed, "revoke one, or ask the operator for more")
        log.info("tenant credential made", tenant=tenant, id=row.token_id, scopes=row.scopes, expires_at=expires_at)
        return row, secret

    async def list(self, tenant: str) -> Sequence[TokenRow]:
        """Those that have not expired, the oldest first."""
        return await self._storage.tokens_of(tenant, self._clock.now_ms())

    async def revoke(self, tenant: str, token_id: str) -> bool:
        """From the moment it returns the token is unknown. False if the tenant has no such token."""
        gone = await self._storage.drop_token(tenant, token_id)
        if gone:
            log.info("tenant credential revoked", tenant=tenant, id=token_id)
        return gone

    def connection(self, tenant: str, expires_at: int, bounds: Bounds, claims: bytes | None) -> str:
        return mint(self._key, tenant, expires_at, bounds, claims)

    def _hash(self, token: str) -> bytes:
        return hmac.new(self._key, _LABEL + token.encode("utf-8", "replace"), hashlib.sha256).digest()
