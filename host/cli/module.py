"""`dormice module`: a stored module and what admission found in it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from host.cli.module_view import show_module
from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.answers import decode_answer
from host.client.client import Client
from host.client.records import ModuleDetails

__all__ = ["module"]


def module(
    digest: Annotated[str, typer.Argument(help="The module's sha256, with or without `sha256:`.")],
    as_json: Annotated[bool, typer.Option("--json", help="What the host sends.")] = False,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Show a module and the report of its admission: imports, exports, sizes, and what it may do."""

    async def work(host: Client) -> bytes:
        return await host.module_json(digest)

    document = with_host(endpoint, namespace, work)
    if as_json:
        typer.echo(document)
    else:
        show_module(Console(), decode_answer(document, ModuleDetails))
