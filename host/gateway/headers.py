"""Headers on their way between clients and actors: what passes, and what the gateway keeps for itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from host.gateway.cors import CORS_PREFIX
from host.model.errors import GuestFault

__all__ = ["SANDBOX", "reply_headers", "request_headers", "socket_headers"]

RawHeaders = Iterable[tuple[bytes, bytes]]

# Of one connection, not of the request (RFC 9110 section 7.6.1), or rewritten by whoever sends it on.
_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = ("x-rivet-", "x-dormice-")
# Of a handshake; a sub-protocol may be a token.
_HANDSHAKE = "sec-websocket-"

# Actors of all tenants answer at one origin. A cookie of one would be sent to all others, and the cookies of the site
# that the host is part of to every tenant: neither crosses.
_COOKIES = frozenset({"cookie", "cookie2", "set-cookie", "set-cookie2"})
# What speaks for the whole origin, and so is not one actor's to say.
_ORIGIN_WIDE = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "content-length",
        "expect-ct",
        "nel",
        "origin-agent-cluster",
        "public-key-pins",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "strict-transport-security",
    }
)

# Makes a page of an actor one of no origin: a script in it is not taken for one of the application, whose sessions
# the host honours.
SANDBOX = ("content-security-policy", "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")

# What is stored with a connection. Never authorization or cookies: a snapshot is no place for secrets.
_SOCKET = frozenset(
    {"accept-language", "host", "origin", "user-agent", "x-forwarded-for", "x-forwarded-proto", "x-request-id"}
)

_LEFT_OUT = _HOP | _COOKIES | _ORIGIN_WIDE
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


def request_headers(raw: RawHeaders, *, keep_bearer: Callable[[str], bool]) -> tuple[tuple[str, str], ...]:
    """For an actor's request handler, without what is of this connection only (its own `connection` header names some).
    `authorization` passes unless it is for the host: `keep_bearer` says so."""
    given = list(_decoded(raw))
    hop = _HOP.union(*(map(str.strip, value.lower().split(",")) for name, value in given if name == "connection"))
    kept = []
    for name, value in given:
        if name in hop or name in _COOKIES or name.startswith(_OURS):
            continue
        if name.startswith(_HANDSHAKE) or (name == "authorization" and not keep_bearer(value)):
            continue
        if name == "referer":  # the address of a page may hold a token, and it may be another actor's
            value = _origin_of(value)
        kept.append((name, value))
    return tuple(kept)


def socket_headers(raw: RawHeaders) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in _decoded(raw) if name in _SOCKET)


def reply_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """From an actor's answer. One that HTTP cannot carry is a fault of the guest's; those that the gateway sets itself
    (length, CORS, its own names), and those that are about more than this answer (cookies, the origin) are left out."""
    kept = []
    for name, value in headers:
        if not _NAME.match(name) or _BAD_VALUE.search(value):
            raise GuestFault("bad_reply", "the actor answered with a header that HTTP cannot carry", detail=repr(name))
        lower = name.lower()
        if lower in _LEFT_OUT or lower.startswith((*_OURS, CORS_PREFIX)):
            continue
        kept.append((lower, value))
    return kept


def _origin_of(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2]
    return f"{scheme}{mark}{host}/" if mark else ""


def _decoded(raw: RawHeaders) -> Iterable[tuple[str, str]]:
    for name, value in raw:
        yield name.decode("latin-1").lower(), value.decode("latin-1")
