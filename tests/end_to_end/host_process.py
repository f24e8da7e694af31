"""A host as users run it: `serve` in a process of its own, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
import httpx
import msgspec
from anyio.abc import Process, TaskGroup
from anyio.streams.text import TextReceiveStream

from tests.end_to_end.host import TestHost

__all__ = ["HostProcess", "host_process"]

START_SECONDS = 30
STOP_SECONDS = 20


class HostProcess(TestHost):
    """`start` returns once the host listens, with `http` at its address; `lines` are the log lines of all starts."""

    def __init__(self, data_dir: Path, failpoint: str | None = None) -> None:
        """`failpoint` and `wanted_port` (0 takes a free one) are for the starts that follow; they may be set anew."""
        # not the base's: the node is in the other process
        self.port = 0
        self.http = httpx.AsyncClient()
        self.data_dir = data_dir
        self.failpoint = failpoint
        self.wanted_port = 0
        self.lines: list[dict[str, Any]] = []
        self.stderr = ""
        self._process: Process | None = None
        self._port = anyio.Event()
        self._read = anyio.Event()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def spawn(self) -> None:
        """Starts the process and does not wait for it to listen."""
        command = [
            *(sys.executable, "-m", "host.cli", "serve", "--dev", "--allow-private-urls", "--no-images"),
            *("--port", str(self.wanted_port), "--data-dir", str(self.data_dir), "--log-format", "json"),
        ]
        self._port, self._read = anyio.Event(), anyio.Event()
        root = Path(__file__).parents[2]
        env = {name: value for name, value in os.environ.items() if not name.startswith("DORMICE_")}
        if self.failpoint is not None:
            env["DORMICE_FAILPOINT"] = self.failpoint
        self._process = await anyio.open_process(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, cwd=root, env=env)

    async def start(self, tasks: TaskGroup) -> None:
        await self.spawn()
        await self.http.aclose()
        tasks.start_soon(self.read_log)
        with anyio.fail_after(START_SECONDS):
            await self._port.wait()
        assert self.port, f"the host did not start:\n{self.stderr}"
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    async def read_log(self) -> None:
        """Until the process closes its end."""
        assert self._process is not None
        assert self._process.stderr is not None
        self.port = 0
        rest = ""
        async for text in TextReceiveStream(self._process.stderr):
            self.stderr += text
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                if not line.startswith("{"):
                    continue
                entry: dict[str, Any] = msgspec.json.decode(line)
                self.lines.append(entry)
                if entry.get("event") == "listening":
                    self.port = entry["port"]
                    self._port.set()
        self._port.set()
        self._read.set()

    async def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._gone()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        return await self._gone()

    async def _gone(self) -> int:
        assert self._process is not None
        with anyio.fail_after(STOP_SECONDS):
            code = await self._process.wait()
            await self._read.wait()
        await self._process.aclose()
        await self.http.aclose()
        self._process = None
        return code

    async def close(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGKILL)
            await self._gone()


@asynccontextmanager
async def host_process(data_dir: Path, failpoint: str | None = None) -> AsyncGenerator[tuple[HostProcess, TaskGroup]]:
    """A host that runs already, and the task group for its further starts. In the end it is killed if it still runs."""
    host = HostProcess(data_dir, failpoint)
    async with anyio.create_task_group() as tasks:
        try:
            await host.start(tasks)
            yield host, tasks
        finally:
            with anyio.CancelScope(shield=True):
                await host.close()
