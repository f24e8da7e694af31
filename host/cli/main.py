"""The command `dormice`: its sub-commands, and how it ends.

Whatever goes wrong ends as one line, `group/code: message`, on stderr and exit code 1; a stack trace is nobody's
answer. The commands import what they need when they run, so that talking to a host does not load the engine.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from host import __version__
from host.cli import actors, connect, demo, deploy, destroy, inspect, module, selftest, serve, status, tenant
from host.cli import token as token_commands
from host.cli.failures import report
from host.cli.target import choose_token

__all__ = ["app", "main"]

app = typer.Typer(
    name="dormice",
    help="A sandboxed dynamic-actor host: tenants' JavaScript or Wasm in isolates that sleep with their sockets open.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dormice {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    token: Annotated[
        str | None,
        typer.Option("--token", help="For a command that talks to a host; better in DORMICE_TOKEN."),
    ] = None,
) -> None:
    choose_token(token)


app.add_typer(token_commands.app, name="token")
app.command("serve")(serve.serve)
app.command("deploy")(deploy.deploy)
app.command("rollout")(deploy.rollout)
app.command("rollback")(deploy.rollback)
app.command("deploys")(deploy.deploys)
app.command("status")(status.status)
app.command("reload")(status.reload)
app.command("destroy")(destroy.destroy)
app.command("actors")(actors.actors)
app.command("call")(actors.call)
app.command("connect")(connect.connect)
app.command("inspect")(inspect.inspect)
app.command("module")(module.module)
app.command("tenant")(tenant.tenant)
app.command("demo")(demo.demo)
app.command("selftest")(selftest.selftest)


def main() -> None:
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output has gone; nothing may be flushed into it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it is told as one line
        report(error)
        sys.exit(1)
