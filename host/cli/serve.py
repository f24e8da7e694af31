"""`dormice serve`: runs a host. Flags and `DORMICE_*` variables become `Settings`; the node does the rest."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console

from host import __version__
from host.cli.failures import report
from host.cli.progress import ShownProgress
from host.config import DEFAULT_PORT, Settings, admin_token, failpoint
from host.model.errors import CallerError
from host.model.limits import LIMITS, Limits
from host.outbound.url_rules import parse_hosts

__all__ = ["serve"]

MOST_ACTORS = next(limit.maximum for limit in LIMITS if limit.name == "actors")


class LogFormatOption(StrEnum):
    json = "json"
    console = "console"


class LogLevelOption(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class ProfileOption(StrEnum):
    default = "default"
    dense = "dense"


def serve(
    host: Annotated[str, typer.Option("--host", envvar="DORMICE_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", envvar="DORMICE_PORT", help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="DORMICE_DATA_DIR", help="Where everything durable is kept.")
    ] = Path("dormice-data"),
    dev: Annotated[bool, typer.Option("--dev", envvar="DORMICE_DEV", help="Serve loopback without a token.")] = False,
    public_actors: Annotated[
        bool,
        typer.Option(
            "--public-actors", envvar="DORMICE_PUBLIC_ACTORS", help="Let clients reach actors without a token."
        ),
    ] = False,
    allow_private_urls: Annotated[
        bool,
        typer.Option(
            "--allow-private-urls",
            envvar="DORMICE_ALLOW_PRIVATE_URLS",
            help="Let modules be loaded, and actors fetch, over http and from private addresses, for development.",
        ),
    ] = False,
    url_hosts: Annotated[
        str,
        typer.Option(
            "--url-hosts",
            envvar="DORMICE_URL_HOSTS",
            help="Load modules from these hosts only: a.example,*.b.example,c.example:8443. Empty: any public one.",
        ),
    ] = "",
    egress_hosts: Annotated[
        str,
        typer.Option(
            "--egress-hosts",
            envvar="DORMICE_EGRESS_HOSTS",
            help="Let definitions open these hosts only to their actors' fetch. Empty: any public one; none: nothing.",
        ),
    ] = "",
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            envvar="DORMICE_IMAGES",
            help="Keep the top level of each JavaScript module as an image for its actors to start from.",
        ),
    ] = True,
    log_format: Annotated[
        LogFormatOption | None,
        typer.Option("--log-format", envvar="DORMICE_LOG_FORMAT", help="json, or console as on a terminal."),
    ] = None,
    log_level: Annotated[LogLevelOption, typer.Option("--log-level", envvar="DORMICE_LOG_LEVEL")] = LogLevelOption.info,
    profile: Annotated[
        ProfileOption,
        typer.Option("--profile", envvar="DORMICE_PROFILE", help="dense packs more isolates into one process."),
    ] = ProfileOption.default,
    threads: Annotated[
        int | None, typer.Option("--threads", envvar="DORMICE_THREADS", min=1, help="Threads that run guests.")
    ] = None,
    max_actors: Annotated[
        int,
        typer.Option(
            "--max-actors", envvar="DORMICE_MAX_ACTORS", min=1, max=MOST_ACTORS, help="Actors awake at a time."
        ),
    ] = Limits().actors,
    memory_reserve: Annotated[
        str,
        typer.Option(
            "--memory-reserve",
            envvar="DORMICE_MEMORY_RESERVE",
            help="Idle actors sleep when less memory than this is left: 10% or 512M; 0 for never.",
        ),
    ] = "10%",
) -> None:
    """Run a host. Without --dev it needs a token in DORMICE_ADMIN_TOKEN (in the environment only)."""
    from host.node import Node, run

    shown: str = log_format.value if log_format else "console" if sys.stderr.isatty() else "json"
    try:
        hosts = parse_hosts(url_hosts)
        egress = () if egress_hosts == "none" else parse_hosts(egress_hosts) or None
    except CallerError as error:
        report(error)
        raise typer.Exit(1) from None
    settings = Settings(
        data_dir=data_dir,
        host=host,
        port=port,
        dev=dev,
        public_actors=public_actors,
        allow_private_urls=allow_private_urls,
        url_hosts=hosts,
        egress_hosts=egress,
        images=images,
        admin_token=admin_token(),
        log_format=cast(Literal["json", "console"], shown),
        log_level=log_level.value,
        profile=profile.value,
        threads=threads,
        memory_reserve=memory_reserve,
        limits=Limits(actors=max_actors),
        failpoint=failpoint(),
    )
    console = Console(stderr=True, highlight=False)

    def ready(_node: Node, port: int) -> None:
        if console.is_terminal:
            at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            console.print(f"[bold]dormice {__version__}[/bold] at {at}, data in {data_dir}; Ctrl-C stops it")

    try:
        run(settings, progress=ShownProgress(console), ready=ready)
    except Exception as error:  # noqa: BLE001 - told as one line, as every command does
        report(error)
        raise typer.Exit(1) from None
