"""The only messages that travel between gateway and actor, in both directions. Never an object of the other side.

Today both sit in one process; the messages would cross a socket unchanged.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from host.model.errors import ErrorInfo
from host.model.roles import Role

__all__ = [
    "ActionCall",
    "ActionReply",
    "AuthCall",
    "AuthReply",
    "AuthKind",
    "ActionRequest",
    "HttpCall",
    "HttpReply",
    "Opened",
    "SocketClosed",
    "SocketMessage",
    "SocketProtocol",
    "Visitor",
    "Subscription",
]

AuthKind = Literal["action", "request", "socket", "connect"]


# Nothing for a raw socket, else the encoding in which a /connect socket speaks.
SocketProtocol = Literal["", "json", "cbor", "bare"]


class Opened(Struct, frozen=True):
    """A WebSocket that the gateway holds and wants delivered. `path` includes the query string; `params` is a
    Value; `headers` is already cut to the allow-list. `session` is the hash of the secret with which its client can
    come back, or None for a plain connection. `tenant` is empty where the gateway does not know it. `token_id` names
    the stored token that let it in, if one did. `protocol` is empty for a raw socket, or the encoding (json, cbor,
    bare) in which a /connect socket speaks. `auth` is what the actor's auth hook made of the client, a Value; None if
    it was not asked. `actions` are those that the client's token is bound to; None is no bound."""

    actor_id: str
    conn_id: str
    gateway_id: str
    request_id: str
    path: str
    headers: tuple[tuple[str, str], ...]
    params: bytes | None
    at: int
    session: bytes | None = None
    tenant: str = ""
    token_id: str = ""
    protocol: SocketProtocol = ""
    auth: bytes | None = None
    actions: tuple[str, ...] | None = None


class ActionRequest(Struct, frozen=True):
    """A call over a /connect socket. `id` is the client's, 64 bits unsigned; `args` is a Value: a JSON array."""

    id: int
    name: str
    args: bytes


class Subscription(Struct, frozen=True):
    """A client of a /connect socket wants the events of this name from now on, or no longer."""

    event: str
    on: bool


class SocketMessage(Struct, frozen=True):
    """One message from a client: of a raw socket, text as str and binary as bytes; of a /connect socket, decoded.
    `index` starts at 1."""

    actor_id: str
    conn_id: str
    index: int
    data: str | bytes | ActionRequest | Subscription


class SocketClosed(Struct, frozen=True):
    """The client is gone; `clean` is true when it sent a close frame."""

    actor_id: str
    conn_id: str
    code: int
    reason: str
    clean: bool


class Visitor(Struct, frozen=True):
    """A client, as an actor's auth hook gets to know it: `role` and `claims` (a Value) are what the host has made sure
    of, `headers` (without what is for the host) and `params` (a Value) what the client says."""

    role: Role
    headers: tuple[tuple[str, str], ...] = ()
    params: bytes | None = None
    claims: bytes | None = None


class AuthCall(Struct, frozen=True):
    """Asks the auth hook about a client that wants something: an action by its `name`, a request or a socket by
    `method` and `path`."""

    actor_id: str
    kind: AuthKind
    visitor: Visitor
    ray: str
    name: str = ""
    method: str = ""
    path: str = ""


class AuthReply(Struct, frozen=True):
    """`data` is a Value, for the handler; or `error` is set, and the client is refused."""

    data: bytes = b"null"
    error: ErrorInfo | None = None


class ActionCall(Struct, frozen=True):
    """`args` is a Value: a JSON array, as UTF-8. Of a call by another actor `caller` and `caller_name` are its id and
    name, `depth` the calls from actor to actor that led to it, and `chain` the ids of those that wait for it; from
    outside they are empty and 0. `params` is a Value too: what a client over HTTP gave as parameters of the connection
    that it does not have, or None. `auth` is what the auth hook made of the caller, a Value; None if it was not
    asked."""

    actor_id: str
    name: str
    args: bytes
    ray: str
    depth: int = 0
    caller: str = ""
    caller_name: str = ""
    chain: tuple[str, ...] = ()
    params: bytes | None = None
    auth: bytes | None = None


class ActionReply(Struct, frozen=True):
    """`output` is a Value, or `error` is set."""

    output: bytes = b"null"
    error: ErrorInfo | None = None


class HttpCall(Struct, frozen=True):
    """`params` is as it is for an `ActionCall`."""

    actor_id: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ray: str
    params: bytes | None = None
    auth: bytes | None = None


class HttpReply(Struct, frozen=True):
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error: ErrorInfo | None = None
