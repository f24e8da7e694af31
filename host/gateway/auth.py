"""Who may use which plane. One policy object, asked once per request and once per upgrade.

* Control plane: the admin token, unless `dev`.
* Data plane: the same token, unless `public_actors` or `dev`.
* `dev` serves loopback without a token, so it trusts nothing that a web page could make a browser do: a `Host` that is
  not loopback is refused everywhere (DNS rebinding), and any `Origin` on the control plane.

Tokens are compared in constant time and never logged.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from host.model.errors import CallerError

__all__ = ["AuthPolicy", "subprotocol_token"]

TOKEN_PROTOCOL = "rivet_token."


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    admin_token: str | None = field(default=None, repr=False)
    public_actors: bool = False
    dev: bool = False

    def __post_init__(self) -> None:
        if not self.dev and not self.admin_token:
            raise CallerError(
                "request", "invalid", "set DORMICE_ADMIN_TOKEN, or serve loopback without a token with --dev"
            )

    @property
    def data_is_open(self) -> bool:
        return self.dev or self.public_actors

    def guard_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if self.dev and not (len(hosts) == 1 and _is_loopback(hosts[0])):
            raise _forbidden("without a token only loopback hosts are served; use localhost or 127.0.0.1")

    def guard_control(self, headers: Headers) -> None:
        self.guard_host(headers)
        if self.dev:
            if "origin" in headers:
                raise _forbidden("the control plane does not answer web pages")
            return
        self._require(_header_tokens(headers))

    def guard_data(self, headers: Headers, more_tokens: Iterable[str | None] = ()) -> None:
        """`more_tokens` are those of the path, the query or a sub-protocol."""
        self.guard_host(headers)
        if not self.data_is_open:
            self._require([*_header_tokens(headers), *(token for token in more_tokens if token)])

    def is_admin_token(self, token: str) -> bool:
        return self.admin_token is not None and hmac.compare_digest(
            token.encode("utf-8", "replace"), self.admin_token.encode("utf-8")
        )

    def _require(self, tokens: list[str]) -> None:
        if not tokens:
            raise CallerError("auth", "unauthenticated", "a token is needed: send `Authorization: Bearer …`")
        if not any(self.is_admin_token(token) for token in tokens):
            raise _forbidden("this token does not allow it")


def subprotocol_token(offered: Iterable[str]) -> str | None:
    """The token that a browser sends as a WebSocket sub-protocol, for it cannot set headers."""
    for name in offered:
        if name.startswith(TOKEN_PROTOCOL):
            return name[len(TOKEN_PROTOCOL) :]
    return None


def _header_tokens(headers: Headers) -> list[str]:
    tokens = []
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        tokens.append(value.strip())
    if given := headers.get("x-rivet-token"):
        tokens.append(given)
    return tokens


def _is_loopback(host: str) -> bool:
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.count(":") == 1 else host
    name = name.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _forbidden(message: str) -> CallerError:
    return CallerError("auth", "forbidden", message)
