"""The whole corpus against one host: everything is contained, and the neighbour's answers are right all the while."""

from __future__ import annotations

import anyio
import pytest

from host.cli.demo_host import HostProcess
from host.clock import SystemClock
from host.selftest.corpus import CORPUS
from host.selftest.runner import run_corpus

pytestmark = pytest.mark.anyio

# Those that take a budget of many seconds to its end have tests of the jail's own.
QUICK = tuple(case for case in CORPUS if not case.slow)


async def test_every_hostile_case_is_contained_and_the_neighbour_is_served(host: tuple[HostProcess, str]) -> None:
    process, token = host
    with anyio.fail_after(400):
        summary = await run_corpus(
            process, token, QUICK, SystemClock(), lambda _: None, settle=0.0, at_least=0.0, again=0
        )
    assert [f"{each.name}: {each.outcome}" for each in summary.results if not each.contained] == []
    assert len(summary.results) == len(QUICK)
    assert summary.trouble == []
    assert summary.wrong_answers == []
    assert summary.answers >= len(QUICK)
    assert summary.contained


def test_the_corpus_is_large_and_each_case_says_what_it_is() -> None:
    assert len(CORPUS) >= 60
    assert len({case.name for case in CORPUS}) == len(CORPUS)
    for case in CORPUS:
        assert case.name.partition("/")[2], case.name
        assert case.attacks, case.name
        assert case.how, case.name
        assert case.must, case.name


def test_few_cases_take_long() -> None:
    assert len(CORPUS) - len(QUICK) <= 2
