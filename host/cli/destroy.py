"""`dormice destroy`: the end of an actor, for good."""

from __future__ import annotations

from typing import Annotated

import typer

from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.client import Client

__all__ = ["destroy"]


def destroy(
    actor_id: Annotated[str, typer.Argument(help="The actor's id.")],
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Destroy an actor with everything it has. Its id never comes back; its key makes a new actor."""

    async def work(host: Client) -> None:
        await host.destroy(actor_id)

    with_host(endpoint, namespace, work)
    typer.echo(f"destroyed {actor_id}")
