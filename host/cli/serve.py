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

__all__ = ["serve"]


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
            help="Let modules be loaded from addresses that are not public.",
        ),
    ] = False,
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
) -> None:
    """Run a host. Without --dev it needs a token in DORMICE_ADMIN_TOKEN (in the environment only)."""
    from host.node import Node, run

    shown: str = log_format.value if log_format else "console" if sys.stderr.isatty() else "json"
    settings = Settings(
        data_dir=data_dir,
        host=host,
        port=port,
        dev=dev,
        public_actors=public_actors,
        allow_private_urls=allow_private_urls,
        admin_token=admin_token(),
        log_format=cast(Literal["json", "console"], shown),
        log_level=log_level.value,
        profile=profile.value,
        threads=threads,
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
