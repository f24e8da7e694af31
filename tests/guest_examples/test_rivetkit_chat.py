"""The example `rivetkit_chat`: from its TypeScript to a talk of two published clients, as its README says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
import pytest

from host.cli.typescript import build
from tests.end_to_end.host import TestHost
from tests.rivetkit_client.suite import PROJECT, node

pytestmark = pytest.mark.anyio


async def test_the_talk_goes_as_the_readme_says(host: TestHost, examples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    shutil.copytree(examples / "rivetkit_chat", folder)
    (folder / "node_modules").symlink_to(PROJECT / "node_modules")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIVET")}
    with anyio.fail_after(40):
        await host.deploy("chatRoom", build(folder / "actors.ts").code)
        command = [node(), "client.mjs", host.url]
        quiet = {**env, "RIVET_LOG_LEVEL": "silent"}
        done = await anyio.run_process(
            command, cwd=folder, env=quiet, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, check=False
        )
        said = done.stdout.decode()
        assert done.returncode == 0, said
    # what it shows is the last block of indented lines but those of the commands
    blocks = re.findall(r"(?:^    .+\n)+", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert said == "".join(line.removeprefix("    ") for line in blocks[-1].splitlines(keepends=True))
    assert said.count("\n") == 7
