"""The HTTP transport that connects only where the address guard allows.

It sits below redirects and TLS: every connection of a fetch, whatever led to it, passes `GuardedNetwork`. The name in
the URL stays the `Host` header, the SNI and the name that the certificate is checked against; only the connection
goes to the checked address. Proxies of the environment are never used.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any

import httpcore
import httpx

from host.outbound.address_guard import AddressGuard

__all__ = ["GuardedNetwork", "GuardedTransport", "Network"]

# What opens connections to addresses.
Network = httpcore.AsyncNetworkBackend

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """TCP connections to checked addresses, tried in the resolver's order."""

    def __init__(self, guard: AddressGuard, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._network = network if network is not None else httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: httpcore.ConnectError | None = None
        for address in await self._guard.addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure if failure is not None else httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("unix sockets are not reachable from URLs")


class GuardedTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 for one fetch: its connections are closed with it."""

    def __init__(
        self, guard: AddressGuard, ssl_context: ssl.SSLContext, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context, max_connections=1, network_backend=GuardedNetwork(guard, network)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            response = await self._pool.handle_async_request(
                httpcore.Request(request.method, url, headers=request.headers.raw, content=request.stream)
            )
        except _FAILURES as error:
            raise httpx.NetworkError(_told(error)) from error
        assert not isinstance(response.stream, bytes)
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except _FAILURES as error:
            raise httpx.NetworkError(_told(error)) from error

    async def aclose(self) -> None:
        await self._response.aclose()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
