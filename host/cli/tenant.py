"""`dormice tenant`: what a tenant uses and may use; `--set` changes its quotas."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from host.cli.actors import moment
from host.cli.target import DEFAULT, Endpoint, with_host
from host.client.client import Client
from host.model.usage import TenantUsage

__all__ = ["tenant"]


def tenant(
    namespace: Annotated[str, typer.Argument(help="The tenant's namespace.")],
    quotas: Annotated[
        list[str] | None,
        typer.Option("--set", help="A quota of its own, as name=number; takes the place of all that were set before."),
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Take its own quotas away.")] = False,
    endpoint: Endpoint = DEFAULT,
) -> None:
    """Show what a tenant uses and may use, or set its quotas."""
    if quotas and defaults:
        raise typer.BadParameter("give either --set or --defaults")
    chosen = {} if defaults else dict(map(_quota, quotas)) if quotas else None

    async def work(host: Client) -> TenantUsage:
        return await host.usage(namespace) if chosen is None else await host.set_quotas(namespace, chosen)

    _show(Console(highlight=False), with_host(endpoint, "default", work))


def _quota(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{text!r} is not name=number")
    return name, int(number)


def _show(console: Console, usage: TenantUsage) -> None:
    whole = Column("quota", no_wrap=True)
    table = Table(whole, "used", "allowed", "at most", "unit", "", box=None, header_style="bold", pad_edge=False)
    for name, quota in usage.quotas.items():
        own = "its own" if quota.own else ""
        used = "-" if quota.used is None else f"{quota.used:,}"
        table.add_row(name, used, f"{quota.allowed:,}", f"{quota.maximum:,}", quota.unit, own)
    console.print(table, soft_wrap=not console.is_terminal, crop=console.is_terminal)
    refused = ", ".join(f"{name} {count:,}" for name, count in usage.refusals.items()) or "none"
    console.print(
        Text(
            f"since {moment(usage.since)}: {usage.cpu_ms:,} ms of CPU time, {usage.starts:,} starts, "
            f"held up {usage.held_up:,} times; refused: {refused}"
        ),
        soft_wrap=True,
    )
