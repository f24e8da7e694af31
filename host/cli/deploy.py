"""`dormice deploy`: a file or a URL becomes the newest version of a definition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.client import Client
from host.client.records import DefinitionInfo
from host.model.errors import CallerError

__all__ = ["deploy"]

_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}


def deploy(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="A module: .js, .mjs or .wasm.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Let the host load the module from here.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="What the module at the URL must hash to.")] = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Deploy a module under a name: a FILE, or --url together with --sha256."""

    async def work(host: Client) -> DefinitionInfo:
        if file is not None and url is None and sha256 is None:
            kind = _TYPES.get(file.suffix.lower())
            if kind is None:
                raise CallerError(
                    "module", "unsupported_type", f"{file.name} has none of the endings {', '.join(_TYPES)}"
                )
            return await host.deploy(name, file.read_bytes(), kind)
        if file is None and url is not None and sha256 is not None:
            return await host.deploy_url(name, url, sha256)
        raise CallerError("request", "invalid", "give either a FILE, or --url together with --sha256")

    made = with_host(endpoint, namespace, work)
    typer.echo(f"{made.name} version {made.version} runs {made.module}")
