"""Loads the bytes behind a tenant's URL, within bounds, and checks them against their hash.

What it guarantees: only URLs that the rules allow and addresses that the guard allows, again for every redirect; at
most `limits.redirects` of them, and never from https down to http; no cookies, proxies or credentials; never more than
`max_bytes` of a body in memory; a first byte and an end within their times; no content coding; and nothing is returned
whose sha256 is not the pinned one. Errors name the place and the reason, never what the server said.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore
import httpx
from msgspec import Struct

from host import __version__
from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError, limit_error
from host.modules.address_guard import AddressGuard
from host.modules.hashes import require_hash
from host.modules.transport import GuardedTransport
from host.modules.url_rules import ANY_PUBLIC, MAX_URL, UrlRules, is_plain, parse_url, refused
from host.telemetry.redact import strip_query

__all__ = ["FetchLimits", "Fetched", "Fetcher"]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HEADERS = {
    "accept": "application/wasm, text/javascript, */*;q=0.5",
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": f"dormice/{__version__}",
}


class FetchLimits(Struct, frozen=True):
    """Seconds for the whole fetch and for the first byte of each answer; redirects followed."""

    total: float = 10.0
    first_byte: float = 3.0
    redirects: int = 3


class Fetched(Struct, frozen=True):
    """`place` is the URL that answered, without query string; `content_type` as the server sent it, maybe empty."""

    data: bytes
    content_type: str
    place: str


class Fetcher:
    """One per host process; each fetch has connections of its own."""

    def __init__(
        self,
        clock: Clock,
        guard: AddressGuard,
        rules: UrlRules = ANY_PUBLIC,
        *,
        limits: FetchLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """`network` opens the connections to checked addresses; the system's if it is left out."""
        self._clock = clock
        self._guard = guard
        self._rules = rules
        self._network = network
        self._limits = limits if limits is not None else FetchLimits()
        self._ssl = ssl_context

    def check(self, url: str) -> httpx.URL:
        """The URL, if its text may be fetched; raises `module/fetch_refused`."""
        return parse_url(url, self._rules)

    async def fetch(self, url: str, sha256: str, max_bytes: int) -> Fetched:
        """`sha256` is 64 hex digits."""
        at = self.check(url)
        seconds = self._limits.total
        try:
            with self._clock.fail_after(seconds):
                fetched = await self._follow(at, max_bytes)
        except TimeoutError as error:
            raise _timeout(f"{_place(at)} was not loaded within {seconds:g} s") from error
        require_hash(fetched.data, sha256)
        return fetched

    async def _follow(self, at: httpx.URL, max_bytes: int) -> Fetched:
        for _ in range(self._limits.redirects + 1):
            try:
                async with self._answer(at) as answer:
                    if answer.status_code == 200:
                        return await _read(at, answer, max_bytes)
                    at = self._redirect(at, answer)
            except httpx.HTTPError as error:
                raise UnavailableError(
                    "module", "fetch_failed", f"{_place(at)} could not be loaded", detail=str(error)
                ) from error
        raise UnavailableError(
            "module",
            "fetch_failed",
            f"more than {self._limits.redirects} redirects; the last one leads to {_place(at)}",
            retryable=False,
        )

    @asynccontextmanager
    async def _answer(self, at: httpx.URL) -> AsyncIterator[httpx.Response]:
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context(trust_env=False)
        # the transport is asked directly: a client would look into redirects before we do
        async with GuardedTransport(self._guard, self._ssl, self._network) as transport:
            seconds = self._limits.first_byte
            try:
                with self._clock.fail_after(seconds):
                    request = httpx.Request("GET", at.copy_with(fragment=None), headers=_HEADERS)
                    answer = await transport.handle_async_request(request)
            except TimeoutError as error:
                raise _timeout(f"{_place(at)} did not answer within {seconds:g} s") from error
            try:
                yield answer
            finally:
                await answer.aclose()

    def _redirect(self, at: httpx.URL, answer: httpx.Response) -> httpx.URL:
        location = answer.headers.get("location")
        if answer.status_code not in (301, 302, 303, 307, 308) or location is None:
            raise UnavailableError(
                "module",
                "fetch_failed",
                f"{_place(at)} answered with status {answer.status_code}",
                retryable=answer.status_code >= 500 or answer.status_code == 429,
            )
        # joining would mend it: what is odd is refused while it is still as the server wrote it
        if len(location) > MAX_URL or not is_plain(location):
            raise refused(f"{_place(at)} redirects to something that is no URL")
        try:
            target = self.check(location if _ABSOLUTE.match(location) else str(at.join(location)))
        except httpx.InvalidURL as error:
            raise refused(f"{_place(at)} redirects to something that is no URL") from error
        if at.scheme == "https" and target.scheme != "https":
            raise refused(f"{_place(at)} redirects from https down to {target.scheme}")
        return target


async def _read(at: httpx.URL, answer: httpx.Response, max_bytes: int) -> Fetched:
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnavailableError(
            "module", "fetch_failed", f"{_place(at)} answered with a content coding nobody asked for", retryable=False
        )
    declared = answer.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(at, int(declared), max_bytes)
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > max_bytes:
            raise _too_large(at, len(body), max_bytes)
    return Fetched(bytes(body), answer.headers.get("content-type", ""), _place(at))


def _place(url: httpx.URL) -> str:
    return strip_query(str(url))


def _timeout(message: str) -> DormiceError:
    return UnavailableError("module", "fetch_timeout", message)


def _too_large(at: httpx.URL, used: int, allowed: int) -> DormiceError:
    advice = f"make the module at {_place(at)} smaller"
    return limit_error("module", used, allowed, advice, name="module/too_large")
