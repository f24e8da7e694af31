"""Calls that complete later: what a turn asks for, on whose behalf it is carried out, and how it ended.

A call is an effect: it starts after the commit of its turn. Who makes it is never a field of the call: that is the
`Caller`, which the host binds to the isolate (D9).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from host.model.definitions import EgressOptions
from host.model.errors import ErrorInfo
from host.model.limits import Limits

__all__ = ["CallOutcome", "Caller", "DeferredCall", "FetchCall", "PeerCall", "PeerMethod", "RedirectMode"]

PeerMethod = Literal["get", "getOrCreate", "create"]
RedirectMode = Literal["follow", "error", "manual"]


class PeerCall(Struct, frozen=True):
    """An action of another actor of the same tenant: of the one of `name` and `key`, found or made as `method` says,
    or of the one whose id `actor` is. Without `action` it only resolves. `args` and `input` are Values; `timeout` is in
    ms, None for the limit."""

    call: int
    name: str
    key: tuple[str, ...]
    method: PeerMethod
    action: str | None
    args: bytes
    input: bytes | None = None
    actor: str | None = None
    timeout: int | None = None

    @property
    def size(self) -> int:
        """Raw bytes that wait with it."""
        return len(self.args) + (0 if self.input is None else len(self.input))


class FetchCall(Struct, frozen=True):
    """An HTTP request to the outside; `timeout` is in ms, None for the limit."""

    call: int
    url: str
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    redirect: RedirectMode = "follow"
    timeout: int | None = None

    @property
    def size(self) -> int:
        return len(self.url) + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


DeferredCall = PeerCall | FetchCall


class Caller(Struct, frozen=True):
    """Whose call it is. `depth` counts the calls from actor to actor that led to it, this one included; `egress` is
    what its definition allows, `chain` are the actors that wait for it, this one the last."""

    tenant: str
    actor_id: str
    name: str
    key: tuple[str, ...]
    depth: int
    limits: Limits
    egress: EgressOptions | None = None
    chain: tuple[str, ...] = ()


class CallOutcome(Struct, frozen=True):
    """`result` is JSON, or `error` is set; `body` goes beside a result."""

    result: bytes = b"null"
    error: ErrorInfo | None = None
    body: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.result) + (0 if self.body is None else len(self.body))
