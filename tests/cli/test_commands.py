"""The commands against a host that runs in a process of its own, as a user has it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from host.cli.demo_site import serving_module
from host.cli.main import app

ROOM = Path(__file__).parent / "room.js"
COMMAND = [sys.executable, "-m", "host.cli"]


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DORMICE_")}
    return clean | {"COLUMNS": "160"} | more


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host on a free port; it has to end in order when it is asked to."""
    command = [*COMMAND, "serve", "--port", "0", "--log-format", "json"]
    settings = environment(
        DORMICE_DEV="1", DORMICE_ALLOW_PRIVATE_URLS="1", DORMICE_DATA_DIR=str(tmp_path_factory.mktemp("data"))
    )
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if json.loads(line)["event"] == "listening":
                break
        else:
            raise AssertionError("".join(lines))
        yield f"http://127.0.0.1:{json.loads(lines[-1])['port']}"
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(20) == 0, rest
        assert "Traceback" not in rest


def quick(*args: str, endpoint: str) -> tuple[int, str, str]:
    """A command in this process: the same but for the time it takes to start Python."""
    result = CliRunner().invoke(app, list(args), env={"DORMICE_ENDPOINT": endpoint, "COLUMNS": "160"})
    assert "Traceback" not in result.stderr
    return result.exit_code, result.stdout, result.stderr


def dormice(*args: str, endpoint: str | None = None, stdin: str = "", token: str = "") -> tuple[int, str, str]:
    more = {"DORMICE_ENDPOINT": endpoint} if endpoint else {}
    if token:
        more["DORMICE_ADMIN_TOKEN"] = token
    done = subprocess.run(
        [*COMMAND, *args], env=environment(**more), input=stdin, capture_output=True, text=True, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_room_is_deployed_called_talked_to_and_looked_at(endpoint: str) -> None:
    code, out, err = dormice("deploy", "room", str(ROOM), endpoint=endpoint)
    assert (code, err) == (0, "")
    assert f"room version 1 runs sha256:{sha256(ROOM.read_bytes()).hexdigest()}" in out

    assert dormice("call", "room", "a/b", "history", endpoint=endpoint)[:2] == (0, "[]\n")
    code, out, err = dormice("connect", "room", "a/b", "joe", endpoint=endpoint, stdin="hello\nwörld\n")
    frames = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert frames[0] == {"type": "welcome", "history": []}
    assert [(frame["from"], frame["text"], frame["index"]) for frame in frames[1:]] == [
        ("joe", "hello", 1),
        ("joe", "wörld", 2),
    ]

    code, out, _ = quick("actors", "--name", "room", endpoint=endpoint)
    row = out.splitlines()[1].split()
    assert row[1:3] == ["room", "a/b"]
    code, out, _ = quick("inspect", row[0], endpoint=endpoint)
    assert "2 keys" in out
    code, out, _ = quick("inspect", row[0], "--json", endpoint=endpoint)
    assert json.loads(out)["actor_id"] == row[0]

    digest = sha256(ROOM.read_bytes()).hexdigest()
    code, out, _ = quick("module", digest, endpoint=endpoint)
    assert "js module" in out
    code, out, _ = quick("module", f"sha256:{digest}", "--json", endpoint=endpoint)
    assert json.loads(out)["report"]["lines"] == len(ROOM.read_text().splitlines())


COUNTER = """import { actor } from "isolate";
export default actor({ state: { n: 0 }, actions: { add(c, n) { return (c.state.n += n); } } });"""
ROOMS = """import { actor, setup } from "rivetkit";
const room = actor({ actions: { kind: () => "room" } }), lobby = actor({ actions: { kind: () => "lobby" } });
export const registry = setup({ use: { room, lobby } });
registry.start();"""
AN_ID = re.compile(r"^[0-9a-f]{32}\b", re.MULTILINE)


def ids_of(name: str, endpoint: str) -> list[str]:
    return AN_ID.findall(quick("actors", "--name", name, endpoint=endpoint)[1])


def test_a_module_that_names_its_actors_is_deployed_without_a_name(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "rooms.js"
    file.write_text(ROOMS)
    code, out, _ = quick("deploy", str(file), endpoint=endpoint)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["lobby", "room"]
    for name in ("lobby", "room"):
        assert quick("call", name, "k", "kind", endpoint=endpoint)[:2] == (0, f'"{name}"\n')
    code, _, err = quick("call", "attic", "k", "kind", endpoint=endpoint)
    assert (code != 0, "definition/not_found" in err) == (True, True)
    code, _, err = quick("deploy", "attic", str(file), endpoint=endpoint)
    assert code != 0
    assert "the module has no actor 'attic'; it has lobby, room" in err
    assert "room, lobby" in quick("module", sha256(file.read_bytes()).hexdigest(), endpoint=endpoint)[1]


def test_a_module_that_names_no_actor_needs_a_name(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "counter.js"
    file.write_text(COUNTER)
    code, _, err = quick("deploy", str(file), endpoint=endpoint)
    assert (code != 0, "deploy it under a name" in err) == (True, True)
    code, _, err = quick("deploy", str(tmp_path / "gone.js"), endpoint=endpoint)
    assert (code != 0, "there is no file" in err) == (True, True)


def test_an_actor_is_destroyed(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "counter.js").write_text(COUNTER)
    assert quick("deploy", "mortal", str(tmp_path / "counter.js"), endpoint=endpoint)[0] == 0
    assert quick("call", "mortal", "k", "add", "3", endpoint=endpoint) == (0, "3\n", "")
    (actor,) = ids_of("mortal", endpoint)
    assert quick("destroy", actor, endpoint=endpoint) == (0, f"destroyed {actor}\n", "")
    assert ids_of("mortal", endpoint) == []
    code, _, stderr = quick("destroy", actor, endpoint=endpoint)
    assert (code, stderr.startswith("actor/not_found: ")) == (1, True)
    assert quick("call", "mortal", "k", "add", "1", endpoint=endpoint) == (0, "1\n", "")


def test_keys_of_any_kind_are_typed_and_found_again(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "counter.js").write_text(COUNTER)
    assert quick("deploy", "keyed", str(tmp_path / "counter.js"), endpoint=endpoint)[0] == 0
    keys = ["/", r"\0", r"\0/\0", "a/b", r"a\/b", "a,b", "caf\u00e9", "cafe\u0301", r"back\\slash", " ", "a b", "0"]
    for total in ("1", "2"):
        for key in keys:
            assert quick("call", "keyed", key, "add", "1", endpoint=endpoint) == (0, f"{total}\n", ""), key
    assert len(ids_of("keyed", endpoint)) == len(keys)
    for bad in ("a//b", r"\x", "x" * 129):
        code, _, stderr = quick("call", "keyed", bad, "add", "1", endpoint=endpoint)
        assert code == 1
        assert stderr.startswith(("actor/invalid_request: ", "actor/key_too_large: ")), bad
    assert len(ids_of("keyed", endpoint)) == len(keys)


def test_a_module_is_deployed_from_a_url(endpoint: str) -> None:
    source = ROOM.read_bytes() + b"// by url"
    with serving_module("m.js", source) as site:
        digest = sha256(source).hexdigest()
        code, _, err = quick("deploy", "by-url", "--url", site.url, "--sha256", digest, endpoint=endpoint)
        assert (code, err) == (0, "")
        code, _, err = quick("deploy", "by-url", "--url", site.url, "--sha256", "0" * 64, endpoint=endpoint)
    assert code == 1
    assert err.startswith("module/hash_mismatch: ")


def test_tokens_are_made_used_listed_and_revoked(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "counter.js").write_text(COUNTER)
    counter = str(tmp_path / "counter.js")
    code, out, err = quick("token", "create", "deploy", "connect", "--namespace", "staff", "--label", "ci",
                           "--expires", "90d", endpoint=endpoint)  # fmt: skip
    token = out.strip()
    assert (code, token[:4], token in err) == (0, "dmt_", False)
    code, out, _ = quick("token", "list", "--namespace", "staff", endpoint=endpoint)
    row = out.splitlines()[1].split()
    assert row[1:4] == ["ci", "deploy", "connect"]
    assert token not in out

    assert quick("--token", token, "deploy", "counter", counter, endpoint=endpoint)[0] == 0
    assert quick("--token", token, "call", "counter", "a", "add", "2", endpoint=endpoint)[:2] == (0, "2\n")
    code, _, err = quick("--token", token, "actors", endpoint=endpoint)
    assert (code, err.partition(" (")[0]) == (1, "auth/forbidden: this token does not allow it")
    assert "--namespace" in err
    assert quick("actors", "--namespace", "staff", endpoint=endpoint)[1].count("counter") == 1

    code, out, _ = quick("token", "connection", "--namespace", "staff", "--name", "counter", "--key", "b",
                         "--action", "add", "--claims", '{"u": 1}', "--expires", "1m", endpoint=endpoint)  # fmt: skip
    client = out.strip()
    assert (code, client[:4]) == (0, "dmc_")
    assert quick("--token", client, "call", "counter", "b", "add", "5", endpoint=endpoint)[:2] == (0, "5\n")
    assert quick("--token", client, "call", "counter", "a", "add", "5", endpoint=endpoint)[0] == 1

    assert quick("token", "revoke", row[0], "--namespace", "staff", endpoint=endpoint)[0] == 0
    assert quick("--token", token, "call", "counter", "a", "add", "2", endpoint=endpoint)[0] == 1
    assert quick("token", "create", "connect", "--expires", "soon", endpoint=endpoint)[0] == 2


def test_a_tenant_is_shown_and_given_quotas(endpoint: str) -> None:
    code, out, err = quick("tenant", "acme", endpoint=endpoint)
    assert (code, err) == (0, "")
    assert "tenant_actors" in out
    assert "its own" not in out
    assert "refused: none" in out
    code, out, _ = quick("tenant", "acme", "--set", "tenant_actors=7", "--set", "tenant_cpu=50", endpoint=endpoint)
    (line,) = [line.split() for line in out.splitlines() if line.startswith("tenant_actors")]
    assert (code, line) == (0, ["tenant_actors", "0", "7", "30,000", "actors", "its", "own"])
    (line,) = [line.split() for line in out.splitlines() if line.startswith("tenant_cpu ")]
    assert line == ["tenant_cpu", "-", "50", "64,000", "ms", "its", "own"]
    code, out, _ = quick("tenant", "acme", "--defaults", endpoint=endpoint)
    assert (code, "its own" in out) == (0, False)
    assert quick("tenant", "acme", "--set", "tenant_actors", endpoint=endpoint)[0] == 2
    assert quick("tenant", "acme", "--set", "tenant_actors=1", "--defaults", endpoint=endpoint)[0] == 2
    code, _, err = quick("tenant", "acme", "--set", "nothing=1", endpoint=endpoint)
    assert (code, err.startswith("request/invalid: ")) == (1, True)


def test_what_goes_wrong_is_one_line_and_exit_code_1(endpoint: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.js"
    broken.write_text("let x = ;")
    text = tmp_path / "notes.txt"
    text.write_text("notes")
    quick("deploy", "room2", str(ROOM), endpoint=endpoint)
    for args, line in (
        (["deploy", "x", str(broken)], "module/js_syntax: "),
        (["deploy", "x", str(text)], "module/unsupported_type: "),
        (["deploy", "x"], "request/invalid: "),
        (["call", "nothing", "k", "act"], "definition/not_found: "),
        (["call", "room2", "k", "act", "1"], "actor/action_not_found: "),
        (["call", "room2", "a\\x", "act"], "actor/invalid_request: "),
        (["inspect", "0" * 32], "actor/not_found: "),
        (["module", "0" * 64], "module/not_found: "),
        (["actors", "--endpoint", "http://127.0.0.1:1"], "client/unreachable: "),
    ):
        code, out, err = quick(*args, endpoint=endpoint)
        assert (code, out) == (1, ""), args
        assert err.startswith(line), err
        assert err.count("\n") == 1, err


def test_serve_refuses_to_start_without_a_token_and_in_a_directory_in_use(endpoint: str, tmp_path: Path) -> None:
    code, _, err = dormice("serve", "--port", "0", "--data-dir", str(tmp_path / "a"))
    assert code == 1
    assert err.startswith("request/invalid: ")
    assert "DORMICE_ADMIN_TOKEN" in err
    code, _, err = dormice("serve", "--port", "0", "--data-dir", str(tmp_path / "a"), token="short")
    assert (code, "16 characters" in err) == (1, True)
    code, _, err = dormice("serve", "--dev", "--port", "0", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "a"))
    assert (code, "loopback" in err) == (1, True)
    port = endpoint.rpartition(":")[2]
    code, _, err = dormice("serve", "--dev", "--port", port, "--data-dir", str(tmp_path / "b"))
    assert code == 1
    assert err.startswith("node/address_in_use: ")
