"""`dormice deploy`: a file or a URL becomes the newest version of a definition; `rollout` gives it to more actors,
`rollback` takes it back, `deploys` shows how it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from host.cli import typescript
from host.cli.actors import moment
from host.cli.target import DEFAULT, Endpoint, Namespace, with_host
from host.client.client import Client
from host.client.records import DefinitionInfo, DeployHistory, RollbackInfo
from host.model.errors import CallerError, DormiceError

__all__ = ["deploy", "deploys", "rollback", "rollout"]

_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}

Now = Annotated[bool, typer.Option("--now", help="Move actors that are awake, not only those that wake.")]
Rate = Annotated[int | None, typer.Option("--rate", min=1, max=1000, help="With --now: so many a second (20).")]
Percent = Annotated[int | None, typer.Option("--percent", min=0, max=100, help="Only so many percent of the actors.")]


def deploy(
    name: Annotated[
        str, typer.Argument(help="The definition's name. Left out, the FILE defines all that it names itself.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="A module: .js, .mjs, .wasm, .ts (by esbuild)."),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Let the host load the module from here.")] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="What the module at the URL must hash to.")] = None,
    now: Now = False,
    rate: Rate = None,
    percent: Percent = None,
    egress: Annotated[
        list[str] | None, typer.Option("--egress", help="Let its actors fetch from this host, or *.host; repeatable.")
    ] = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Deploy a module under a name: a FILE, or --url together with --sha256. Actors take it up at their next wake.

    `dormice deploy FILE` deploys it under all names of its setup({use: {…}}).

    TypeScript goes through the esbuild of the file's npm project: types are stripped, what it imports is bundled.
    """
    given = {"percent": percent, "now": now or None, "rate": rate}
    rollout = {key: value for key, value in given.items() if value is not None}
    more: dict[str, Any] = {"rollout": rollout} if rollout else {}
    if egress:
        more["options"] = {"egress": {"hosts": egress}}

    under: str | None = name
    if file is None and url is None and Path(name).suffix.lower() in (*_TYPES, *typescript.SUFFIXES):
        under, file = None, Path(name)

    async def work(host: Client) -> list[DefinitionInfo]:
        if file is not None and url is None and sha256 is None:
            return await _deploy_file(host, under, file, more)
        if file is None and url is not None and sha256 is not None:
            return [await host.deploy_url(name, url, sha256, **more)]
        raise CallerError("request", "invalid", "give either a FILE, or --url together with --sha256")

    for made in with_host(endpoint, namespace, work):
        _tell(made)


async def _deploy_file(host: Client, name: str | None, file: Path, more: dict[str, Any]) -> list[DefinitionInfo]:
    data, kind, bundle = _read(file)
    try:
        if name is None:
            return await host.deploy_named(data, kind, **more)
        return [await host.deploy(name, data, kind, **more)]
    except DormiceError as error:
        if bundle is None:
            raise
        raise bundle.told(error) from error


def _read(file: Path) -> tuple[bytes, str, typescript.Bundle | None]:
    """The module, its content type, and how to find the places of its errors in the source."""
    if not file.is_file():
        raise CallerError("request", "invalid", f"there is no file {file}")
    suffix = file.suffix.lower()
    if suffix in typescript.SUFFIXES:
        bundle = typescript.build(file)
        return bundle.code, _TYPES[".js"], bundle
    if suffix in _TYPES:
        return file.read_bytes(), _TYPES[suffix], None
    known = ", ".join([*_TYPES, *typescript.SUFFIXES])
    raise CallerError("module", "unsupported_type", f"{file.name} has none of the endings {known}")


def rollout(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    now: Now = False,
    rate: Rate = None,
    percent: Percent = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Give the newest version to more actors: to a higher percentage, or to those awake now."""

    async def work(host: Client) -> DefinitionInfo:
        return await host.roll_out(name, percent=percent, now=now, rate=rate)

    _tell(with_host(endpoint, namespace, work))


def rollback(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    now: Now = False,
    rate: Rate = None,
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Take the newest version back: a new one is made of what was live before it."""

    async def work(host: Client) -> RollbackInfo:
        return await host.roll_back(name, now=now, rate=rate)

    made = with_host(endpoint, namespace, work)
    typer.echo(f"version {made.from_version} is rolled back to what version {made.to_version} was")
    _tell(made)


def deploys(
    name: Annotated[str, typer.Argument(help="The definition's name.")],
    endpoint: Endpoint = DEFAULT,
    namespace: Namespace = "default",
) -> None:
    """Show the versions of a definition and how their deploys go, the newest first."""

    async def work(host: Client) -> DeployHistory:
        return await host.deploys(name)

    found = with_host(endpoint, namespace, work)
    console = Console(highlight=False)
    failed: dict[int, int] = {}
    for failure in found.failures:
        failed[failure.version] = failed.get(failure.version, 0) + 1
    table = Table("version", "deployed", "status", "percent", "failed", Column("module"), box=None, pad_edge=False)
    for each in found.versions:
        row = (str(each.version), moment(each.created_at), each.status, f"{each.percent} %")
        table.add_row(*row, str(failed.get(each.version, 0)), each.module)
    # a pipe wants whole lines, however wide
    console.print(table, soft_wrap=not console.is_terminal, crop=console.is_terminal)
    for each in found.versions:
        if each.reason is not None:
            console.print(Text(f"version {each.version} failed: {each.reason}"), soft_wrap=True)
    for failure in found.failures:
        shown = f"{moment(failure.at)} actor {failure.actor_id} could not start on version {failure.version}"
        console.print(Text(f"{shown}: {failure.reason}"), soft_wrap=True)


def _tell(made: DefinitionInfo) -> None:
    share = "" if made.percent == 100 else f" for {made.percent} % of the actors"
    if made.alone:
        everyone = "all actors" if made.version == 1 else "all new actors"
        share = f" for {everyone}, not for {made.percent} % of them: no older version is live for everyone"
    typer.echo(f"{made.name} version {made.version} runs {made.module}{share}")
    if made.awake is None:
        return
    moves = "" if made.moves is None else f"{made.moves} of "
    typer.echo(f"{moves}{made.awake} actors that are awake: moved now to the version that they are to run")
    typer.echo(f"watch it with `dormice deploys {made.name}`")
