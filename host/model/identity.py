"""Who a caller is, and what it may do: what every check of the gateway goes by. Pure data.

A *tenant token* speaks for a namespace and is stored as a hash. A *connection token* is for one client, for a short
time: it is signed, not stored, and may be bound to a definition, a key, an actor and certain actions.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.records import ActorRecord
from host.model.roles import SCOPES, Role, Scope

__all__ = ["ADMIN", "NOBODY", "SCOPES", "Bounds", "Identity", "Role", "Scope", "TokenRow"]


class Bounds(Struct, frozen=True, omit_defaults=True):
    """What a connection token is bound to; None is no bound. `actions` bounds it to these actions and to nothing else:
    no requests, no raw sockets."""

    name: str | None = None
    key: tuple[str, ...] | None = None
    actor_id: str | None = None
    actions: tuple[str, ...] | None = None

    def fit_key(self, name: str, key: tuple[str, ...]) -> bool:
        """D9: whether an actor may be looked up or made by this name and key."""
        return (self.name is None or self.name == name) and (self.key is None or self.key == key)

    def fit(self, record: ActorRecord) -> bool:
        return self.fit_key(record.name, record.key) and self.actor_id in (None, record.actor_id)


class Identity(Struct, frozen=True):
    """A caller. `tenant` is the only namespace that it reaches; None, for an admin or where no token is needed, is any.
    `claims` is a Value that whoever made the token put into it. Holds no token, only the id of a stored one."""

    role: Role
    tenant: str | None = None
    scopes: tuple[Scope, ...] = ()
    claims: bytes | None = None
    token_id: str = ""
    expires_at: int | None = None
    bounds: Bounds = Bounds()

    def reaches(self, record: ActorRecord) -> bool:
        """D9: whether the actor is there at all for this caller."""
        return self.tenant in (None, record.tenant) and self.bounds.fit(record)

    def may_act(self, action: str) -> bool:
        return self.bounds.actions is None or action in self.bounds.actions


ADMIN = Identity("admin", scopes=SCOPES)
NOBODY = Identity("anonymous")


class TokenRow(Struct, frozen=True):
    """A tenant token as it is stored: `hash` is the keyed hash of the secret, which itself is nowhere. Times in ms."""

    token_id: str
    tenant: str
    label: str
    scopes: tuple[Scope, ...]
    hash: bytes
    created_at: int
    expires_at: int | None = None
