"""Who is asking, and may they: one policy object, asked once per request and once per upgrade.

* Whoever brings one of the host's own tokens is what that token says, on both planes and in every mode; one that is
  wrong, expired or revoked is refused even where none is needed.
* Otherwise a resolver, if the program that embeds the host gave one, says who it is.
* Otherwise nobody is asking: that is enough for the data plane under `public_actors`, and for everything under `dev`.

`dev` serves loopback without a token, so it trusts nothing that a web page could make a browser do: a `Host` that is
not loopback is refused everywhere (DNS rebinding), and any `Origin` on the control plane. What a resolver finds may be
in a cookie, which a browser sends for any page: then the page has to be of this origin, or of one that was named.

A route needs a scope, and a caller has scopes. What the caller lacks, and why a token is refused, is in the log alone:
every refusal of a token looks the same. Tokens are compared in constant time and never logged.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.datastructures import Headers

from host.gateway.connection_tokens import BadToken
from host.gateway.namespaces import namespace_of
from host.gateway.tokens import Tokens, is_token
from host.model.errors import CallerError, InternalError
from host.model.identity import ADMIN, NOBODY, SCOPES, Identity, Scope

__all__ = [
    "AuthPolicy",
    "Need",
    "Resolver",
    "guard_action",
    "guard_key",
    "subprotocol_token",
    "tenant_of",
]

TOKEN_PROTOCOL = "rivet_token."

# What a route needs: a scope; `tenant` for any tenant token; `admin` for what is the operator's alone.
Need = Scope | Literal["tenant", "admin"]

# Takes an ASGI scope; None leaves the caller unknown, PermissionError refuses it.
Resolver = Callable[[Mapping[str, Any]], Awaitable[Identity | None]]

_PUBLIC = Identity("anonymous", scopes=("connect",))
_DEV = Identity("anonymous", scopes=SCOPES)


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """`origins` are those of pages that may use what a resolver finds, besides those of the host's own origin."""

    admin_token: str | None = field(default=None, repr=False)
    public_actors: bool = False
    dev: bool = False
    resolver: Resolver | None = None
    origins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.dev and not self.admin_token:
            raise CallerError(
                "request", "invalid", "set DORMICE_ADMIN_TOKEN, or serve loopback without a token with --dev"
            )

    def guard_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if self.dev and not (len(hosts) == 1 and _is_loopback(hosts[0])):
            raise _forbidden("without a token only loopback hosts are served; use localhost or 127.0.0.1")

    def guard_control(self, headers: Headers) -> None:
        if self.dev and "origin" in headers:
            raise _forbidden("the control plane does not answer web pages")

    async def identify(
        self, scope: Mapping[str, Any], tokens: Tokens, more_tokens: Iterable[str | None] = ()
    ) -> Identity:
        """The caller; `more_tokens` are those of the path, the query or a sub-protocol. Raises for a bad token."""
        headers = Headers(raw=list(scope["headers"]))
        given = [*_header_tokens(headers), *(token for token in more_tokens if token)]
        reason = ""
        for token in given:
            if self.is_admin_token(token):
                return ADMIN
            if is_token(token):
                try:
                    return await tokens.identify(token)
                except BadToken as error:
                    reason = str(error)
        if reason:
            raise _forbidden(detail=reason)
        if self.resolver is not None:
            found = await self._resolved(scope, headers)
            if found is not None:
                return found
        elif self.dev:
            return _DEV
        if self.public_actors:
            return _PUBLIC
        if given:
            raise _forbidden(detail="unknown")
        return NOBODY

    def require(self, identity: Identity, need: Need) -> None:
        """D9: a caller does what it was allowed to, and nothing else."""
        if identity.role == "admin" or identity is _DEV:
            return
        if need == "tenant":
            allowed = identity.role == "tenant"
        else:
            allowed = need in identity.scopes
        if not allowed and identity.role == "anonymous" and identity.tenant is None:
            raise CallerError("auth", "unauthenticated", "a token is needed: send `Authorization: Bearer …`")
        if not allowed:
            raise _forbidden(detail=f"the route needs {need}")

    def is_admin_token(self, token: str) -> bool:
        return self.admin_token is not None and hmac.compare_digest(
            token.encode("utf-8", "replace"), self.admin_token.encode("utf-8")
        )

    def for_the_actor(self, authorization: str) -> bool:
        """Whether an actor may see the header: an application may authorise its users itself. Never what is for the
        host, or for the application around it."""
        _, _, token = authorization.partition(" ")
        token = token.strip()
        return self.resolver is None and not is_token(token) and not self.is_admin_token(token)

    async def _resolved(self, scope: Mapping[str, Any], headers: Headers) -> Identity | None:
        assert self.resolver is not None
        try:
            found = await self.resolver(scope)
        except PermissionError:
            raise _forbidden(detail="the resolver refused") from None
        if found is None:
            return None
        if not isinstance(found, Identity):
            raise InternalError(f"the resolver returned a {type(found).__name__}, not an Identity")
        if found.tenant is None and found.role != "admin":
            raise InternalError(f"the resolver returned an identity of role {found.role} without a tenant")
        if found.tenant is not None:
            namespace_of(found.tenant)
        if not self._is_asked_by_own(headers):
            raise _forbidden("pages of this origin may not use the session", detail="origin")
        return found

    def _is_asked_by_own(self, headers: Headers) -> bool:
        """Whether a browser, if it is one, asks for a page that may use a session. It names the page's origin but for
        plain GETs; then it says whether that is of another site. Following a link is the user's own doing."""
        origin = headers.get("origin")
        if origin is not None:
            return self._is_own(origin, headers)
        return headers.get("sec-fetch-site") != "cross-site" or headers.get("sec-fetch-mode") == "navigate"

    def _is_own(self, origin: str, headers: Headers) -> bool:
        """The scheme is left out of it: a proxy in front may have taken TLS off."""
        scheme, _, host = origin.partition("://")
        return origin in self.origins or (
            scheme in ("http", "https") and host.lower() == headers.get("host", "").lower() != ""
        )


def tenant_of(identity: Identity, given: str | None) -> str:
    """The namespace that a request is about: the caller's own if it names none. A foreign one is refused whether there
    is such a namespace or not."""
    if given is None and identity.tenant is not None:
        return identity.tenant
    tenant = namespace_of(given)
    if identity.tenant not in (None, tenant):
        raise _forbidden(detail="another namespace")
    return tenant


def guard_key(identity: Identity, name: str, key: tuple[str, ...], *, creates: bool) -> None:
    """Before an actor is looked up, or made, by its key: a token that is bound to an id makes none."""
    bounds = identity.bounds
    if not bounds.fit_key(name, key) or (creates and bounds.actor_id is not None):
        raise _forbidden(detail="bounds of the token")


def guard_action(identity: Identity, action: str | None) -> None:
    """`action` is None for what is no action: a token that is bound to actions does nothing else."""
    if identity.bounds.actions is not None and (action is None or not identity.may_act(action)):
        raise _forbidden(detail="bounds of the token")


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


def _forbidden(message: str = "this token does not allow it", *, detail: str | None = None) -> CallerError:
    return CallerError("auth", "forbidden", message, detail=detail)
