"""`dormice status` tells how an actor is; `dormice reload` starts it anew, or tries a failed one now."""

from __future__ import annotations

from typing import Annotated

import typer

from host.cli.actors import moment
from host.cli.failures import where_to_look
from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.client import Client
from host.model.status import ActorStatus

__all__ = ["reload", "status"]

ActorId = Annotated[str, typer.Argument(help="The actor's id.")]


def status(actor_id: ActorId, endpoint: Endpoint = DEFAULT, namespace: Namespace = "default") -> None:
    """Show how an actor is, without waking it."""

    async def work(host: Client) -> ActorStatus:
        return await host.status(actor_id)

    _show(with_host(endpoint, namespace, work))


def reload(actor_id: ActorId, endpoint: Endpoint = DEFAULT, namespace: Namespace = "default") -> None:
    """Start a running actor anew, or try a failed one now; one that sleeps is left asleep. Exit code 1 if it failed."""

    async def work(host: Client) -> ActorStatus:
        return await host.reload(actor_id)

    found = with_host(endpoint, namespace, work)
    _show(found)
    if found.state == "failed":
        raise typer.Exit(1)


def _show(found: ActorStatus) -> None:
    typer.echo(f"{found.state}: {found.name} version {found.version}, generation {found.generation}, {found.module}")
    if found.held_version is not None:
        typer.echo(f"held back from version {found.held_version}, on which it could not start")
    if found.last_error is not None:
        error = found.last_error
        typer.echo(f"{error.name}: {error.message}{where_to_look(error.name, error.message)}")
    if found.retry_at is not None:
        typer.echo(f"attempt {found.attempt} failed; tried again, if there is a cause, from {moment(found.retry_at)}")
