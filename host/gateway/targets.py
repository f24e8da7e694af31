"""Gateway addresses: which actor a path names, and what is left of it for the actor. Pure.

    /gateway/{actorId}[@{token}]/{rest}
    /gateway/{name}[@{token}]/{rest}?rvt-method=get|getOrCreate&rvt-key=a,b&…

    /request/{rest}   /connect   /websocket/{rest}      with the actor's id in a header, or in a sub-protocol

An address with any `rvt-*` parameter is a query. Every `rvt-*` is taken out, and the session parameters too, before an
actor or a log sees the URL; what remains keeps its order and its escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import unquote, unquote_plus

from msgspec import Struct

from host.gateway.inputs import input_from_base64url
from host.gateway.namespaces import namespace_of
from host.gateway.sessions import SESSION_PARAMS
from host.model.errors import CallerError
from host.wire.keys import decode_query_key

__all__ = [
    "PREFIX",
    "DirectTarget",
    "QueryTarget",
    "Target",
    "is_named_path",
    "named_actor",
    "parse_named_target",
    "parse_target",
]

PREFIX = "/gateway/"
# What a header can send to an actor: paths that mean nothing else.
NAMED_KINDS = frozenset({"request", "connect", "websocket"})
TARGET_HEADER, ACTOR_HEADER = "x-rivet-target", "x-rivet-actor"
TARGET_PROTOCOL, ACTOR_PROTOCOL = "rivet_target.", "rivet_actor."
QUERY_PREFIX = "rvt-"


class DirectTarget(Struct, frozen=True):
    actor_id: str


class QueryTarget(Struct, frozen=True):
    """`namespace` as it was given; None leaves it to who asks."""

    method: Literal["get", "getOrCreate"]
    namespace: str | None
    name: str
    key: tuple[str, ...]
    input: bytes | None


class Target(Struct, frozen=True):
    """`kind` is the first part of what follows the actor; `rest` what follows that, still escaped, with its leading
    slash; `query` is what is left of the query string; `session` holds the session parameters, secret included: it goes
    to `sessions.comeback_of` and nowhere else."""

    actor: DirectTarget | QueryTarget
    kind: str
    rest: str
    query: str
    tokens: tuple[str, ...]
    session: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """What the actor sees as the path."""
        path = self.rest or "/"
        return f"{path}?{self.query}" if self.query else path


def parse_target(raw_path: str, query_string: str, *, max_input: int) -> Target:
    """`raw_path` is the escaped path, `PREFIX` included."""
    head, _, tail = raw_path[len(PREFIX) :].partition("/")
    name, _, token = unquote(head).partition("@")
    kind, slash, rest = tail.partition("/")
    given, session, query = _split_query(query_string)
    tokens = tuple(text for text in (token, given.get("rvt-token")) if text)
    actor: DirectTarget | QueryTarget = _query_target(name, given, max_input) if given else DirectTarget(name)
    return Target(actor, unquote(kind), slash + rest, query, tokens, session)


def is_named_path(raw_path: str) -> bool:
    """Whether a path is one that a header, or a sub-protocol, may send to an actor."""
    return raw_path[1:].partition("/")[0] in NAMED_KINDS


def named_actor(headers: Mapping[str, str], offered: Iterable[str]) -> str | None:
    """The id of the actor that headers, or the sub-protocols of a WebSocket, name; None if they send it to none."""
    target, actor_id = headers.get(TARGET_HEADER), headers.get(ACTOR_HEADER)
    for name in offered:
        if target is None and name.startswith(TARGET_PROTOCOL):
            target = name[len(TARGET_PROTOCOL) :]
        elif actor_id is None and name.startswith(ACTOR_PROTOCOL):
            actor_id = name[len(ACTOR_PROTOCOL) :]
    if target != "actor":
        return None
    if not actor_id:
        raise CallerError("request", "invalid", f"{TARGET_HEADER} says actor, but {ACTOR_HEADER} does not say which")
    return actor_id


def parse_named_target(raw_path: str, query_string: str, actor_id: str) -> Target:
    """`raw_path` is the escaped path, for which `is_named_path` holds."""
    kind, slash, rest = raw_path[1:].partition("/")
    given, session, query = _split_query(query_string)
    token = given.get("rvt-token")
    return Target(DirectTarget(actor_id), kind, slash + rest, query, (token,) if token else (), session)


def _split_query(query_string: str) -> tuple[dict[str, str], tuple[tuple[str, str], ...], str]:
    given: dict[str, str] = {}
    session: list[tuple[str, str]] = []
    kept: list[str] = []
    for piece in query_string.split("&"):
        raw_name, _, raw_value = piece.partition("=")
        name = unquote_plus(raw_name)
        if name.startswith(QUERY_PREFIX):
            if name in given:
                raise CallerError("guard", "query_duplicate_param", f"the parameter {name!r} is there twice")
            given[name] = unquote_plus(raw_value)
        elif name in SESSION_PARAMS:
            session.append((name, unquote_plus(raw_value)))
        else:
            kept.append(piece)
    return given, tuple(session), "&".join(kept)


def _query_target(name: str, given: dict[str, str], max_input: int) -> QueryTarget:
    method = given.get("rvt-method")
    if method is None:
        raise CallerError("guard", "query_missing_param", "rvt-method is missing: get or getOrCreate")
    if method not in ("get", "getOrCreate"):
        raise CallerError("guard", "query_invalid_param", "rvt-method is get or getOrCreate")
    if not name:
        raise CallerError("actor", "empty_name", "the path has no actor name")
    given_namespace = given.get("rvt-namespace")
    namespace = None if given_namespace is None else namespace_of(given_namespace)
    text = given.get("rvt-input")
    if text is not None and method == "get":
        raise CallerError("guard", "query_invalid_param", "rvt-input goes with rvt-method=getOrCreate only")
    value = None if text is None else input_from_base64url(text, max_input)
    key = decode_query_key(given.get("rvt-key"))
    return QueryTarget("get" if method == "get" else "getOrCreate", namespace, name, key, value)
