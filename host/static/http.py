"""A raw HTTP request to a static actor, and its answer; and the question whether a client may make one."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["AuthRequest", "Request", "Response"]


class Request(Struct, frozen=True):
    """`path` includes the query string; header names are as they came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first of that name, in any case."""
        return _header(self.headers, name)


class AuthRequest(Struct, frozen=True):
    """A client that wants something. `role` (admin, tenant, connection or anonymous) and `claims` are what the host has
    made sure of; the rest is what the client says. `kind` is action (with its `name`), request, socket or connect (with
    `method` and `path`)."""

    kind: str
    role: str
    headers: tuple[tuple[str, str], ...]
    name: str | None
    method: str | None
    path: str | None
    params: Any
    claims: Any

    def header(self, name: str) -> str | None:
        """The first of that name, in any case."""
        return _header(self.headers, name)


def _header(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    wanted = name.lower()
    return next((value for found, value in headers if found.lower() == wanted), None)


class Response(Struct, frozen=True):
    body: bytes | str = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
