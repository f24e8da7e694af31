"""One request to the outside and its answer: over a connection of its own, to a checked address, and nothing followed.

No proxy of the environment, no cookie, no credential and no content coding takes part. What goes wrong is an error of
the purpose, which names the place and the reason, never what the server said.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpcore
import httpx
from msgspec import Struct

from host.model.clock import Clock
from host.outbound.address_guard import AddressGuard
from host.outbound.purpose import MODULE_LOAD, Purpose
from host.outbound.transport import GuardedTransport
from host.outbound.url_rules import MAX_URL, Url, UrlRules, is_plain, parse_url
from host.telemetry.redact import strip_query

__all__ = ["Answer", "Exchanges", "Message", "place_of", "redirected"]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Message(Struct, frozen=True):
    """A request: `url` has passed the rules."""

    method: str
    url: Url
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Answer:
    """The head of an answer, and its body as it comes in."""

    def __init__(self, at: Url, response: httpx.Response, purpose: Purpose) -> None:
        self._response = response
        self._purpose = purpose
        self.at = at
        self.status: int = response.status_code
        self.headers: tuple[tuple[str, str], ...] = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
        )

    def header(self, name: str) -> str:
        """All of this name (in lower case) as one, maybe empty: two that differ agree with nothing."""
        return ", ".join(value for found, value in self.headers if found.lower() == name)

    @property
    def declared(self) -> int | None:
        """The length that the server said, if it did."""
        length = self.header("content-length")
        return int(length) if length.isascii() and length.isdecimal() else None

    async def parts(self) -> AsyncIterator[bytes]:
        """The body; refused in a coding that nobody asked for, because nobody would take it apart."""
        if self.header("content-encoding").strip().lower() not in ("", "identity"):
            raise self._purpose.failure(
                f"{place_of(self.at)} answered with a content coding nobody asked for", retryable=False
            )
        try:
            async for part in self._response.aiter_raw():
                yield part
        except httpx.HTTPError as error:
            raise _unreachable(self._purpose, self.at, error) from error


class Exchanges:
    """One per host process and purpose. `network` opens the connections to checked addresses; the system's if it is
    left out."""

    def __init__(
        self,
        clock: Clock,
        guard: AddressGuard,
        *,
        purpose: Purpose = MODULE_LOAD,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._clock = clock
        self._guard = guard
        self._purpose = purpose
        self._network = network
        self._ssl = ssl_context

    @asynccontextmanager
    async def answer(self, message: Message, first_byte: float) -> AsyncIterator[Answer]:
        """The answer to one request, its head within `first_byte` seconds; the connection is closed behind it."""
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context(trust_env=False)
        at = message.url
        # The transport is asked directly: a client would look into redirects before we do.
        async with GuardedTransport(self._guard, self._ssl, self._network) as transport:
            request = httpx.Request(
                message.method,
                at.copy_with(fragment=None),
                headers=list(message.headers),
                content=message.body or None,
            )
            try:
                with self._clock.fail_after(first_byte):
                    response = await transport.handle_async_request(request)
            except TimeoutError as error:
                raise self._purpose.timeout(f"{place_of(at)} did not answer within {first_byte:g} s") from error
            except httpx.HTTPError as error:
                raise _unreachable(self._purpose, at, error) from error
            try:
                yield Answer(at, response, self._purpose)
            finally:
                await response.aclose()


def redirected(at: Url, location: str, rules: UrlRules) -> Url:
    """Where a redirect leads, judged as every URL is; never from https down to http."""
    odd = rules.purpose.refusal(f"{place_of(at)} redirects to something that is no URL")
    # Joining would mend it: what is odd is refused while it is still as the server wrote it.
    if len(location) > MAX_URL or not is_plain(location):
        raise odd
    try:
        target = parse_url(location if _ABSOLUTE.match(location) else str(at.join(location)), rules)
    except httpx.InvalidURL as error:
        raise odd from error
    if at.scheme == "https" and target.scheme != "https":
        raise rules.purpose.refusal(f"{place_of(at)} redirects from https down to {target.scheme}")
    return target


def place_of(url: Url) -> str:
    """As it may be told: without its query."""
    return strip_query(str(url))


def _unreachable(purpose: Purpose, at: Url, error: Exception) -> Exception:
    return purpose.failure(f"{place_of(at)} could not be loaded", detail=str(error))
