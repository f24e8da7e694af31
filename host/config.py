"""Settings of a node: flags and `DORMICE_*` variables, no configuration file. Checked here, once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from host.model.errors import CallerError
from host.model.failpoints import parse_failpoint
from host.model.limits import Limits
from host.outbound.url_rules import HostPattern
from host.placement.reserve import parse_reserve

__all__ = ["Settings", "admin_token", "client_token", "failpoint", "is_loopback"]

DEFAULT_PORT = 6420


@dataclass(frozen=True, slots=True)
class Settings:
    """`admin_token` comes from the environment only, so that it is in no process list. `profile` is the engine's: dense
    packs more isolates into one process at some cost in speed. `egress_hosts` bounds what definitions can open to their
    actors: None for every public host, none at all for (). `images`: a js module's top level is kept as an image
    that its actors start from; without, each start runs it. `memory_reserve` is what idle actors are put to sleep
    for: a share of the memory, or bytes; 0 is nothing. `drain_seconds` bounds a graceful shutdown. `failpoint` is for
    tests of crashes: where the node kills itself, in the form of `parse_failpoint`."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    dev: bool = False
    public_actors: bool = False
    allow_private_urls: bool = False
    url_hosts: tuple[HostPattern, ...] = ()
    egress_hosts: tuple[HostPattern, ...] | None = None
    admin_token: str | None = field(default=None, repr=False)
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    profile: Literal["default", "dense"] = "default"
    threads: int | None = None
    images: bool = True
    drain_seconds: float = 20.0
    failpoint: str | None = None
    memory_reserve: str = "10%"
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raises `request/invalid` when the node must not start like this."""
        if not 0 <= self.port <= 65_535:
            raise CallerError("request", "invalid", f"port {self.port} is not a port; 0 to 65535")
        if self.dev and not is_loopback(self.host):
            raise CallerError("request", "invalid", "--dev runs without a token, so it needs a loopback --host")
        parse_reserve(self.memory_reserve)
        if self.failpoint is not None:
            parse_failpoint(self.failpoint)
        if not self.dev and not self.admin_token:
            raise CallerError(
                "request",
                "invalid",
                "set DORMICE_ADMIN_TOKEN (the control plane requires it), or give --dev on a loopback address",
            )
        if self.admin_token is not None and len(self.admin_token) < 16:
            raise CallerError(
                "request", "invalid", "DORMICE_ADMIN_TOKEN has fewer than 16 characters; use a longer one"
            )


def admin_token(environ: Mapping[str, str] = os.environ) -> str | None:
    return environ.get("DORMICE_ADMIN_TOKEN") or None


def client_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """For commands that talk to a host: a token of a tenant, or else the admin's."""
    return environ.get("DORMICE_TOKEN") or admin_token(environ)


def failpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    return environ.get("DORMICE_FAILPOINT") or None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
