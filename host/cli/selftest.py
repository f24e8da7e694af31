"""`dormice selftest`: does this installation, on this machine, do what it is for, and contain what it has to?

Without flags it is the demo's story with its checks. `--hostile` runs the corpus against a fresh host, with a neighbour
of another tenant that is called all the time; `--mutants` sends damaged modules to one. Nothing of the operator's own
hosts is touched: each run has a process and a data directory of its own.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from host.cli.demo import show_demo
from host.cli.demo_host import HostProcess
from host.cli.demo_story import NAME
from host.cli.examples import example_source
from host.cli.target import run
from host.clock import SystemClock
from host.selftest.figures import TARGET_RATIO, Result, Summary, p99

__all__ = ["hostile_host", "selftest"]

FULL_MUTANTS = 200_000
# Where nobody's terminal says how wide it is, tables are as wide as their rows need.
PIPED_WIDTH = 150


@asynccontextmanager
async def hostile_host(data: Path | None = None) -> AsyncIterator[tuple[HostProcess, str]]:
    """A host as an operator runs one for strangers: with a token, without any `--dev`; and that token.

    `data` is a directory whose `data` is taken, instead of a fresh one."""
    token = secrets.token_urlsafe(24)
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="dormice-selftest-", ignore_cleanup_errors=True) as directory:
        environment = {"DORMICE_ADMIN_TOKEN": token}
        async with HostProcess(data or Path(directory), clock, flags=(), environment=environment) as host:
            await host.start()
            yield host, token


def selftest(
    hostile: Annotated[bool, typer.Option("--hostile", help="Run the corpus of hostile modules and clients.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="With --hostile: cases whose name or limit contains this.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the hostile cases and run none.")] = False,
    mutants: Annotated[int, typer.Option("--mutants", min=0, help="Send so many byte-mutated modules.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="What the mutations are made from.")] = 1,
    full: Annotated[bool, typer.Option("--full", help=f"As --mutants {FULL_MUTANTS}.")] = False,
) -> None:
    """Check this installation; with --hostile, that it contains hostile tenants and clients. 0: all is well."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    count = FULL_MUTANTS if full else mutants
    if listed:
        _list(console, only, as_json)
        return
    well: list[bool] = []

    async def work() -> None:
        if hostile:
            well.append(await _hostile(console, only, as_json))
        if count:
            well.append(await _mutants(console, count, seed, as_json))
        if not hostile and not count:
            told: list[str] = []
            await show_demo(console, example_source(NAME), once=True, told=told)
            well.append(bool(told))

    run(work)
    if not all(well):
        raise typer.Exit(1)


def _list(console: Console, only: str | None, as_json: bool) -> None:
    from host.selftest.select import select

    cases = select(only)
    if as_json:
        rows = [{"name": case.name, "attacks": case.attacks, "how": case.how, "must": case.must} for case in cases]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("case", "attacks", "by", "what must happen", title=f"{len(cases)} hostile cases")
    for case in cases:
        table.add_row(case.name, case.attacks, case.how, case.must)
    console.print(table)


async def _hostile(console: Console, only: str | None, as_json: bool) -> bool:
    from host.selftest.runner import run_corpus
    from host.selftest.select import select

    cases = select(only)
    with console.status("starting a host …") as status:
        if as_json:
            status.stop()
        async with hostile_host() as (host, token):

            def told(result: Result) -> None:
                status.update(f"{result.name} {'contained' if result.contained else 'NOT CONTAINED'}")
                if not result.contained and not as_json:
                    console.print(f"[bold red]✗[/bold red] {result.name}: {result.outcome}", markup=True)

            summary = await run_corpus(host, token, cases, SystemClock(), told)
    if as_json:
        typer.echo(_as_json(summary))
        return summary.contained
    table = Table("case", "attacks", "outcome", "contained", "p99 before", "while")
    for result in summary.results:
        table.add_row(
            result.name,
            result.attacks,
            result.outcome[:60],
            "yes" if result.contained else "[bold red]NO[/bold red]",
            _ms(result.before),
            _ms(result.during),
        )
    console.print(table)
    _conclude(console, summary)
    return summary.contained


def _conclude(console: Console, summary: Summary) -> None:
    contained = sum(result.contained for result in summary.results)
    console.print(f"{contained} of {len(summary.results)} contained; the host's process lived: {not summary.trouble}")
    console.print(f"the neighbour had {summary.answers} answers, {len(summary.wrong_answers)} of them wrong")
    ratio = summary.ratio
    if ratio is not None:
        verdict = "within" if ratio <= TARGET_RATIO else "above"
        console.print(
            f"its p99: {_ms(p99(summary.before))} before cases, {_ms(p99(summary.during))} while they ran: "
            f"x {ratio:.1f}, {verdict} the target of {TARGET_RATIO:g}"
        )
    again = sum(result.measured > 1 for result in summary.results)
    console.print(
        f"case by case: {len(summary.results) - len(summary.slow)} of {len(summary.results)} within the target, "
        f"{again} of them measured three times"
    )
    for result in summary.slow:
        console.print(f"  {result.name}: {_ms(result.before)} → {_ms(result.during)}", markup=False)
    _tell_memory(console, summary.rss_start, summary.rss_end)
    for line in [*summary.trouble, *summary.wrong_answers]:
        console.print(f"✗ {line}", style="bold red", markup=False)


async def _mutants(console: Console, count: int, seed: int, as_json: bool) -> bool:
    from host.selftest.mutation_run import run_mutants

    with console.status("starting a host …") as status:
        if as_json:
            status.stop()
        async with hostile_host() as (host, token):

            def told(done: int) -> None:
                status.update(f"{done} of {count} mutants")

            tally = await run_mutants(host, token, count, seed, SystemClock(), told)
    if as_json:
        typer.echo(json.dumps(asdict(tally), indent=2))
        return tally.well
    table = Table("verdict", "mutants", title=f"{count} mutants, seed {seed}")
    for verdict, number in sorted(tally.verdicts.items(), key=lambda row: -row[1]):
        table.add_row(verdict, str(number))
    console.print(table)
    _tell_memory(console, tally.rss_start, tally.rss_end)
    console.print(f"{tally.seconds:.0f} s, the slowest verdict took {tally.slowest:.2f} s")
    for line in tally.trouble:
        console.print(f"✗ {line}", style="bold red", markup=False)
    console.print("no crash, no hang" if tally.well else "not well")
    return tally.well


def _as_json(summary: Summary) -> str:
    return json.dumps(
        {
            "contained": summary.contained,
            "p99_before": p99(summary.before),
            "p99_while": p99(summary.during),
            "p99_ratio": summary.ratio,
            "answers": summary.answers,
            "wrong_answers": summary.wrong_answers,
            "rss_start": summary.rss_start,
            "rss_end": summary.rss_end,
            "trouble": summary.trouble,
            "cases_above_the_target": [result.name for result in summary.slow],
            "cases": [asdict(result) for result in summary.results],
        },
        indent=2,
    )


def _tell_memory(console: Console, start: int | None, end: int | None) -> None:
    if start and end:
        console.print(f"memory of the host: {start >> 20} MiB at the start, {end >> 20} MiB after")


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1_000:.1f} ms"
