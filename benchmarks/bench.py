"""A benchmark's view of a host: a child process, the manager API, and the load driver as another child."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.actors import ECHO

__all__ = ["BenchHost", "bench_host", "run_load"]

START_SECONDS = 60
IMAGE_SECONDS = 60


class BenchHost:
    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def deploy(self, name: str = "echo", source: bytes = ECHO) -> None:
        """Returns when actors start from the module's image."""
        answer = self.http.post("/modules", content=source, headers={"content-type": "text/javascript"})
        answer.raise_for_status()
        built = self._images()
        self.http.put(f"/definitions/{name}", json={"module": answer.json()["digest"]}).raise_for_status()
        until = time.monotonic() + IMAGE_SECONDS
        while self._images() == built:
            if time.monotonic() > until:
                raise RuntimeError(f"no deployment image after {IMAGE_SECONDS} s")
            time.sleep(0.05)

    def _images(self) -> int:
        """Deployment images that were built."""
        prefix = 'dormice_deployment_images_total{reason="built"} '
        lines = self.http.get("/metrics").text.splitlines()
        return sum(int(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))

    def actor(self, key: str, name: str = "echo") -> str:
        answer = self.http.put("/actors", json={"name": name, "key": key})
        answer.raise_for_status()
        actor_id: str = answer.json()["actor"]["actor_id"]
        return actor_id

    def sleep(self, actor_id: str) -> None:
        """Returns when the actor sleeps."""
        self.http.post(f"/actors/{actor_id}/sleep").raise_for_status()

    def sleep_all(self, actor_ids: list[str]) -> None:
        for actor_id in actor_ids:
            self.sleep(actor_id)

    def socket_url(self, actor_id: str, path: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}/gateway/{actor_id}/websocket/{path}"

    def connect_url(self, actor_id: str) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway/{actor_id}/connect"

    def private_kib(self) -> int:
        """Private memory of the host, clean and dirty, in KiB."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


@contextmanager
def bench_host(profile: str = "default") -> Generator[BenchHost]:
    with tempfile.TemporaryDirectory(prefix="dormice-bench-") as path:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.host_process", f"{path}/data", profile],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdout is not None
            host = BenchHost(msgspec.json.decode(child.stdout.readline())["port"], child.pid)
            host.deploy()
            yield host
        finally:
            child.terminate()
            child.wait(START_SECONDS)


def run_load(urls: list[str], depth: int, size: int, seconds: float, encoding: str | None = None) -> dict[str, Any]:
    """One run of the load driver, with an encoding over /connect sockets; raises if an answer was wrong."""
    asked = {"urls": urls, "depth": depth, "size": size, "seconds": seconds, "encoding": encoding}
    wanted = msgspec.json.encode(asked).decode()
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", wanted], check=True, stdout=subprocess.PIPE, timeout=seconds + 60
    )
    result: dict[str, Any] = msgspec.json.decode(out.stdout)
    if result["wrong"]:
        raise RuntimeError(f"{result['wrong']} answers were not those of their messages")
    return result
