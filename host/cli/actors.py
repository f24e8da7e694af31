"""`dormice actors` lists actors; `dormice call` carries out an action."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from host.cli.target import DEFAULT, Endpoint, Key, Namespace, with_host
from host.client.client import Client
from host.client.records import ActorInfo, ActorPage
from host.wire.keys import decode_key
from host.wire.values import from_python

__all__ = ["actors", "argument", "call", "moment"]


def actors(
    name: Annotated[str | None, typer.Option("--name", help="Only actors of this definition.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """List actors, the newest first."""

    async def work(host: Client) -> ActorPage:
        return await host.actors(name, limit=limit)

    page = with_host(endpoint, namespace, work)
    console = Console(highlight=False)
    # Ids are for copying: whole, whatever else has to give way.
    whole = Column("actor", no_wrap=True, min_width=32)
    table = Table(whole, "name", "key", "created", "state", box=None, header_style="bold", pad_edge=False)
    for entry in page.actors:
        table.add_row(entry.actor_id, entry.name, entry.key, moment(entry.create_ts), _state(entry))
    # a pipe wants whole lines, however wide
    console.print(table, soft_wrap=not console.is_terminal, crop=console.is_terminal)
    if page.cursor is not None:
        print(f"there are more; --limit {limit} shows the newest", file=sys.stderr)


def call(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    key: Key,
    action: Annotated[str, typer.Argument(help="The action.")],
    args: Annotated[list[str] | None, typer.Argument(help="Its arguments: JSON, or else text.")] = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Call an action of an actor, which is created if there is none; prints the result as JSON."""

    async def work(host: Client) -> Any:
        return await host.get_or_create(name, decode_key(key)).action(action, *map(argument, args or ()))

    result = from_python(with_host(endpoint, namespace, work)).decode()
    console = Console()
    if console.is_terminal:
        console.print_json(result)
    else:
        typer.echo(result)


def argument(text: str) -> Any:
    """An argument as typed: JSON where it is JSON, text where not."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def moment(ms: int | None) -> str:
    """A time of the host, in UTC; an em dash where there is none."""
    if ms is None:
        return "—"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def _state(entry: ActorInfo) -> str:
    if entry.error is not None:
        return "failed"
    if entry.sleep_ts is not None:
        return "asleep"
    return "awake" if entry.start_ts is not None else "created"
