"""A raw HTTP request to a static actor, and its answer."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Request", "Response"]


class Request(Struct, frozen=True):
    """`path` includes the query string; header names are as they came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first of that name, in any case."""
        wanted = name.lower()
        return next((value for found, value in self.headers if found.lower() == wanted), None)


class Response(Struct, frozen=True):
    body: bytes | str = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
