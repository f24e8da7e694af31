"""Loads the bytes behind a tenant's URL, within bounds, and checks them against their hash.

What it guarantees beside what every request to the outside does (`host.outbound`): the rules and the guard are asked
again for every redirect, of which there are at most `limits.redirects`; never more than `max_bytes` of a body in
memory; a first byte and an end within their times; and nothing is returned whose sha256 is not the pinned one.
"""

from __future__ import annotations

import ssl

from msgspec import Struct

from host import __version__
from host.model.clock import Clock
from host.model.errors import DormiceError, limit_error
from host.modules.hashes import require_hash
from host.outbound.address_guard import AddressGuard
from host.outbound.exchange import Answer, Exchanges, Message, place_of, redirected
from host.outbound.purpose import MODULE_LOAD
from host.outbound.transport import Network
from host.outbound.url_rules import ANY_PUBLIC, Url, UrlRules, parse_url

__all__ = ["FetchLimits", "Fetched", "Fetcher"]

_HEADERS = (
    ("accept", "application/wasm, text/javascript, */*;q=0.5"),
    ("accept-encoding", "identity"),
    ("connection", "close"),
    ("user-agent", f"dormice/{__version__}"),
)
_REDIRECTS = (301, 302, 303, 307, 308)


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
        network: Network | None = None,
    ) -> None:
        """`network` opens the connections to checked addresses; the system's if it is left out."""
        self._clock = clock
        self._rules = rules
        self._limits = limits if limits is not None else FetchLimits()
        self._exchanges = Exchanges(clock, guard, purpose=MODULE_LOAD, ssl_context=ssl_context, network=network)

    def check(self, url: str) -> Url:
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
            raise MODULE_LOAD.timeout(f"{place_of(at)} was not loaded within {seconds:g} s") from error
        require_hash(fetched.data, sha256)
        return fetched

    async def _follow(self, at: Url, max_bytes: int) -> Fetched:
        for _ in range(self._limits.redirects + 1):
            async with self._exchanges.answer(Message("GET", at, _HEADERS), self._limits.first_byte) as answer:
                if answer.status == 200:
                    return await _read(answer, max_bytes)
                location = answer.header("location")
                if answer.status not in _REDIRECTS or not location:
                    again = answer.status >= 500 or answer.status == 429
                    raise MODULE_LOAD.failure(f"{place_of(at)} answered with status {answer.status}", retryable=again)
            at = redirected(at, location, self._rules)
        raise MODULE_LOAD.failure(
            f"more than {self._limits.redirects} redirects; the last one leads to {place_of(at)}", retryable=False
        )


async def _read(answer: Answer, max_bytes: int) -> Fetched:
    if answer.declared is not None and answer.declared > max_bytes:
        raise _too_large(answer.at, answer.declared, max_bytes)
    body = bytearray()
    async for part in answer.parts():
        body += part
        if len(body) > max_bytes:
            raise _too_large(answer.at, len(body), max_bytes)
    return Fetched(bytes(body), answer.header("content-type"), place_of(answer.at))


def _too_large(at: Url, used: int, allowed: int) -> DormiceError:
    advice = f"make the module at {place_of(at)} smaller"
    return limit_error("module", used, allowed, advice, name="module/too_large")
