"""The published RivetKit client, unmodified, drives a host in each of its three encodings.

The cases are written in JavaScript, in `cases/`: node runs them, and each becomes a test here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from host.cli.typescript import build
from tests.end_to_end.host_process import HostProcess, host_process
from tests.rivetkit_client.suite import CASES, ENCODINGS, PROJECT, Run, run_cases

pytestmark = pytest.mark.anyio

Runs = dict[str, Run]


async def deploy_actors(host: HostProcess) -> None:
    """Every actor of the project under the name of its file."""
    for file in sorted((PROJECT / "actors").glob("*.ts")):
        await host.deploy(file.stem, build(file).code)


@pytest.fixture(scope="module")
async def runs(new_module_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Runs]:
    """All encodings at the same time against one host."""
    found: Runs = {}
    folder = tmp_path_factory.mktemp("runs")
    async with host_process(new_module_dir()) as (host, _):
        await deploy_actors(host)

        async def run(encoding: str) -> None:
            found[encoding] = await run_cases(encoding, host.url, folder)

        async with anyio.create_task_group() as tasks:
            for encoding in ENCODINGS:
                tasks.start_soon(run, encoding)
        yield found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", CASES)
async def test_the_stock_client(case: str, encoding: str, runs: Runs) -> None:
    run = runs[encoding]
    assert case in run.outcomes, f"the case did not run; node said:\n{run.output}"
    outcome = run.outcomes[case]
    assert outcome.passed, f"{outcome.error}\nnode said:\n{run.output}"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_case_that_ran_is_a_test_here(encoding: str, runs: Runs) -> None:
    run = runs[encoding]
    assert set(run.outcomes) == set(CASES)
    assert run.code == (0 if all(each.passed for each in run.outcomes.values()) else 1), run.output


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 80
