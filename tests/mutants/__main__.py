"""`python -m tests.mutants`: exits 0 only if the tests pass as they are, every mutant is noticed by each of its tests,
and every invariant has a mutant."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, STDOUT, TimeoutExpired, run

import anyio
from msgspec import Struct

from host.config import Settings
from host.node import open_node
from tests.conftest import COMPILED
from tests.mutants.plugin import MUTANT, REPORT
from tests.mutants.registry import INVARIANTS, MUTANTS, Mutant

__all__ = ["main", "verdict"]

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
SECONDS = 60
NOTICED, PASSED = 1, 0


class Outcome(Struct, frozen=True):
    """Of one child: its exit code (None: it was too slow), what failed, what passed, how often the mutant was asked."""

    code: int | None
    failed: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    asked: int = 0
    output: str = ""


def verdict(mutant: Mutant, outcome: Outcome) -> str | None:
    """None if the mutant was noticed; else what is wrong."""
    if outcome.code is None:
        return f"its tests took longer than {SECONDS} s"
    if outcome.code not in (NOTICED, PASSED):
        return f"its tests could not be run: pytest ended with {outcome.code}\n{outcome.output}"
    if not outcome.asked:
        return "its tests never asked the guard"
    blind = [test for test in mutant.tests if test not in outcome.failed]
    return f"not noticed by {', '.join(blind)}" if blind else None


def run_tests(tests: tuple[str, ...], compiled: Path, mutant: Mutant | None) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        env = {**os.environ, COMPILED: str(compiled), REPORT: str(report)}
        env.pop(MUTANT, None)
        if mutant is not None:
            env[MUTANT] = mutant.name
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider"]
        command += ["--tb=line", "--no-header", f"--basetemp={folder}/tmp", *tests]
        try:
            done = run(command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT, timeout=SECONDS, check=False, text=True)
        except TimeoutExpired:
            return Outcome(None)
        if not report.exists():
            return Outcome(-1, output=done.stdout[-2_000:])
        found = json.loads(report.read_bytes())
        failed, passed = tuple(found["failed"]), tuple(found["passed"])
        return Outcome(done.returncode, failed, passed, found["asked"], done.stdout[-2_000:])


def check(mutant: Mutant, compiled: Path) -> str | None:
    wrong = verdict(mutant, run_tests(mutant.tests, compiled, mutant))
    print(f"{'noticed' if wrong is None else 'MISSED ':7}  {mutant.name}", flush=True)
    return None if wrong is None else f"{mutant.name}: {wrong}"


async def compile_into(folder: Path) -> None:
    """What every child would compile anew otherwise."""
    async with open_node(Settings(data_dir=folder, dev=True)):
        pass


def main() -> int:
    began = time.monotonic()
    wrong = [f"{name} has no mutant" for name in INVARIANTS if all(each.invariant != name for each in MUTANTS)]
    every = tuple(dict.fromkeys(test for mutant in MUTANTS for test in mutant.tests))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(AT_ONCE) as pool:
        compiled = Path(name) / "data"
        compiled.mkdir(mode=0o700)
        anyio.run(compile_into, compiled)
        untouched = pool.submit(run_tests, every, compiled, None)
        wrong += [found for found in pool.map(lambda each: check(each, compiled), MUTANTS) if found is not None]
        outcome = untouched.result()
    if outcome.code != PASSED or set(outcome.passed) != set(every):
        wrong.append(f"without a mutant the tests do not all pass\n{outcome.output}")
    for each in wrong:
        print(each, file=sys.stderr)
    count = len(MUTANTS)
    print(f"{count} mutants, {'all noticed' if not wrong else f'{len(wrong)} wrong'}, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
