"""One fetch of an actor: its request as it may go out, its redirects, and the answer as it may come in.

Who is asked, and by whom, is not the actor's to say: the headers that carry it are the host's own. Every redirect is
judged like the URL that led to it; credentials do not follow one to another origin. The answer is bounded while it
comes in, not afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from host import __version__
from host.model.calls import RedirectMode
from host.model.errors import DormiceError, limit_error
from host.model.limits import Limits
from host.model.ports import Hold
from host.outbound.egress_rules import FORBIDDEN_METHODS, EgressRules
from host.outbound.exchange import Answer, Exchanges, Message, place_of, redirected
from host.outbound.purpose import ACTOR_FETCH
from host.outbound.url_rules import Url, parse_url

__all__ = ["Fetched", "Outgoing", "fetch"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What says where a request goes, how it is framed, and whom it comes from; and the coding, that nobody would undo.
_OWN_HEADERS = re.compile(
    r"(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|via"
    r"|forwarded|x-real-ip|http2-settings|proxy-.*|x-forwarded-.*)\Z"
)
# For one connection, which is not the actor's.
_HOP_BY_HOP = re.compile(r"(connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*)\Z")
_CREDENTIALS = frozenset({"authorization", "cookie"})
_BODY_HEADERS = frozenset({"content-type", "content-language", "content-location", "content-encoding"})
_NO_BODY = frozenset({"GET", "HEAD"})


class Outgoing(Struct, frozen=True):
    """A request as the actor wrote it."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    redirect: RedirectMode = "follow"


class Fetched(Struct, frozen=True):
    """`place` is where the last request went, without its query; `url` whole."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str
    redirects: int

    @property
    def redirected(self) -> bool:
        return self.redirects > 0


async def fetch(
    exchanges: Exchanges,
    outgoing: Outgoing,
    rules: EgressRules,
    limits: Limits,
    hold: Hold,
    allowed: Callable[[Url], None],
) -> Fetched:
    """`allowed` raises for a place that the operator does not let anybody reach."""
    method, body = outgoing.method.upper(), outgoing.body
    _check_method(method, rules)
    if body and method in _NO_BODY:
        raise ACTOR_FETCH.refusal(f"a {method} request has no body")
    headers = _checked(outgoing.headers)
    at = parse_url(outgoing.url, rules.urls)
    for redirects in range(limits.fetch_redirects + 1):
        allowed(at)
        message = Message(method, at, _complete(headers), body)
        async with exchanges.answer(message, limits.fetch_first_byte / 1_000) as answer:
            location = answer.header("location")
            follows = answer.status in _REDIRECTS and location != "" and outgoing.redirect != "manual"
            if not follows:
                return await _received(answer, method, limits, hold, redirects)
            if outgoing.redirect == "error":
                raise ACTOR_FETCH.failure(f"{place_of(at)} redirects, and the request says not to", retryable=False)
        target = redirected(at, location, rules.urls)
        if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
            method, body = "GET", b""
            headers = tuple(pair for pair in headers if pair[0] not in _BODY_HEADERS)
            _check_method(method, rules)
        if (target.scheme, target.host, target.port) != (at.scheme, at.host, at.port):
            headers = tuple(pair for pair in headers if pair[0] not in _CREDENTIALS)
        at = target
    raise limit_error(
        "fetch_redirects",
        limits.fetch_redirects + 1,
        limits.fetch_redirects,
        "ask where they lead",
        name="fetch/failed",
    )


def _check_method(method: str, rules: EgressRules) -> None:
    if method in FORBIDDEN_METHODS or (rules.methods is not None and method not in rules.methods):
        raise ACTOR_FETCH.refusal(f"the method {method} is not among those that this actor may use")


def _checked(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """With names in lower case. They were looked at one by one when the call was made."""
    made = tuple((name.lower(), value) for name, value in headers)
    for name, _ in made:
        if _OWN_HEADERS.match(name):
            raise ACTOR_FETCH.refusal(f"the header {name} is the host's own; leave it out")
    return made


def _complete(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    names = {name for name, _ in headers}
    own = [("accept", "*/*"), ("user-agent", f"dormice/{__version__}")]
    missing = [pair for pair in own if pair[0] not in names]
    return [*headers, *missing, ("accept-encoding", "identity"), ("connection", "close")]


async def _received(answer: Answer, method: str, limits: Limits, hold: Hold, redirects: int) -> Fetched:
    headers = tuple((name.lower(), value) for name, value in answer.headers if not _HOP_BY_HOP.match(name.lower()))
    if len(headers) > limits.headers:
        raise _too_large("headers", len(headers), limits.headers)
    size = sum(len(name) + len(value) for name, value in headers)
    if size > limits.header_bytes:
        raise _too_large("header_bytes", size, limits.header_bytes)
    if answer.status < 200:
        raise ACTOR_FETCH.failure(f"{place_of(answer.at)} answered with status {answer.status}", retryable=False)
    body = bytearray()
    if method != "HEAD":
        if answer.declared is not None and answer.declared > limits.body:
            raise _too_large("body", answer.declared, limits.body)
        async for part in answer.parts():
            if len(body) + len(part) > limits.body:
                raise _too_large("body", len(body) + len(part), limits.body)
            refused = hold(len(part))
            if refused is not None:
                raise refused
            body += part
    return Fetched(answer.status, headers, bytes(body), str(answer.at.copy_with(fragment=None)), redirects)


def _too_large(limit: str, used: int, allowed: int) -> DormiceError:
    return limit_error(limit, used, allowed, "ask for less", name="fetch/too_large")
