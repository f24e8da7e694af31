"""The published RivetKit client as a load driver; it needs node and the Node project of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench import bench_host

__all__ = ["actions_through_one_connection", "what_is_missing"]

SCRIPT = Path(__file__).with_name("stock_client.mjs")
PROJECT = SCRIPT.parents[1] / "tests" / "rivetkit_client"
IN_FLIGHT = 32
SECONDS = 3.0


def what_is_missing() -> str | None:
    """Why the client cannot be run here; None if it can."""
    if _node() is None:
        return "node is missing: bash .ci/prepare test installs it"
    if not (PROJECT / "node_modules" / "rivetkit").is_dir():
        return "the client is not installed: bash .ci/prepare test does it"
    return None


def actions_through_one_connection() -> float:
    """Actions a second, client included; raises if an answer was wrong."""
    with bench_host() as host:
        return _run(f"http://127.0.0.1:{host.port}")


def _run(endpoint: str) -> float:
    command = [_node() or "node", str(SCRIPT), str(PROJECT), endpoint, "k", str(IN_FLIGHT), str(SECONDS)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIVET")}
    out = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**env, "RIVET_LOG_LEVEL": "silent"}, timeout=SECONDS + 60
    )
    result: dict[str, Any] = msgspec.json.decode(out.stdout)
    if result["wrong"]:
        raise RuntimeError(f"{result['wrong']} answers were not those of their actions")
    per_second: float = result["per_second"]
    return per_second


def _node() -> str | None:
    return shutil.which("node") or shutil.which("node", path=SCRIPT.parents[1] / ".venv" / "bin")
