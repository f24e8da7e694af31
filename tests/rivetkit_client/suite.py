"""The Node project beside this file: what its cases are called, and how it is run."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
import msgspec
from msgspec import Struct

__all__ = ["CASES", "ENCODINGS", "PROJECT", "RESTART_CASES", "Outcome", "Run", "node", "run_cases", "titles"]

PROJECT = Path(__file__).parent
ENCODINGS = ("json", "cbor", "bare")
SECONDS = 240

_TITLE = re.compile(r'^it\("((?:[^"\\]|\\.)+)",', re.MULTILINE)


class Outcome(Struct, frozen=True):
    name: str
    passed: bool
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class Run:
    """`outcomes` by the titles of the cases; `output` is what node printed besides."""

    outcomes: dict[str, Outcome]
    output: str
    code: int


def titles(file: Path) -> list[str]:
    found: list[str] = [msgspec.json.decode(f'"{title}"') for title in _TITLE.findall(file.read_text("utf-8"))]
    assert len(found) == len(set(found)), f"{file.name} uses a title twice"
    return found


RESTART_CASES = titles(PROJECT / "cases" / "restart.mjs")
_FILES = sorted(file for file in (PROJECT / "cases").glob("*.mjs") if file.name != "restart.mjs")
CASES = [title for file in _FILES for title in titles(file)]


def node() -> str:
    """The program: the machine's, else the one that `.ci/prepare` put into the virtual environment."""
    program = shutil.which("node") or shutil.which("node", path=PROJECT.parents[1] / ".venv" / "bin")
    assert program is not None, "node is missing: bash .ci/prepare test installs it"
    assert (PROJECT / "node_modules").is_dir(), "the client is not installed: bash .ci/prepare test does it"
    return program


async def run_cases(
    encoding: str, endpoint: str, folder: Path, *, restart_at: str | None = None, direct: str = ""
) -> Run:
    """All cases with one encoding against the host at the endpoint, or those of the restart, which also get the host's
    own address (`direct`)."""
    report = folder / f"{encoding}.jsonl"
    files = ["restart.mjs"] if restart_at else [file.name for file in _FILES]
    command = [
        *(node(), "--test-reporter=./reporter.mjs", f"--test-reporter-destination={report}"),
        *("run.mjs", *files),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RIVET", "DORMICE", "NODE_"))}
    env |= {"TEST_ENCODING": encoding, "TEST_ENDPOINT": endpoint, "RIVET_LOG_LEVEL": "silent"}
    env |= {"TEST_RESTART": restart_at, "TEST_DIRECT": direct} if restart_at else {}
    with anyio.fail_after(SECONDS):
        done = await anyio.run_process(
            command, cwd=PROJECT, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, check=False
        )
    lines = report.read_bytes().splitlines() if report.exists() else []
    outcomes = [msgspec.json.decode(line, type=Outcome) for line in lines]
    return Run({each.name: each for each in outcomes}, done.stdout.decode("utf-8", "replace"), done.returncode)
