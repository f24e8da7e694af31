"""Callers as a program tells of them: what its resolver returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from host.gateway.namespaces import namespace_of
from host.model.identity import Identity
from host.model.roles import SCOPES, Role, Scope
from host.wire.values import from_python

__all__ = ["caller"]


def caller(
    tenant: str, *, scopes: Iterable[Scope] = ("connect",), claims: Any = None, role: Role = "connection"
) -> Identity:
    """Somebody who may do in the namespace `tenant` what the scopes say: `connect` is to talk to actors, `deploy`,
    `actors` and `tokens` are for those who run them. `claims` (any Value) is what auth hooks get to know, besides
    `role`. Raises ValueError for scopes that there are not, CallerError for what is no namespace."""
    chosen = tuple(scopes)
    if unknown := [scope for scope in chosen if scope not in SCOPES]:
        raise ValueError(f"{unknown[0]!r} is no scope; these are: {', '.join(SCOPES)}")
    return Identity(role, namespace_of(tenant), chosen, None if claims is None else from_python(claims))
