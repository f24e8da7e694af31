"""The one place that decides which addresses a tenant's URL may reach.

A tenant chooses the URL and may run the name server behind it, so names prove nothing: a host is resolved once, every
address of the answer is checked, and the connection goes to a checked address, never to the name again. One address
that is not public refuses the whole answer: an honest name does not mix.

Addresses are judged by what they reach: an IPv4 address inside IPv6 (mapped, NAT64) by the IPv4 address; the forms
whose target cannot be known (6to4, Teredo, local NAT64) are refused. Spellings (`127.1`, `0x7f000001`) do not matter,
for it is the resolver's answer that is judged.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import anyio

from host.outbound.purpose import MODULE_LOAD, Purpose

__all__ = ["AddressGuard", "Resolve", "refusal", "resolve_host"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# What the registries of special-purpose addresses set apart; 168.63.129.16 is a cloud's metadata service on a public
# address.
_REFUSED_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# Inside global unicast only. Everything outside of it is refused as a whole.
_REFUSED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("2001::/23", "reserved (Teredo and other protocols)"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "documentation"),
    )
)
_NAMED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)


def refusal(address: str) -> str | None:
    """Why an address may not be reached, or None for a public one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(parsed, IPv4Address):
        return _refusal_v4(parsed)
    if parsed.scope_id is not None:
        return "link-local"
    return _refusal_v6(parsed)


def _refusal_v4(address: IPv4Address) -> str | None:
    return next((reason for network, reason in _REFUSED_V4 if address in network), None)


def _refusal_v6(address: IPv6Address) -> str | None:
    if address in _MAPPED or address in _NAT64:
        return _refusal_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL_UNICAST:
        return next((reason for network, reason in _NAMED_V6 if address in network), "reserved")
    return next((reason for network, reason in _REFUSED_V6 if address in network), None)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The system's answer, in its order, without repetitions."""
    answer = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in answer))


class AddressGuard:
    """`allow_private` (a development setting) lets every address pass; resolving once stays."""

    def __init__(
        self, *, allow_private: bool = False, resolve: Resolve = resolve_host, purpose: Purpose = MODULE_LOAD
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._purpose = purpose

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of `host` that may be connected to; raises if it has none, or one that may not be reached."""
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise self._purpose.failure(f"the host {host!r} cannot be resolved", detail=str(error)) from error
        if not found:
            raise self._purpose.failure(f"the host {host!r} has no address")
        if self._allow_private:
            return found
        for address in found:
            reason = refusal(address)
            if reason is not None:
                # the address itself stays in the log: it would tell strangers about the network inside
                raise self._purpose.refusal(
                    f"the host {host!r} is not on the public Internet; {self._purpose.private}",
                    detail=f"{host} resolves to {address}: {reason}",
                )
        return found
