"""Requests of actors to the outside, as a function of the operator's sees them that stands in their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

__all__ = ["EgressFunction", "EgressRefused", "EgressRequest", "EgressResponse", "Forward"]


class EgressRequest(Struct, frozen=True):
    """Whose request it is, as the host knows it, and what it asks for. `url` is as the actor wrote it."""

    tenant: str
    actor_id: str
    name: str
    key: tuple[str, ...]
    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class EgressResponse(Struct, frozen=True):
    """`url` is the one that answered; None stands for the request's own."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    url: str | None = None


class EgressRefused(Exception):
    """What a function raises that does not let a request pass; the actor is told the message."""


# Sends a request, perhaps another than the one that came, to the public address that it names.
Forward = Callable[[EgressRequest], Awaitable[EgressResponse]]
EgressFunction = Callable[[EgressRequest, Forward], Awaitable[EgressResponse]]
