"""The soak: rounds of random traffic on a real host that is killed (kill -9) at a random moment of each.

    python -m benchmarks.soak [--rounds N] [--seed S] [--full]

Prints what was acknowledged, lost, doubled and reordered, as clients outside of the host saw it, and ends with 1 if the
promise was broken. The definition of each word is the checker's (tests/crash/checker.py).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from benchmarks.traffic import Actor
from host.client import Client
from tests.crash.checker import Broken, broken, counts
from tests.crash.client import marks_on_disk
from tests.crash.writer import WRITER
from tests.end_to_end.host_process import HostProcess, host_process

__all__ = ["Report", "main", "soak"]

FULL_ROUNDS = 1_000
ACTORS = 4
SOCKETS = 2
# Then the actors are read again from the start, and others take their place.
ROUNDS_PER_ACTOR = 10
LONGEST_TRAFFIC = 0.5
ROUND_SECONDS = 90


@dataclass(slots=True)
class Report:
    rounds: int = 0
    messages: int = 0
    actions: int = 0
    seconds: float = 0.0
    found: list[Broken] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return not self.found

    def text(self) -> str:
        kinds = counts(self.found)
        return (
            f"rounds {self.rounds}  acknowledged messages {self.messages}  answered actions and alarms {self.actions}  "
            f"lost {kinds['lost']}  doubled {kinds['doubled']}  reordered {kinds['reordered']}  "
            f"invented {kinds['invented']}  index back {kinds['index_back']}  in {self.seconds:.0f} s"
        )


class Soak:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._actors: list[Actor] = []
        self.report = Report()

    async def run(self, host: HostProcess, tasks: TaskGroup, rounds: int, every: int) -> None:
        await host.deploy("writer", WRITER.encode())
        # Sessions come back to where they were.
        host.wanted_port = host.port
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(host.url))
            for number in range(rounds):
                with anyio.fail_after(ROUND_SECONDS):
                    if number % ROUNDS_PER_ACTOR == 0:
                        await self._end_actors(host)
                        await self._new_actors(host, number)
                    await self._round(host, tasks, client, number)
                self.report.rounds += 1
                self.report.seconds = time.monotonic() - began
                if every and (number + 1) % every == 0:
                    print(self._so_far().text(), flush=True)
                if self.report.found:
                    # What is broken once would be found again in every later round.
                    self.report = self._so_far()
                    return
            await self._end_actors(host)

    async def _round(self, host: HostProcess, tasks: TaskGroup, client: Client, number: int) -> None:
        async with anyio.create_task_group() as traffic:
            for place, actor in enumerate(self._actors):
                for n in range(SOCKETS):
                    traffic.start_soon(actor.raw, host, f"round{number}.{n}")
                traffic.start_soon(actor.actions, host, f"action{number}")
                if place < ACTORS // 2:
                    traffic.start_soon(actor.session, client)
            await anyio.sleep(0.02 + self._rng.random() * LONGEST_TRAFFIC)
            await host.kill()
            for actor in self._actors:
                for label, mark in marks_on_disk(host.data_dir, actor.actor_id).items():
                    actor.lines[label.removeprefix("raw/")].marks.append(mark)
            host.lines.clear()
            host.stderr = ""
            await host.start(tasks)
        for actor in self._actors:
            await actor.read(host)
            self._check(actor)

    def _check(self, actor: Actor) -> None:
        found = broken(actor.lines, actor.once, actor.rows)
        for one in found[:10]:
            print(f"round {self.report.rounds + 1}, actor {actor.actor_id}: {one.kind}: {one.what}", file=sys.stderr)
        self.report.found += found

    def _so_far(self) -> Report:
        so_far = self.report
        return Report(
            so_far.rounds,
            so_far.messages + sum(actor.acknowledged for actor in self._actors),
            so_far.actions + sum(len(actor.once.told) for actor in self._actors),
            so_far.seconds,
            so_far.found,
        )

    async def _new_actors(self, host: HostProcess, number: int) -> None:
        for n in range(ACTORS):
            actor_id = await host.actor("writer", f"{number}.{n}")
            self._actors.append(Actor(actor_id, random.Random(self._rng.random())))

    async def _end_actors(self, host: HostProcess) -> None:
        for actor in self._actors:
            await actor.close()
            if await actor.rewritten(host):
                self.report.found.append(Broken("lost", f"the log of {actor.actor_id} is not what it was"))
            self._check(actor)
        self.report = self._so_far()
        self._actors = []


async def soak(data_dir: Path, rounds: int, seed: int, *, every: int = 0) -> Report:
    """Runs it on a fresh host; prints a line each `every` rounds."""
    run = Soak(seed)
    async with host_process(data_dir) as (host, tasks):
        await run.run(host, tasks, rounds, every)
    return run.report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds, each with one kill (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random but time (default 1)")
    parser.add_argument("--full", action="store_true", help=f"{FULL_ROUNDS} rounds")
    chosen = parser.parse_args()
    rounds = FULL_ROUNDS if chosen.full else chosen.rounds
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}; {rounds} rounds, seed {chosen.seed}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="dormice-soak-") as folder:
        report = anyio.run(lambda: soak(Path(folder) / "data", rounds, chosen.seed, every=max(1, rounds // 20)))
    print(report.text())
    return 0 if report.kept else 1


if __name__ == "__main__":
    sys.exit(main())
