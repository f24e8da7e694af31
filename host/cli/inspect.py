"""`dormice inspect`: the snapshot of an actor, readable."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from host.cli.snapshot_view import show_snapshot
from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.answers import decode_snapshot
from host.client.client import Client

__all__ = ["inspect"]


def inspect(
    actor_id: Annotated[str, typer.Argument(help="The actor's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="The snapshot as the host sends it.")] = False,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Show the host's record of an actor, asleep or awake; it is not woken for it."""

    async def work(host: Client) -> bytes:
        return await host.snapshot_json(actor_id)

    document = with_host(endpoint, namespace, work)
    if as_json:
        typer.echo(document)
    else:
        show_snapshot(Console(), decode_snapshot(document))
