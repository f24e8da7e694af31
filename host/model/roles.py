"""What a caller can be, and what one can be allowed."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["SCOPES", "Role", "Scope"]

Role = Literal["admin", "tenant", "connection", "anonymous"]

# deploy: modules and definitions. actors: list, inspect, reload, sleep and destroy them. connect: the data plane.
# tokens: make, list and revoke tokens.
Scope = Literal["deploy", "actors", "connect", "tokens"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
