"""Which host a command talks to, and how it runs: options that all client commands share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import anyio
import typer

from host.cli.failures import report
from host.client.client import DEFAULT_ENDPOINT, Client
from host.config import client_token

__all__ = ["Endpoint", "Key", "Namespace", "choose_token", "run", "with_host"]

T = TypeVar("T")

Endpoint = Annotated[str, typer.Option("--endpoint", envvar="DORMICE_ENDPOINT", help="The host to talk to.")]
Namespace = Annotated[str, typer.Option("--namespace", envvar="DORMICE_NAMESPACE", help="The tenant's namespace.")]
Key = Annotated[
    str, typer.Argument(help="The actor's key: parts joined by '/' ('\\/' is a slash in a part, '/' the empty key).")
]

DEFAULT = DEFAULT_ENDPOINT


_chosen: str | None = None


def choose_token(token: str | None) -> None:
    global _chosen
    _chosen = token


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Runs a command's coroutine; an error becomes its line on stderr and exit code 1."""
    try:
        return anyio.run(work)
    except Exception as error:  # noqa: BLE001 - told as one line, whatever it is
        report(error)
        raise typer.Exit(1) from None


def with_host(endpoint: str, namespace: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """The same with a client. The token is that of `dormice --token`, or else of the environment."""

    async def connected() -> T:
        async with Client(endpoint, token=_chosen or client_token(), namespace=namespace) as host:
            return await work(host)

    return run(connected)
