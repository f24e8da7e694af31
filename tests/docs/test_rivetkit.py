"""The table of docs/rivetkit.md is true line by line: each row names a test that is there and is not skipped, and every
part of RivetKit's API that an actor or a client can use has a row."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT
from tests.rivetkit_client.suite import CASES, PROJECT, RESTART_CASES

PAGE = ROOT / "docs" / "rivetkit.md"
ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<here>works|differs|ignored|missing)\b(?P<how>.*?) \| (?P<tests>[^|]+?) \|$")
NODE = re.compile(r"“([^”]+)”")
PYTHON = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SKIPS = ("skip", "skipif", "xfail")
PACKAGE = PROJECT / "node_modules" / "rivetkit" / "src"
# Where the package declares what its users meet: how the page writes a member, the file, the head of the declaration.
DECLARATIONS = {
    "{}": ("actor/config.ts", "export const DocActorConfigSchema"),
    "options.{}": ("actor/config.ts", "export const DocActorOptionsSchema"),
    "c.{}": ("actor/config.ts", "export interface ActorContext<"),
    "conn.{}": ("actor/config.ts", "export interface Conn<"),
    "c.kv.{}": ("actor/config.ts", "export interface ActorKv {"),
    "c.schedule.{}": ("actor/config.ts", "export interface ActorSchedule {"),
    "c.cron.{}": ("actor/config.ts", "export interface ActorCron {"),
    "client.{}": ("client/client.ts", "export class ClientRaw "),
    "handle.{}": ("client/actor-handle.ts", "export class ActorHandleRaw "),
    "connection.{}": ("client/actor-conn.ts", "export class ActorConnRaw "),
}
# Containers whose members have rows of their own.
CONTAINERS = {"c.kv", "c.schedule", "c.cron"}
MEMBER = re.compile(r"^\t(?:readonly |async |get )?([a-z]\w*)\??[(<:]", re.MULTILINE)
FIELD = re.compile(r"^\t\t([a-z]\w*): z$", re.MULTILINE)


def rows() -> list[re.Match[str]]:
    lines = PAGE.read_text("utf-8").splitlines()
    found = [line for line in lines if line.startswith("| ") and not line.startswith("| RivetKit")]
    matched = [ROW.match(line) for line in found]
    assert [line for line, match in zip(found, matched, strict=True) if match is None] == []
    return [match for match in matched if match is not None]


ROWS = rows()
CODES = {code for row in ROWS for code in re.findall(r"`([^`]+)`", row["what"])}


@cache
def functions(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def faults_of(tests: str) -> list[str]:
    """What is wrong with the tests of a row."""
    node, python = NODE.findall(tests), PYTHON.findall(tests)
    faults = [f"no case {title!r}" for title in node if title not in CASES and title not in RESTART_CASES]
    for path, name in python:
        if not (ROOT / path).is_file():
            faults.append(f"no file {path}")
        elif name not in functions(path):
            faults.append(f"no test {path}::{name}")
        else:
            text = (ROOT / path).read_text("utf-8")
            function = ast.get_source_segment(text, functions(path)[name]) or ""
            decorators = "".join(ast.unparse(each) for each in functions(path)[name].decorator_list)
            if any(f"mark.{skip}" in decorators for skip in SKIPS) or "pytest.skip(" in function:
                faults.append(f"{path}::{name} may be skipped")
            if re.search(r"^pytestmark.*(skip|xfail)|importorskip", text, re.MULTILINE):
                faults.append(f"{path} may be skipped")
    return faults if node or python else ["no test"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", "-", row["what"])[:60].strip("-"))
def test_a_row_names_tests_that_are_there_and_run(row: re.Match[str]) -> None:
    assert faults_of(row["tests"]) == []


def members(file: str, head: str) -> set[str]:
    text = (PACKAGE / file).read_text("utf-8")
    begin = text.index(head)
    body = text[begin : re.compile(r"^(\}|\t\.describe\()", re.MULTILINE).search(text, begin).start()]  # type: ignore[union-attr]
    if "Schema" in head:
        return set(FIELD.findall(body))
    return {name for name in MEMBER.findall(body) if name not in ("constructor", "super")}


@pytest.mark.parametrize("form", DECLARATIONS)
def test_every_name_that_the_package_declares_has_a_row(form: str) -> None:
    found = {form.format(name) for name in members(*DECLARATIONS[form])}
    assert len(found) >= 5
    assert found - CODES - CONTAINERS == set()


def test_the_check_of_a_row_sees_what_is_wrong() -> None:
    assert faults_of("“null goes there and back”") == []
    assert faults_of("“nobody wrote this”") == ["no case 'nobody wrote this'"]
    assert faults_of("see the code") == ["no test"]
    here = "tests/docs/test_rivetkit.py"
    assert faults_of(f"`{here}::test_gone`") == [f"no test {here}::test_gone"]
    assert faults_of("`tests/docs/test_gone.py::test_gone`") == ["no file tests/docs/test_gone.py"]


def test_a_case_of_the_client_cannot_be_skipped() -> None:
    for file in sorted((ROOT / "tests" / "rivetkit_client" / "cases").glob("*.mjs")):
        assert not re.search(r"\.(skip|todo|only)\b|\b(skip|todo|only):", file.read_text("utf-8")), file.name
