"""A host inside a program: `async with Host(data_dir, definitions={...}) as host`.

Everything of a node but the HTTP server, in the program's own event loop (asyncio, or anyio on it). Definitions are
what the program brings itself: classes of actors, which it trusts, and loaders, which name a module for each actor.
`asgi()` is the application of both planes, to serve or to mount. A wrong argument is told before anything is opened.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypedDict, Unpack

import anyio

from host.actor.registry import Registered
from host.client.client import Client
from host.client.inside import INSIDE, inside
from host.config import Settings
from host.gateway.app import GatewayApp
from host.gateway.auth import Resolver
from host.gateway.in_process import InProcess
from host.model.definitions import EgressOptions
from host.model.egress import EgressFunction
from host.model.errors import CallerError
from host.model.limits import Limits, limits_with
from host.model.sources import Dynamic, Loader
from host.node import Node, open_node
from host.outbound.egress import ALL_DEFINITIONS
from host.outbound.egress_rules import check_egress
from host.outbound.url_rules import HostPattern
from host.static.actor import Actor
from host.static.spec import spec_of
from host.wire.frames.encoding import DEFAULT_ENCODING, Encoding

__all__ = ["Host", "HostSettings", "Source"]

# What actors of a name are made of.
Source = type[Actor] | Loader | Dynamic

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class HostSettings(TypedDict, total=False):
    """As in `host.config.Settings`, but for what belongs to a server, a command line, or the logs of a process."""

    allow_private_urls: bool
    url_hosts: tuple[HostPattern, ...]
    egress_hosts: tuple[HostPattern, ...] | None
    profile: Literal["default", "dense"]
    threads: int | None
    images: bool
    drain_seconds: float
    memory_reserve: str
    limits: Limits


class Host:
    """Entered once. `admin_token` opens both planes; with `public_actors` the data plane needs none; `dev` is for
    loopback without a token. Without any of these nobody is let in but by a resolver (`asgi`) and by tokens of tenants,
    and the program itself (`client`). `egress` is a function that every request of actors to the outside goes through,
    or one for each definition that is to have one."""

    def __init__(
        self,
        data_dir: str | PathLike[str],
        *,
        definitions: Mapping[str, Source] | None = None,
        egress: EgressFunction | Mapping[str, EgressFunction] | None = None,
        admin_token: str | None = None,
        public_actors: bool = False,
        dev: bool = False,
        **settings: Unpack[HostSettings],
    ) -> None:
        if unknown := sorted(set(settings) - set(HostSettings.__annotations__)):
            raise TypeError(f"Host has no setting {unknown[0]!r}; it has {', '.join(HostSettings.__annotations__)}")
        if not isinstance(data_dir, str | PathLike):
            raise TypeError(f"data_dir is a path, not a {type(data_dir).__name__}")
        if admin_token is None:
            admin_token = secrets.token_urlsafe(32)  # which nobody knows
        self._settings = Settings(
            Path(data_dir), admin_token=admin_token, public_actors=public_actors, dev=dev, **settings
        )
        self._settings.check()
        limits = self._settings.limits
        self._registered = {name: _registered(name, given, limits) for name, given in (definitions or {}).items()}
        self._egress = _functions(egress)
        self._stack: AsyncExitStack | None = None
        self._node: Node | None = None
        self._inside: InProcess | None = None

    async def __aenter__(self) -> Host:
        if self._stack is not None:
            raise RuntimeError("this Host was entered before; make another one")
        self._stack = AsyncExitStack()
        self._node = await self._stack.enter_async_context(
            open_node(self._settings, registered=self._registered, egress=self._egress)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts every actor to sleep, within `drain_seconds`, also if the program is being cancelled; then closes."""
        assert self._stack is not None
        node, self._node = self._node, None
        try:
            if node is not None:
                with anyio.CancelScope(shield=True):
                    await node.drain()
        finally:
            await self._close(kind, error, trace)

    async def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An error of the program comes out as it is, not in a group of the tasks that the host ran beside it."""
        assert self._stack is not None
        try:
            await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if error is None or any(leaf is not error for leaf in _leaves(group)):
                raise

    def asgi(self, *, resolver: Resolver | None = None, origins: Iterable[str] = ()) -> GatewayApp:
        """The application, while the host is open. It needs no lifespan of its own.

        `resolver` takes the ASGI scope of a request or an upgrade and returns who is asking, as the program knows its
        users (`host.caller`), or None for nobody; PermissionError refuses. It is asked unless one of the host's own
        tokens says it, and with one nothing is open by `dev`. As it may look at cookies, which browsers send for any
        page, only pages of the same origin, and of `origins` ("https://app.example.com"), may use what it finds."""
        app = self._open().app
        return app if resolver is None else app.resolving(resolver, origins)

    def client(self, *, namespace: str = "default", encoding: Encoding = DEFAULT_ENCODING) -> Client:
        """A client of this host for the program itself, which may do everything in the namespace: no port, no server
        and no token, for sockets either. It ends with the host."""
        return Client(
            INSIDE,
            token=self._settings.admin_token,
            namespace=namespace,
            encoding=encoding,
            transport=inside(self._open().app),
            way=self._in_process().dial,
        )

    def _in_process(self) -> InProcess:
        if self._inside is None:
            self._inside = InProcess(self._open().app, self._settings.limits)
        return self._inside

    def _open(self) -> Node:
        if self._node is None:
            raise RuntimeError("the host is not open: ask for its application inside of `async with host`")
        return self._node


def _check_egress(name: str, egress: EgressOptions | None) -> None:
    try:
        if egress is not None:
            check_egress(egress)
    except CallerError as error:
        raise ValueError(f"definitions[{name!r}]: {error.message}") from None


def _functions(given: Any) -> dict[str, EgressFunction]:
    """By the name of the definition; one function stands in the way of all."""
    found = given if isinstance(given, Mapping) else {} if given is None else {ALL_DEFINITIONS: given}
    for name, function in found.items():
        if not callable(function):
            raise TypeError(f"egress[{name!r}] is a {type(function).__name__}; give an async function")
    return dict(found)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _leaves(each)]


def _registered(name: str, given: Any, limits: Limits) -> Registered:
    """What the registry takes; raises for what it cannot, by the name that it was given under."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"{name!r} is no name for a definition: 1 to 64 of A-Z a-z 0-9 _ . -")
    if isinstance(given, Dynamic):
        try:
            limits_with(dict(given.limits), limits)
        except CallerError as error:
            raise ValueError(f"definitions[{name!r}]: {error.message}") from None
        _check_egress(name, given.options.egress)
        return given
    if isinstance(given, type):
        try:
            spec = spec_of(given)
        except TypeError as error:
            raise TypeError(f"definitions[{name!r}]: {error}") from None
        _check_egress(name, spec.actor.egress)
        return spec
    if callable(given):
        return Dynamic(given)
    raise TypeError(
        f"definitions[{name!r}] is a {type(given).__name__}; give a subclass of Actor, "
        "an async function that returns a ModuleSource, or Dynamic(function)"
    )
