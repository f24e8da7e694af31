"""The commands against a host that runs in a process of its own, as a user has it."""

from __future__ import annotations

import json
import os
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


def test_a_module_is_deployed_from_a_url(endpoint: str) -> None:
    source = ROOM.read_bytes() + b"// by url"
    with serving_module("m.js", source) as site:
        digest = sha256(source).hexdigest()
        code, _, err = quick("deploy", "by-url", "--url", site.url, "--sha256", digest, endpoint=endpoint)
        assert (code, err) == (0, "")
        code, _, err = quick("deploy", "by-url", "--url", site.url, "--sha256", "0" * 64, endpoint=endpoint)
    assert code == 1
    assert err.startswith("module/hash_mismatch: ")


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
    code, _, err = dormice("serve", "--dev", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "a"))
    assert (code, "loopback" in err) == (1, True)
    port = endpoint.rpartition(":")[2]
    code, _, err = dormice("serve", "--dev", "--port", port, "--data-dir", str(tmp_path / "b"))
    assert code == 1
    assert err.startswith("node/address_in_use: ")
