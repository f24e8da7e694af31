"""A real `dormice serve` in a process of its own, so that it can be killed: the demo's host, and the self-test's."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL

import anyio
from anyio.abc import Process

from host.client.client import Client
from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError

__all__ = ["HostProcess"]

# The first start compiles the JavaScript engine, on machines slower than ours too.
START_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL = 0.05


class HostProcess:
    """An async context manager; leaving it stops the process and waits for it. Restarts keep the port."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        flags: Sequence[str] = ("--dev", "--allow-private-urls"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`flags` are further ones of `serve`; `environment` is added to ours."""
        self.data_dir = directory / "data"
        self.port = _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = directory / "host.log"
        self._clock = clock
        self._flags = tuple(flags)
        self._environment = dict(environment or {})
        self._process: Process | None = None

    async def __aenter__(self) -> HostProcess:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._stop()

    @property
    def pid(self) -> int:
        return self._running().pid

    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns once the host answers."""
        command = [
            *(sys.executable, "-m", "host.cli", "serve", *self._flags),
            *("--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data_dir)),
            *("--log-format", "json"),
        ]
        # the demo's host is the demo's: settings of the user's own host do not reach it
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DORMICE_")}
        environment |= self._environment
        with self._log.open("ab") as log:
            # in a session of its own: a Ctrl-C reaches us alone, and we stop it in order
            self._process = await anyio.open_process(
                command, stdin=DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            with self._clock.fail_after(START_SECONDS):
                await self._answering()
        except TimeoutError:
            raise UnavailableError(
                "demo", "host_not_up", f"the host did not answer within {START_SECONDS:g} s\n{self.log_tail()}"
            ) from None

    async def kill(self) -> None:
        """kill -9."""
        process = self._running()
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def died(self) -> int:
        return await self._running().wait()

    def log_tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def _answering(self) -> None:
        async with Client(self.endpoint) as client:
            while True:
                if self._running().returncode is not None:
                    raise UnavailableError("demo", "host_not_up", f"the host ended at once\n{self.log_tail()}")
                try:
                    await client.health()
                except DormiceError as error:
                    if error.name != "client/unreachable":
                        raise
                    await self._clock.sleep_until(self._clock.monotonic() + POLL)
                else:
                    return

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            with self._clock.fail_after(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            await self.kill()

    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the host was not started")
        return self._process


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
