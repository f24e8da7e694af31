"""The published client over a kill and a new start of the host, with a network between that holds who wants to connect.

Without such a network the client gives up: when its first attempt to come back is refused, it becomes idle for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host_process import host_process
from tests.end_to_end.unreliable import unreliable_network
from tests.rivetkit_client.suite import ENCODINGS, RESTART_CASES, Run, run_cases
from tests.rivetkit_client.test_stock_client import Runs, deploy_actors

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def runs(new_module_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Runs]:
    """All encodings see the same restart, once the cases of all of them are ready for it."""
    found: dict[str, Run] = {}
    folder = tmp_path_factory.mktemp("restarts")
    waiting = set(ENCODINGS)
    ready, back = anyio.Event(), anyio.Event()
    up = anyio.Event()
    up.set()

    async def held(_first: bytes) -> None:
        await up.wait()

    async def on_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """`POST /encoding`: answered when the host is back."""
        line = await reader.readline()
        waiting.discard(line.split()[1].decode().strip("/"))
        if not waiting:
            ready.set()
        await back.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with (
        host_process(new_module_dir()) as (host, tasks),
        unreliable_network(lambda: host.port) as network,
        await asyncio.start_server(on_request, "127.0.0.1", 0) as restarts,
    ):
        await deploy_actors(host)
        network.gate = held
        direct = host.url
        restart_at = f"http://127.0.0.1:{restarts.sockets[0].getsockname()[1]}"

        async def run(encoding: str) -> None:
            url = f"http://127.0.0.1:{network.port}"
            found[encoding] = await run_cases(
                encoding, url, folder, restart_at=f"{restart_at}/{encoding}", direct=direct
            )
            # one that has crashed must not hold up the others
            waiting.discard(encoding)
            if not waiting:
                ready.set()

        async with anyio.create_task_group() as running:
            for encoding in ENCODINGS:
                running.start_soon(run, encoding)
            await ready.wait()
            up = anyio.Event()
            await host.kill()
            await host.start(tasks)
            up.set()
            back.set()
        yield found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", RESTART_CASES)
async def test_the_stock_client_over_a_restart(case: str, encoding: str, runs: Runs) -> None:
    run = runs[encoding]
    assert case in run.outcomes, f"the case did not run; node said:\n{run.output}"
    outcome = run.outcomes[case]
    assert outcome.passed, f"{outcome.error}\nnode said:\n{run.output}"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_case_of_the_restart_that_ran_is_a_test_here(encoding: str, runs: Runs) -> None:
    assert set(runs[encoding].outcomes) == set(RESTART_CASES)
