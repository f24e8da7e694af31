"""The runner itself: it is not content with anything, so that its word is worth something."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from host.cli.demo_host import HostProcess
from host.cli.selftest import hostile_host
from host.clock import SystemClock
from host.selftest.case import Case
from host.selftest.escaped import Escaped
from host.selftest.figures import Result, Summary, median_of, p99
from host.selftest.lab import Lab
from host.selftest.mutation_run import run_mutants
from host.selftest.runner import run_corpus

pytestmark = pytest.mark.anyio


async def _fine(lab: Lab) -> str:
    return "fine"


async def _escapes(lab: Lab) -> str:
    raise Escaped("it got out")


async def _hangs(lab: Lab) -> str:
    await anyio.sleep_forever()
    raise AssertionError


async def _breaks(lab: Lab) -> str:
    raise ValueError("something unforeseen")


def case(name: str, run: object, *, counter: tuple[str, ...] = (), seconds: float = 5.0) -> Case:
    return Case(name, "nothing", "test", "nothing", run, counter, seconds)  # type: ignore[arg-type]


async def run(host: tuple[HostProcess, str], *cases: Case) -> Summary:
    process, token = host
    with anyio.fail_after(60):
        return await run_corpus(
            process, token, cases, SystemClock(), lambda _: None, settle=0.05, at_least=0.05, again=0
        )


async def test_a_case_that_is_contained_is_said_to_be(host: tuple[HostProcess, str]) -> None:
    summary = await run(host, case("a", _fine))
    assert summary.contained
    assert [(each.outcome, each.contained) for each in summary.results] == [("fine", True)]
    assert summary.answers > 0
    assert summary.ratio is not None


@pytest.mark.parametrize(
    ("attack", "says"), [(_escapes, "it got out"), (_hangs, "hangs"), (_breaks, "ValueError: something unforeseen")]
)
async def test_a_case_that_is_not_contained_is_said_not_to_be(
    host: tuple[HostProcess, str], attack: object, says: str
) -> None:
    summary = await run(host, case("a", attack, seconds=0.2), case("b", _fine))
    assert not summary.contained
    assert [each.contained for each in summary.results] == [False, True]
    assert says in summary.results[0].outcome


async def test_a_refusal_that_is_not_counted_is_no_containment(host: tuple[HostProcess, str]) -> None:
    summary = await run(host, case("a", _fine, counter=("errors",)))
    assert "no counter moved of errors" in summary.results[0].outcome
    assert not summary.contained


async def test_mutants_get_their_verdicts_and_the_host_is_the_same_afterwards(host: tuple[HostProcess, str]) -> None:
    process, token = host
    with anyio.fail_after(120):
        tally = await run_mutants(process, token, 1_000, 7, SystemClock(), lambda _: None)
    assert tally.trouble == []
    assert sum(tally.verdicts.values()) == 1_000
    assert {"module/malformed", "admitted, and ran"} <= tally.verdicts.keys()


def test_the_percentile_is_one_of_the_values() -> None:
    assert p99([]) is None
    assert p99([3.0]) == 3.0
    assert p99([float(n) for n in range(100)]) == 99.0


def measured(before: float, during: float, *, contained: bool = True) -> Result:
    outcome = "fine" if contained else "it got out"
    return Result("a", "nothing", "test", "nothing", outcome, contained, 1.0, before, during)


def test_of_several_runs_of_a_case_the_median_counts() -> None:
    result = median_of([measured(1.0, 90.0), measured(1.0, 2.0), measured(1.0, 1.5)])
    assert (result.during, result.measured, result.slow) == (2.0, 3, False)
    assert median_of([measured(1.0, 9.0), measured(1.0, 2.0), measured(1.0, 8.0)]).slow


def test_a_case_that_gets_out_once_is_not_contained_however_often_it_does_not() -> None:
    result = median_of([measured(1.0, 9.0, contained=False), measured(1.0, 2.0), measured(1.0, 1.5)])
    assert (result.contained, result.outcome) == (False, "it got out")


def test_cases_that_are_felt_too_much_are_named_the_worst_first() -> None:
    summary = Summary(results=[measured(1.0, 4.0), measured(1.0, 2.9), measured(1.0, 40.0)])
    assert [one.during for one in summary.slow] == [40.0, 4.0]


async def test_a_case_that_seems_to_be_felt_too_much_is_measured_again(host: tuple[HostProcess, str]) -> None:
    process, token = host
    tenants: list[str] = []

    async def runs(lab: Lab) -> str:
        tenants.append(lab.tenant)
        return "done"

    with anyio.fail_after(60):
        summary = await run_corpus(
            process, token, [case("a", runs)], SystemClock(), lambda _: None, settle=0.05, at_least=0.05, target=0.0
        )
    assert [result.measured for result in summary.results] == [3]
    assert len(set(tenants)) == 3


def test_nothing_is_contained_that_has_trouble() -> None:
    assert Summary().contained
    assert not Summary(trouble=["the host died"]).contained
    assert not Summary(wrong_answers=["expected 1, got 2"]).contained


async def test_a_host_that_dies_is_trouble_and_the_run_ends(shared: Path) -> None:
    async with hostile_host(shared) as (process, token):

        async def kills(lab: Lab) -> str:
            await process.kill()
            return "done"

        summary = await run((process, token), case("a", kills), case("b", _fine))
    assert [each.contained for each in summary.results] == [False]
    assert "the host died in a" in summary.trouble[0]
