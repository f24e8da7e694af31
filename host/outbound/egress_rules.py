"""Where the actors of a definition may send requests: the patterns of its options, read once."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from host.model.definitions import EgressOptions
from host.model.errors import CallerError
from host.outbound.purpose import ACTOR_FETCH
from host.outbound.url_rules import HostPattern, UrlRules, parse_host

__all__ = ["FORBIDDEN_METHODS", "EgressRules", "check_egress", "read_egress"]

# Every public host, by name.
ANY_HOST = "*"
MAX_HOSTS = 100
# A tunnel, and two that only show a request as it came.
FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
_METHOD = re.compile(r"[A-Z]{1,32}\Z")


class EgressRules(Struct, frozen=True):
    """`methods` None means every one that is not forbidden."""

    urls: UrlRules
    methods: frozenset[str] | None = None


def check_egress(options: EgressOptions) -> None:
    """Raises `definition/invalid_options` for what can never match."""
    if not options.hosts:
        raise _invalid("hosts is empty; leave egress out if its actors are to reach nothing")
    if len(options.hosts) > MAX_HOSTS:
        raise _invalid(f"there are {len(options.hosts)} hosts; allowed: {MAX_HOSTS}")
    for host in options.hosts:
        _pattern(host)
    for method in options.methods or ():
        if not _METHOD.match(method) or method in FORBIDDEN_METHODS:
            raise _invalid(f"{method[:40]!r} is no method that an actor may use")
    if options.methods is not None and not options.methods:
        raise _invalid("methods is empty; leave it out to allow all")


@lru_cache(maxsize=1_024)
def read_egress(options: EgressOptions, allow_private: bool) -> EgressRules:
    """`allow_private` is the development setting of the host."""
    patterns = tuple(pattern for host in options.hosts if (pattern := _pattern(host)) is not None)
    anywhere = ANY_HOST in options.hosts
    methods = None if options.methods is None else frozenset(options.methods)
    return EgressRules(UrlRules(allow_private, () if anywhere else patterns, ACTOR_FETCH), methods)


def _pattern(host: str) -> HostPattern | None:
    if host == ANY_HOST:
        return None
    try:
        return parse_host(host)
    except CallerError:
        raise _invalid(f"{host[:80]!r} is no host, *.host or host:port") from None


def _invalid(message: str) -> CallerError:
    return CallerError("definition", "invalid_options", f"egress: {message}")
