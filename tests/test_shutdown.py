"""The end of a host: what is awake sleeps, within a deadline; a second Ctrl-C does not wait for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from host import Actor, Host, action

pytestmark = pytest.mark.anyio

# Its end takes as long as it may: 5 s, the grace of an actor that has to go.
CLINGS = """import { actor } from "isolate";
export default actor({ actions: { hi: () => 1 }, onSleep: () => new Promise(() => {}) });"""


class Clings(Actor):
    state: Any = {"count": 0}

    @action
    def add(self) -> int:
        self.state["count"] += 1
        count: int = self.state["count"]
        return count

    async def on_sleep(self) -> None:
        await self.delay(2**31 - 1)


async def test_a_drain_ends_at_its_deadline_and_what_was_done_stays(new_data_dir: Callable[[], Path]) -> None:
    path = new_data_dir()
    with anyio.fail_after(30):
        async with Host(path, definitions={"clings": Clings}, drain_seconds=0.1) as host:
            assert await host.client().get_or_create("clings", "k").action("add") == 1
        async with Host(path, definitions={"clings": Clings}, drain_seconds=0.1) as host:
            assert await host.client().get_or_create("clings", "k").action("add") == 2
            began = anyio.current_time()
        assert anyio.current_time() - began < 4, "it waited for the actor's grace"
        async with Host(path, definitions={"clings": Clings}, drain_seconds=0.1) as host:
            assert await host.client().get_or_create("clings", "k").action("add") == 3


@pytest.fixture
def data_dir(new_data_dir: Callable[[], Path]) -> Path:
    return new_data_dir()


def settings_for(data_dir: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DORMICE_")}
    return clean | {"DORMICE_DEV": "1", "DORMICE_DATA_DIR": str(data_dir)}


@pytest.fixture
def served(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A host in a process of its own, and where it is."""
    command = [sys.executable, "-m", "host.cli", "serve", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(command, env=settings_for(data_dir), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{until(process, 'listening')['port']}"
        finally:
            process.kill()


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The first log line of this event."""
    assert process.stderr is not None
    for line in process.stderr:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"the host ended before {event!r}")


def cling(endpoint: str) -> None:
    """Leaves an actor awake that does not want to sleep."""
    with httpx.Client(base_url=endpoint, trust_env=False) as http:
        made = http.post("/modules", content=CLINGS, headers={"content-type": "text/javascript"}).json()
        http.put("/definitions/clings", json={"module": made["digest"]}).raise_for_status()
        http.post("/gateway/clings/action/hi?rvt-method=getOrCreate&rvt-key=k").raise_for_status()


def test_the_first_signal_drains_and_the_second_ends_at_once(served: tuple[subprocess.Popen[str], str]) -> None:
    process, endpoint = served
    cling(endpoint)
    process.send_signal(signal.SIGINT)
    until(process, "draining")
    process.send_signal(signal.SIGINT)
    assert until(process, "second signal, ending at once")["signal"] == "SIGINT"
    assert process.wait(timeout=3) == 128 + signal.SIGINT


def test_one_signal_ends_in_order(served: tuple[subprocess.Popen[str], str]) -> None:
    process, endpoint = served
    cling(endpoint)
    process.send_signal(signal.SIGTERM)
    until(process, "draining")
    # the actor's grace is over before the drain's deadline is
    assert process.wait(timeout=20) == 0


def test_a_second_host_over_the_same_data_says_who_has_it(
    served: tuple[subprocess.Popen[str], str], data_dir: Path
) -> None:
    process, _ = served
    command = [sys.executable, "-m", "host.cli", "serve", "--port", "0"]
    done = subprocess.run(command, env=settings_for(data_dir), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"is in use by process {process.pid} on {os.uname().nodename} since 2" in done.stderr
    assert "Traceback" not in done.stderr
