"""`dormice token`: the tokens of a tenant, and short-lived ones for its clients."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from host.cli.actors import moment
from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.client import Client
from host.client.records import ConnectionToken, CreatedToken, TokenInfo
from host.model.identity import SCOPES
from host.wire.keys import decode_key

__all__ = ["app"]

app = typer.Typer(help="Make, list and revoke the tokens of a tenant.", no_args_is_help=True, rich_markup_mode=None)

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME = re.compile(r"([0-9]{1,9})([smhd])\Z")

Expires = Annotated[str | None, typer.Option("--expires", help="After this time: 30s, 10m, 12h or 90d.")]


@app.command("create")
def create(
    scopes: Annotated[list[str], typer.Argument(help=f"What it may do: some of {', '.join(SCOPES)}.")],
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    expires: Expires = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Make a token of the namespace, and print it: it is shown this once."""
    expires_in = _milliseconds(expires)

    async def work(host: Client) -> CreatedToken:
        return await host.create_token(scopes, label=label, expires_in=expires_in)

    made = with_host(endpoint, namespace, work)
    typer.echo(f"made {made.id}, expires {moment(made.expires_at)}", err=True)
    typer.echo(made.token)


@app.command("list")
def listing(endpoint: Endpoint = DEFAULT, namespace: Namespace = "default") -> None:
    """List the tokens of the namespace; their secrets are nowhere."""

    async def work(host: Client) -> list[TokenInfo]:
        return await host.tokens()

    console = Console(highlight=False)
    table = Table(Column("id", no_wrap=True, min_width=32), box=None, header_style="bold", pad_edge=False)
    for name in ("label", "scopes", "created", "expires"):
        table.add_column(name)
    for each in with_host(endpoint, namespace, work):
        table.add_row(each.id, each.label, " ".join(each.scopes), moment(each.created_at), moment(each.expires_at))
    console.print(table, soft_wrap=not console.is_terminal, crop=console.is_terminal)


@app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id.")],
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Revoke a token at once, and close the sockets that it let in."""

    async def work(host: Client) -> int:
        return await host.revoke_token(token_id)

    typer.echo(f"revoked {token_id}, closed {with_host(endpoint, namespace, work)} sockets")


@app.command("connection")
def connection(
    name: Annotated[str | None, typer.Option("--name", help="Only actors of this definition.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Only the actor of this key, with --name.")] = None,
    action: Annotated[list[str] | None, typer.Option("--action", help="Only this action; may be repeated.")] = None,
    claims: Annotated[str | None, typer.Option("--claims", help="A JSON object that the actor gets to see.")] = None,
    expires: Expires = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Make a token for one client, for a short time, and print it."""
    expires_in, known = _milliseconds(expires), None if claims is None else _object(claims)
    parts = None if key is None else decode_key(key)

    async def work(host: Client) -> ConnectionToken:
        return await host.connection_token(
            name=name, key=parts, actions=action or None, claims=known, expires_in=expires_in
        )

    made = with_host(endpoint, namespace, work)
    typer.echo(f"expires {moment(made.expires_at)}", err=True)
    typer.echo(made.token)


def _milliseconds(text: str | None) -> int | None:
    if text is None:
        return None
    match = _TIME.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a time like 30s, 10m, 12h or 90d")
    return int(match[1]) * _UNITS[match[2]]


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise typer.BadParameter("the claims are not a JSON object") from None
