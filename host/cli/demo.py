"""`dormice demo`: a real host, a module from a URL, sockets that survive sleep, and a kill -9, before your eyes."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.text import Text

from host.cli.demo_host import HostProcess
from host.cli.demo_site import serving_module
from host.cli.demo_story import NAME, ROOM, Story
from host.cli.examples import example_source
from host.cli.snapshot_view import show_snapshot
from host.cli.target import run
from host.clock import SystemClock
from host.model.errors import UnavailableError

__all__ = ["demo", "show_demo"]


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the checks instead of staying up.")] = False,
) -> None:
    """Show the main job of a host, and check it: everything in it is real."""
    console = Console(highlight=False)
    told: list[str] = []

    async def work() -> None:
        """Ctrl-C and SIGTERM end it in order: the host in its own process has to be stopped as well."""
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await show_demo(console, example_source(NAME), once=once, told=told)
            tasks.cancel_scope.cancel()

    run(work)
    if not told:
        console.print("stopped before the end")
        raise typer.Exit(130)
    if not once:
        console.print("stopped")


async def show_demo(console: Console, source: Path, *, once: bool, told: list[str]) -> None:
    """`told` gets the actor's id once the story has been told; after that the host just stays up."""
    code = await anyio.Path(source).read_bytes()
    clock = SystemClock()
    # what an actor of a killed host was writing may still be there: nobody misses it
    with (
        tempfile.TemporaryDirectory(prefix="dormice-demo-", ignore_cleanup_errors=True) as directory,
        serving_module(source.name, code) as site,
    ):
        async with HostProcess(Path(directory), clock) as host:
            with console.status("starting a host (the first start builds the JavaScript engine) …") as status:

                def say(line: str) -> None:
                    console.print(Text.assemble(("✓ ", "bold green"), line), soft_wrap=True)
                    status.update("…")

                story = Story(host, site, code, clock, say)
                snapshot = await story.tell()
            show_snapshot(console, snapshot)
            told.append(story.actor_id)
            if once:
                console.print("all checks passed")
                return
            console.print(_try_it(host.endpoint, story.actor_id), soft_wrap=True, markup=False)
            code_of_end = await host.died()
            raise UnavailableError("demo", "host_ended", f"the host ended with {code_of_end}\n{host.log_tail()}")


def _try_it(endpoint: str, actor_id: str) -> str:
    return f"""
The host stays up at {endpoint} until you press Ctrl-C. Try:

  curl -s {endpoint}/gateway/{actor_id}/action/history -d '{{"args":[]}}'
  curl -s {endpoint}/actors/{actor_id}/snapshot
  curl -s -X POST {endpoint}/actors/{actor_id}/sleep
  curl -s -X PUT {endpoint}/actors -H 'content-type: application/json' -d '{{"name":"{NAME}","key":"another"}}'
  curl -s {endpoint}/metrics
  dormice connect --endpoint {endpoint} {NAME} {ROOM} you
  dormice inspect --endpoint {endpoint} {actor_id}
"""
