"""TypeScript is deployed through esbuild: what comes out runs, and what is wrong is told about the author's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.cli.typescript import esbuild_for
from tests.cli.test_commands import endpoint, quick
from tests.rivetkit_client.suite import PROJECT

__all__ = ["endpoint"]

ACTOR = """
import { actor, UserError } from "rivetkit";
import type { Greeting } from "./greeting";
import { greet } from "./greeting";

enum Mood { Good = "good" }

export default actor({
  state: { greeted: [] as string[] },
  actions: {
    greet(c, who: string): Greeting {
      if (!who) throw new UserError("whom?", { code: "nobody" });
      c.state.greeted.push(who);
      return greet(who satisfies string, Mood.Good);
    },
  },
});
"""
GREETING = """
export interface Greeting { text: string; mood: string }

export function greet(who: string, mood: string): Greeting {
  return { text: `hello ${who}`, mood };
}
"""
# The top level throws in line 5, which is another line in the bundle.
THROWS = """
interface Gone { a: number; b: number }
import { actor } from "rivetkit";

function load(): Gone { throw new Error("no settings"); }

export default actor({ actions: { get: () => load() }, state: load() });
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An npm project that has esbuild."""
    (tmp_path / "node_modules").symlink_to(PROJECT / "node_modules")
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


def test_an_actor_in_typescript_is_bundled_with_what_it_imports_and_runs(endpoint: str, project: Path) -> None:
    (project / "actor.ts").write_text(ACTOR)
    (project / "greeting.ts").write_text(GREETING)
    code, out, err = quick("deploy", "greeter", str(project / "actor.ts"), endpoint=endpoint)
    assert (code, err) == (0, "")
    assert out.startswith("greeter version 1 runs sha256:")
    code, out, _ = quick("call", "greeter", "a", "greet", '"ada"', endpoint=endpoint)
    assert (code, out) == (0, '{"text":"hello ada","mood":"good"}\n')
    code, out, err = quick("call", "greeter", "a", "greet", '""', endpoint=endpoint)
    assert (code, out) == (1, "")
    assert err.startswith("user/nobody: whom?")


def test_without_esbuild_the_error_says_what_to_do(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "actor.ts"
    file.write_text(ACTOR)
    code, out, err = quick("deploy", "greeter", str(file), endpoint=endpoint)
    assert (code, out) == (1, "")
    assert err.startswith("module/unsupported_type: actor.ts is TypeScript, ")
    assert "npm install --save-dev esbuild" in err


def test_esbuild_is_looked_for_upwards_from_the_file_and_then_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "esbuild"
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
        return str(file)

    file = tmp_path / "a" / "b" / "actor.ts"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert esbuild_for(file) is None
    everywhere = program(tmp_path / "bin")
    assert esbuild_for(file) == everywhere
    above = program(tmp_path / "node_modules" / ".bin")
    assert esbuild_for(file) == above
    beside = program(tmp_path / "a" / "b" / "node_modules" / ".bin")
    assert esbuild_for(file) == beside


def test_an_error_of_syntax_is_told_with_esbuilds_words(endpoint: str, project: Path) -> None:
    (project / "actor.ts").write_text("export default actor({ actions: { get: (: string) => 1 } });\n")
    code, out, err = quick("deploy", "greeter", str(project / "actor.ts"), endpoint=endpoint)
    assert (code, out) == (1, "")
    assert err.startswith("module/js_syntax: esbuild does not take actor.ts:\n")
    assert "actor.ts:1:40" in err
    assert "node:" not in err


def test_a_file_that_is_missing_is_told_with_esbuilds_words(endpoint: str, project: Path) -> None:
    (project / "actor.ts").write_text(ACTOR)
    code, _, err = quick("deploy", "greeter", str(project / "actor.ts"), endpoint=endpoint)
    assert code == 1
    assert 'Could not resolve "./greeting"' in err


def test_what_the_host_says_of_the_bundle_names_the_line_of_the_source(
    endpoint: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "actor.ts").write_text(THROWS)
    code, out, err = quick("deploy", "broken", "actor.ts", endpoint=endpoint)
    assert (code, out) == (1, "")
    assert err.startswith("module/js_threw: ")
    assert " = actor.ts:5:" in err, err
    assert "\nnode:" not in err


def test_the_actors_of_a_file_are_deployed_under_their_own_names(endpoint: str, project: Path) -> None:
    (project / "actors.ts").write_text(
        'import { actor, setup } from "rivetkit";\n'
        "const a = actor({ actions: { which: (): string => `a` } }), b = actor({ actions: { which: () => `b` } });\n"
        "export const registry = setup({ use: { first: a, second: b } });\nregistry.start();\n"
    )
    code, out, err = quick("deploy", str(project / "actors.ts"), endpoint=endpoint)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["first", "second"]
    for name, answer in (("first", '"a"\n'), ("second", '"b"\n')):
        assert quick("call", name, "k", "which", endpoint=endpoint)[:2] == (0, answer)
