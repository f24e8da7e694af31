"""What the documentation says is so: links, names of files, commands, routes, metrics, flags, and generated tables."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main

from docs.generate import CALLS, MEANINGS, STEPS, render
from host.actor.lifecycle import Step
from host.bridge.host_calls import HOST_CALLS
from host.cli.main import app
from host.gateway.control import ControlApi
from host.gateway.exchange import Deps
from host.gateway.manager import ManagerApi
from host.gateway.token_api import TokenApi
from host.model.errors import HTTP_STATUS
from tests.docs.pages import PAGES, ROOT, links, named_files

COMMANDS: dict[str, Any] = cast(Any, typer.main.get_command(app)).commands
COMMAND_LINE = re.compile(r"(?:^ {4}(?:[A-Z_]+=\S+ )?|`)dormice ([a-z]+)([^`\n]*)", re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_file_of_the_tree_that_is_named_exists(page: Path) -> None:
    assert [name for name in named_files(page) if not (ROOT / name).exists()] == []


def test_the_checks_of_links_and_names_see_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md#part) [b](https://example.com) `host/gone.py`\n```js\n[c](in_code.md)\n```\n")
    assert links(page) == ["gone.md"]
    assert named_files(page) == ["host/gone.py"]


def commands_of(page: Path) -> Iterator[tuple[str, str]]:
    for found in COMMAND_LINE.finditer(page.read_text(encoding="utf-8")):
        yield found[1], found[2].partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_and_flag_that_is_named_exists(page: Path) -> None:
    for name, rest in commands_of(page):
        assert name in COMMANDS, f"dormice {name}"
        command = COMMANDS[name]
        if hasattr(command, "commands") and rest.strip():  # a group: its own commands come next
            command = command.commands[rest.split()[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z0-9-]+", rest)) <= known, f"dormice {name}{rest}"


def test_the_readme_shows_the_commands_that_a_first_hour_needs() -> None:
    assert {name for name, _ in commands_of(ROOT / "README.md")} >= {
        "serve", "deploy", "call", "connect", "actors", "inspect", "demo",
    }  # fmt: skip


def test_operations_lists_every_flag_and_variable_of_serve() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for parameter in COMMANDS["serve"].params:
        for name in (*parameter.opts, parameter.envvar):
            if name not in ("--help", None):
                assert f"`{name}`" in text, name


def test_http_lists_every_route() -> None:
    text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    deps = cast(Deps, None)
    for endpoint in [*ManagerApi(deps).endpoints(), *ControlApi(deps).endpoints(), *TokenApi(deps).endpoints()]:
        (method, *_) = sorted((endpoint.route.methods or set()) - {"HEAD"})
        assert f"`{method} {endpoint.route.path}`" in text, f"{method} {endpoint.route.path}"


def test_operations_lists_every_counter_that_the_host_counts() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    calls = re.compile(r"\.(count|observe)\(\s*\"([a-z_]+)\"")
    found = {match.groups() for path in (ROOT / "host").rglob("*.py") for match in calls.finditer(path.read_text())}
    assert len(found) > 20
    for kind, name in found:
        metric = f"dormice_{name}_total" if kind == "count" else f"dormice_{name}_seconds"
        assert f"`{metric}`" in text, metric


def test_architecture_lists_every_package_of_the_host() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "host").iterdir():
        if (path / "__init__.py").exists():
            assert f"| `host/{path.name}`" in text, path.name


def test_every_invariant_has_its_tests() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    invariants = re.findall(r"^\| D(\d+) \|", text, re.MULTILINE)
    assert invariants == [str(number) for number in range(1, 11)]
    tests = (ROOT / "tests" / "actor" / "test_invariants.py").read_text(encoding="utf-8")
    assert [number for number in invariants if f"def test_d{number}_" not in tests] == []


@pytest.mark.parametrize("path", list(render()), ids=lambda path: path.name)
def test_what_is_generated_has_not_drifted(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == render()[path], "run: python docs/generate.py"


def test_the_generated_tables_explain_every_code_and_call_and_no_other() -> None:
    assert MEANINGS.keys() == HTTP_STATUS.keys()
    assert CALLS.keys() == {row.name for row in HOST_CALLS}
    assert STEPS.keys() == set(Step)


@pytest.mark.parametrize("script", sorted((ROOT / ".ci").iterdir()), ids=page_id)
def test_the_scripts_of_the_readme_are_sound_shell(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    assert "\n    bash .ci/test\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("exec bash .ci/test")


def test_operations_lists_every_close_reason_that_the_host_gives() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    reasons = re.compile(r"\b(10\d\d), \"([a-z]+\.[a-z_]+)\"|\"([a-z]+\.[a-z_]+)\", (10\d\d)\b")
    found = {
        (match[1] or match[4], match[2] or match[3])
        for package in ("actor", "gateway", "placement")
        for path in (ROOT / "host" / package).rglob("*.py")
        for match in reasons.finditer(path.read_text(encoding="utf-8"))
    }
    assert len(found) >= 5
    for code, reason in found:
        assert f"| {code} | `{reason}` |" in text, (code, reason)
