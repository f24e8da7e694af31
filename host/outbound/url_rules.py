"""What the text of a URL that a tenant chose must be, before any name is looked up.

One spelling for one place: parsers disagree about everything else (a backslash, a percent-encoded host, `0x7f.1`, a
dot at the end, digits of another script, a zone), and where two parsers disagree a check can be walked around. So the
host is a plain name of the public Internet or an address in its canonical form, https on port 443, without credentials;
the operator may allow certain hosts only, and name another port with them. Addresses are judged after resolution, in
`address_guard.py`.

For development (`--allow-private-urls`) http, any port and names like `localhost` pass; spellings do not.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import httpx
from msgspec import Struct

from host.model.errors import CallerError, DormiceError
from host.outbound.purpose import MODULE_LOAD, Purpose
from host.telemetry.redact import strip_query

__all__ = [
    "ANY_PUBLIC",
    "MAX_URL",
    "HostPattern",
    "Url",
    "UrlRules",
    "is_plain",
    "parse_host",
    "parse_hosts",
    "parse_url",
]

Url = httpx.URL
MAX_URL = 8 * 1024
HTTPS_PORT = 443
_PORTS = {"http": 80, "https": HTTPS_PORT}

_PLAIN = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash
_HEAD = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]*\]|[0-9a-z.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?", re.IGNORECASE)
_LABEL = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?")
# Whoever reads addresses leniently takes a name whose last label is one of these for a number.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class HostPattern(Struct, frozen=True):
    """A host that may be reached: the name itself, or with `below` every name under it. `port` besides 443."""

    name: str
    below: bool = False
    port: int | None = None

    def names(self, host: str) -> bool:
        return host.endswith("." + self.name) if self.below else host == self.name

    def allows(self, host: str, port: int) -> bool:
        return self.names(host) and port == (HTTPS_PORT if self.port is None else self.port)


class UrlRules(Struct, frozen=True):
    """`hosts` empty means every public host. With `allow_private` the ports of patterns do not matter."""

    allow_private: bool = False
    hosts: tuple[HostPattern, ...] = ()
    purpose: Purpose = MODULE_LOAD

    def check(self, scheme: str, host: str, port: int) -> None:
        """Raises the purpose's refusal for a place that the settings do not allow."""
        if self.allow_private:
            if self.hosts and not any(each.names(host) for each in self.hosts):
                raise self._not_listed(host)
            return
        if scheme != "https":
            raise self.purpose.refusal(
                f"{self.purpose.what} an https URL, not {scheme}; a host for development, started with "
                "--allow-private-urls, takes http too"
            )
        if self.hosts:
            if not any(each.allows(host, port) for each in self.hosts):
                raise self._not_listed(host if port == HTTPS_PORT else f"{host}:{port}")
        elif port != HTTPS_PORT:
            raise self.purpose.refusal(f"the URL names port {port}; allowed: {HTTPS_PORT}")
        if "." not in host and ":" not in host:
            raise self.purpose.refusal(f"{host!r} is no name of the public Internet")

    def _not_listed(self, place: str) -> DormiceError:
        return self.purpose.refusal(f"{place!r} {self.purpose.unlisted}")


ANY_PUBLIC = UrlRules()


def parse_hosts(text: str) -> tuple[HostPattern, ...]:
    """`a.example,*.b.example,c.example:8443`; raises `request/invalid` for what can never match."""
    return tuple(parse_host(item) for item in filter(None, (part.strip() for part in text.split(","))))


def parse_host(text: str) -> HostPattern:
    """One of them."""
    item = text.lower()
    below = item.startswith("*.")
    matched = _AUTHORITY.fullmatch(item[2:] if below else item)
    if matched is None or _spelling(matched["host"]) is not None or not _is_port(matched["port"]):
        raise CallerError("request", "invalid", f"hosts: {item[:80]!r} is no host, *.host or host:port")
    return HostPattern(_bare(matched["host"]), below, int(matched["port"]) if matched["port"] else None)


def is_plain(text: str) -> bool:
    """Printable ASCII without blanks and backslashes: what every parser reads alike."""
    return _PLAIN.fullmatch(text) is not None


def parse_url(text: str, rules: UrlRules = ANY_PUBLIC) -> Url:
    """A URL that may be fetched as far as its text tells, or the refusal of the rules' purpose."""
    refused = rules.purpose.refusal
    if len(text) > MAX_URL:
        raise refused(f"the URL has {len(text)} characters; allowed: {MAX_URL}")
    shown = repr(strip_query(text)[:200])
    if not is_plain(text):
        raise refused(
            f"not a URL: {shown}; it is printable ASCII: percent-encode the path, write the host in its xn-- form"
        )
    head = _HEAD.match(text)
    scheme = head["scheme"].lower() if head is not None else ""
    if head is None or scheme not in _PORTS:
        raise refused(f"{rules.purpose.what} an https URL, not {shown[:80]}")
    if "@" in head["authority"]:
        raise refused("a URL with a user name or password in it is not fetched")
    authority = _AUTHORITY.fullmatch(head["authority"])
    if authority is None or not _is_port(authority["port"]):
        raise refused(f"the URL names no host, or no port from 1 to 65535: {shown}")
    host = authority["host"].lower()
    wrong = _spelling(host)
    if wrong is not None:
        raise refused(f"the host {host[:80]!r} {wrong}")
    port = int(authority["port"] or _PORTS[scheme])
    rules.check(scheme, _bare(host), port)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise refused(f"not a URL: {shown}") from error
    read = (url.scheme, url.raw_host, url.port or _PORTS[scheme], url.userinfo)
    if read != (scheme, _bare(host).encode(), port, b""):
        raise refused(f"not a URL that can be read in one way only: {shown}")
    return url


def _is_port(digits: str | None) -> bool:
    return digits is None or int(digits) < 65_536


def _bare(host: str) -> str:
    return host.strip("[]")


def _spelling(host: str) -> str | None:
    """What is wrong with how a host is written, if anything is."""
    if host.startswith("["):
        try:
            canonical = str(IPv6Address(_bare(host)))
        except AddressValueError:
            return "is no IPv6 address"
        return None if _bare(host) == canonical else f"is written [{canonical}]"
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return None if str(IPv4Address(host)) == host else "is no IPv4 address"
        except AddressValueError:
            return "is no name; an IPv4 address is four decimal numbers"
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "is no host name: labels of letters, digits and '-', without a dot at the end"
    return None
